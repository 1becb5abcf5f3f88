import { hex, joinBytes, VireoError } from "@vireo/hal";
import { checkVersion } from "./_checked.ts";
import {
  HostStepKind,
  RECORDING_VERSION,
  RecordKind,
  RecordReader,
  RecordWriter,
} from "./format.ts";
import { stepOf, stepText } from "./_steps.ts";

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(RecordKind).map(([name, kind]) => [kind, name.toLowerCase()]),
);
const KINDS: ReadonlyMap<string, number> = new Map([...NAMES].map(([kind, name]) => [name, kind]));

/** The kinds whose payload is JSON, and those with so many numbers. */
const JSONS: ReadonlySet<number> = new Set([RecordKind.META, RecordKind.DIAGNOSIS]);
const PAIRS: ReadonlySet<number> = new Set([
  RecordKind.INTERRUPT,
  RecordKind.KICK,
  RecordKind.POP,
  RecordKind.LOOK,
]);

/**
 * A recording as lines of text, one a record, which {@linkcode parseRecording} takes back. After ` # ` a line says what
 * the step is.
 *
 * @throws {VireoError} `BAD_MESSAGE` If it is no recording, or one of another version.
 *
 * @example
 * ```ts
 * import { parseRecording, recordingLines, RecordWriter } from "@vireo/drivers/record";
 * import { assertEquals } from "@std/assert";
 *
 * const parts: number[] = [];
 * new RecordWriter((bytes) => parts.push(...bytes), { platform: "emu", nodes: [], program: 1 }).close();
 * const bytes = Uint8Array.from(parts);
 * const lines = recordingLines(bytes);
 * assertEquals(lines.at(-1), "end");
 * assertEquals(parseRecording(lines.join("\n")), bytes);
 * ```
 */
export function recordingLines(bytes: Uint8Array): string[] {
  const reader = new RecordReader(bytes);
  const lines = [`header ${JSON.stringify({ version: RECORDING_VERSION, ...reader.header })}`];
  const windows: { readonly name: string; readonly mmio: boolean }[] = [];
  const rings: string[] = [];
  const names = {
    window: (id: number) => windows[id] ?? { name: `window ${id}`, mmio: false },
    ringName: (id: number) => rings[id] ?? `ring ${id}`,
  };
  while (reader.next()) {
    const { kind } = reader;
    const name = NAMES.get(kind)!;
    if (JSONS.has(kind)) {
      const meta = reader.json() as Readonly<Record<string, unknown>>;
      const { op, node, bars, slot } = meta;
      const own = String(meta["name"]);
      if (op === "open") windows.push({ name: String(node), mmio: bars === undefined });
      if (op === "bar") windows.push({ name: own, mmio: false });
      if (op === "ring") rings.push(`${slot} '${own}'`);
      lines.push(`${name} ${JSON.stringify(meta)}`);
    } else if (kind === RecordKind.HOST) {
      const bytes = reader.bytes.toHex();
      lines.push(`${name} ${hex(reader.a)}${bytes && ` ${bytes}`} # ${hostText(reader.a)}`);
    } else if (kind === RecordKind.MEMORY) {
      lines.push(`${name} ${reader.a} ${hex(reader.b)} ${reader.bytes.toHex()}`);
    } else {
      const { a, b, c, d, elements } = reader;
      const more = kind === RecordKind.ADD ? [...elements, d] : [];
      const numbers = PAIRS.has(kind) ? [a, b] : [a, b, c, ...more];
      lines.push(`${name} ${numbers.map((n) => hex(n)).join(" ")} # ${text(reader, names)}`);
    }
  }
  if (!reader.cut) lines.push("end");
  return lines;
}

/** A step at the host's end of a port. */
function hostText(kind: number): string {
  switch (kind) {
    case HostStepKind.READ:
      return "the program reads at the host's end";
    case HostStepKind.WRITTEN:
      return "what the program wrote at the host's end is taken";
    case HostStepKind.ENDED:
      return "the host's end has nothing more";
    case HostStepKind.READ_FAILED:
      return "a read at the host's end fails";
    default:
      return "a write at the host's end fails";
  }
}

function text(reader: RecordReader, names: Parameters<typeof stepText>[1]): string {
  const words = stepText(stepOf(reader), names);
  const { kind, a, b, c } = reader;
  if (kind <= RecordKind.READ32) return `${words} -> ${hex(c)}`;
  if (kind === RecordKind.POP) return `${words}: ${b === 0 ? "none" : b - 1}`;
  if (kind === RecordKind.LOOK) return `${words}: ${b === 1 ? "yes" : "no"}`;
  if (kind === RecordKind.INTERRUPT) return `interrupt ${a}`;
  return words;
}

/**
 * Makes a recording of lines of text.
 *
 * @throws {VireoError} `BAD_MESSAGE` If a line is none of a recording, or they are of another version.
 *
 * @example
 * ```ts
 * import { parseRecording, RecordReader } from "@vireo/drivers/record";
 * import { assertEquals } from "@std/assert";
 *
 * const text = 'header {"platform":"emu","nodes":[],"program":1}\nkick 0x0 0x0\nend';
 * const reader = new RecordReader(parseRecording(text));
 * assertEquals([reader.header.platform, reader.next(), reader.next()], ["emu", true, false]);
 * ```
 */
export function parseRecording(text: string): Uint8Array {
  const chunks: Uint8Array[] = [];
  let writer: RecordWriter | undefined;
  for (const line of text.split("\n").map((line) => line.trim())) {
    if (line === "") continue;
    const [, name = "", rest = ""] = /^(\w+) ?(.*)$/.exec(line) ?? [];
    const kind = KINDS.get(name);
    try {
      if (writer === undefined) {
        if (name !== "header") throw new SyntaxError("The first line must be the header");
        const { version, ...header } = JSON.parse(rest);
        // Lines of version 1 did not say so at first.
        checkVersion(version ?? 1, RECORDING_VERSION);
        writer = new RecordWriter((bytes) => chunks.push(bytes), header);
      } else if (kind === undefined) throw new SyntaxError(`There is no '${name}'`);
      else if (kind === RecordKind.END) writer.close();
      else if (JSONS.has(kind)) writer.json(kind, JSON.parse(rest));
      else writeNumbers(writer, kind, rest.replace(/ #.*$/, "").split(" "));
    } catch (cause) {
      writer?.stop();
      if (cause instanceof VireoError) throw cause;
      throw new VireoError("BAD_MESSAGE", `Cannot read the line '${line.slice(0, 80)}'`, { cause });
    }
  }
  writer?.stop();
  return joinBytes(...chunks);
}

function writeNumbers(writer: RecordWriter, kind: number, words: readonly string[]): void {
  writer.begin(kind);
  const bytesAt = kind === RecordKind.MEMORY ? 2 : kind === RecordKind.HOST ? 1 : undefined;
  if (bytesAt !== undefined) {
    for (let i = 0; i < bytesAt; i++) writer.number(numberOf(words[i]));
    return writer.blob(Uint8Array.fromHex(words[bytesAt] ?? ""));
  }
  const numbers = words.map(numberOf);
  const add = kind === RecordKind.ADD;
  numbers.forEach((number, i) => {
    // The number of elements is that of the words behind it.
    if (add && i === 3) writer.number((numbers.length - 4) / 2);
    writer.number(number);
  });
}

function numberOf(word: string | undefined): number {
  const value = Number(word);
  if (word === "" || !Number.isSafeInteger(value) || value < 0) {
    throw new SyntaxError(`'${word}' must be a number`);
  }
  return value;
}
