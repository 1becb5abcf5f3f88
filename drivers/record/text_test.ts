import { assertEquals, assertThrows } from "@std/assert";
import { joinBytes, VireoError } from "@vireo/hal";
import { RecordKind as K, RecordWriter } from "./format.ts";
import { parseRecording, recordingLines } from "./text.ts";

const HEADER = { platform: "emu", nodes: [], program: 1 };

/** A recording of records, whole or without its end. */
function recording(write: (writer: RecordWriter) => void, whole = true): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new RecordWriter((bytes) => parts.push(bytes.slice()), HEADER);
  write(writer);
  if (whole) writer.close();
  else writer.stop();
  return joinBytes(...parts);
}

/** The line of each record, and the record; they come in this order. */
const RECORDS: readonly (readonly [line: string, kind: number, ...rest: unknown[]])[] = [
  [
    'meta {"op":"open","node":"slot","window":0,"source":0}',
    K.META,
    { op: "open", node: "slot", window: 0, source: 0 },
  ],
  [
    'meta {"op":"open","node":"fn","window":1,"bars":[],"config":{"name":"config","size":256}}',
    K.META,
    { op: "open", node: "fn", window: 1, bars: [], config: { name: "config", size: 256 } },
  ],
  [
    'meta {"op":"bar","node":"fn","index":4,"name":"fn bar4","size":4096,"window":2}',
    K.META,
    { op: "bar", node: "fn", index: 4, name: "fn bar4", size: 4096, window: 2 },
  ],
  [
    'meta {"op":"ring","slot":"slot","queue":1,"name":"tx","size":8,"ring":0}',
    K.META,
    { op: "ring", slot: "slot", queue: 1, name: "tx", size: 8, ring: 0 },
  ],
  ["read8 0x0 0x101 0x7 # read Config+1 of slot -> 0x7", K.READ8, 0, 0x101, 7],
  ["read16 0x0 0x0 0x8 # read MagicValue of slot -> 0x8", K.READ16, 0, 0, 8],
  ["read32 0x0 0x70 0xf # read Status of slot -> 0xf", K.READ32, 0, 0x70, 15],
  ["write8 0x0 0x70 0x1 # write Status of slot <- 0x1", K.WRITE8, 0, 0x70, 1],
  ["write16 0x1 0x4 0x6 # write 0x4 of fn <- 0x6", K.WRITE16, 1, 4, 6],
  ["write32 0x2 0x70 0x6 # write 0x70 of fn bar4 <- 0x6", K.WRITE32, 2, 0x70, 6],
  ["read8 0x3 0x70 0x0 # read 0x70 of window 3 -> 0x0", K.READ8, 3, 0x70, 0],
  [
    "alloc 0x40 0x10 0x40000001 # allocate 64 bytes aligned to 16",
    ...[K.ALLOC, 64, 16, 0x40000001] as const,
  ],
  ["memory 0 0x40000000 0102", K.MEMORY, 0, 0x40000000, Uint8Array.of(1, 2)],
  ["interrupt 0x5 0x1 # interrupt 5", K.INTERRUPT, 5, 1],
  ["kick 0x0 0x0 # slot 'tx' kick", K.KICK, 0, 0],
  ["kick 0x1 0x1 # ring 1 kick again", K.KICK, 1, 1],
  ["pop 0x0 0x0 # slot 'tx' take a buffer: none", K.POP, 0, 0],
  ["pop 0x0 0x8 # slot 'tx' take a buffer: 7", K.POP, 0, 8],
  ["look 0x0 0x0 # slot 'tx' look for a used buffer: no", K.LOOK, 0, 0],
  ["look 0x0 0x1 # slot 'tx' look for a used buffer: yes", K.LOOK, 0, 1],
  ["callbacks 0x0 0x2 0x1 # slot 'tx' callbacks delayed", K.CALLBACKS, 0, 2, 1],
  ["host 0x0 0102 # the program reads at the host's end", K.HOST, 0, Uint8Array.of(1, 2)],
  [
    "host 0x1 # what the program wrote at the host's end is taken",
    ...[K.HOST, 1, new Uint8Array(0)] as const,
  ],
  ["host 0x2 # the host's end has nothing more", K.HOST, 2, new Uint8Array(0)],
  ["host 0x3 6e6f # a read at the host's end fails", K.HOST, 3, Uint8Array.of(0x6e, 0x6f)],
  ["host 0x4 # a write at the host's end fails", K.HOST, 4, new Uint8Array(0)],
  [
    'diagnosis {"node":"slot","code":"TIMEOUT","message":"It # hangs"}',
    K.DIAGNOSIS,
    { node: "slot", code: "TIMEOUT", message: "It # hangs" },
  ],
];
/** A buffer, whose elements are counted before them: it reads 16 bytes, and 512 are written. */
const ADD =
  "add 0x0 0x3 0x1 0x1000 0x10 0x2000 0x200 0xfedcba98 # slot 'tx' add 3 [r 0x1000+16, w 0x2000+512]";

function write(writer: RecordWriter): void {
  for (const [, kind, ...rest] of RECORDS) {
    const [first] = rest;
    if (typeof first === "object") {
      writer.json(kind, first);
      continue;
    }
    writer.begin(kind);
    for (const value of rest) {
      if (value instanceof Uint8Array) writer.blob(value);
      else writer.number(value as number);
    }
  }
  writer.begin(K.ADD);
  for (const value of [0, 3, 1, 2, 0x1000, 16, 0x2000, 512, 0xfedcba98]) writer.number(value);
}

const LINES = [
  'header {"version":1,"platform":"emu","nodes":[],"program":1}',
  ...RECORDS.map(([line]) => line),
  ADD,
];

Deno.test("recording as text: a line for each record, which is read back to the same bytes", () => {
  const whole = recording(write);
  assertEquals(recordingLines(whole), [...LINES, "end"]);
  assertEquals(parseRecording([...LINES, "end"].join("\n")), whole);
  // One that was cut has no end. Empty lines, room around lines, and what stands behind # count for nothing.
  const cut = recording(write, false);
  assertEquals(recordingLines(cut), LINES);
  const other = LINES.map((line) =>
    `  ${/^(?:header|meta|diagnosis)/.test(line) ? line : line.replace(/ #.*/, "")}\t\n`
  );
  assertEquals(parseRecording(`\n${other.join("\n")}`), cut);
});

Deno.test("recording as text: decimal numbers are as good, and a header may leave its version out", () => {
  const lines = [
    'header {"platform":"emu","nodes":[],"program":1}',
    "kick 10 9007199254740991",
    "end",
  ];
  const bytes = recording((writer) => {
    writer.begin(K.KICK);
    writer.number(10);
    writer.number(Number.MAX_SAFE_INTEGER);
  });
  assertEquals(parseRecording(lines.join("\n")), bytes);
});

Deno.test("recording as text: what is no line of a recording is named", () => {
  const header = LINES[0]!;
  const why = (...lines: string[]): unknown[] => {
    const error = assertThrows(() => parseRecording(lines.join("\n")), VireoError);
    return [error.code, error.message, (error.cause as Error | undefined)?.message];
  };
  const line = (text: string, cause: string): void =>
    assertEquals(why(header, text), ["BAD_MESSAGE", `Cannot read the line '${text}'`, cause]);
  line("other 1 2", "There is no 'other'");
  line("kick 0x0 x", "'x' must be a number");
  line("kick 0x0  1", "'' must be a number");
  line("kick -1 0", "'-1' must be a number");
  line("kick 1.5 0", "'1.5' must be a number");
  line("kick 9007199254740992 0", "'9007199254740992' must be a number");
  line("memory 0", "'undefined' must be a number");
  line("- 1", "There is no ''");
  const first = "The first line must be the header";
  assertEquals(why("kick 0 0"), ["BAD_MESSAGE", "Cannot read the line 'kick 0 0'", first]);
  assertEquals(why('header {"version":2}').slice(0, 2), [
    "BAD_MESSAGE",
    "Cannot replay a recording of this version: saw 2, expected 1",
  ]);
  // A long line is cut.
  assertEquals(why(header, `x${"y".repeat(100)}`)[1], `Cannot read the line 'x${"y".repeat(79)}'`);
});
