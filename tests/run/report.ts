import { QEMU_DIFFERENCES } from "../qemu/differences.ts";

/** Output of one run of `deno test`. */
export interface TestRun {
  /** The QEMU that was on the path, for example `QEMU 10.0.2`. */
  readonly qemu: string;
  /** Paths of what `--junit-path` wrote. */
  readonly junits: readonly string[];
  /** The targets whose every transport and ring this run must have tested. */
  readonly targets: readonly Target[];
}

/** A test or a step of one. */
interface Case {
  readonly name: string;
  readonly file: string;
  /** Error that it threw, if it failed. */
  readonly failure: string | undefined;
}

/** Everything that drivers are tested on. */
export const TARGETS = [
  "emu",
  "qtest x86_64",
  "qtest aarch64",
  "qtest riscv64",
  "guest x86_64",
  "guest aarch64",
] as const;
/** A row of tests' names: what the drivers ran on. */
type Target = typeof TARGETS[number];
const TRANSPORTS = [
  "mmio v1",
  "mmio v2",
  "pci legacy",
  "pci transitional",
  "pci modern",
] as const;
const RINGS = ["split", "packed"] as const;

/** Why a combination cannot be; a test named `matrix none` shows each. */
const REASONS: Readonly<Record<string, string>> = {
  packed:
    "RING_PACKED is bit 34, the legacy interface has 32 bits: devices told to offer it do not, QEMU's " +
    "without a message",
  interrupt:
    "Linux gives programs no interrupt of a virtio-mmio slot (no UIO driver binds it): the driver polls",
};

function decode(text: string): string {
  const names: Record<string, string> = {
    lt: "<",
    gt: ">",
    amp: "&",
    quot: '"',
    apos: "'",
  };
  return text.replace(/&(\w+|#\d+);/g, (all, name: string) => {
    return name.startsWith("#") ? String.fromCodePoint(Number(name.slice(1))) : names[name] ?? all;
  });
}

function parse(xml: string): Case[] {
  const cases =
    /<testcase name="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  return Array.from(
    xml.matchAll(cases),
    ([, name = "", file = "", body = ""]) => {
      const failure = /<failure[^>]*>([\s\S]*?)<\/failure>/.exec(body)?.[1];
      return {
        name: decode(name),
        file: decode(file),
        failure: failure === undefined ? undefined : decode(failure),
      };
    },
  );
}

/** The combinations by `target | transport | ring`: each way in which interrupts came, and whether it passed. */
class Matrix {
  readonly #ways = new Map<string, Map<string, boolean>>();
  /** Items that cannot be had, as shown by a test that passed. */
  readonly #none = new Set<string>();

  constructor(cases: readonly Case[]) {
    for (const { name, failure } of cases) {
      // A step's name has its test's before it.
      const [, none, row] = /(?:^|> )matrix( none)?: ([^>]*)$/.exec(name) ?? [];
      if (row === undefined) continue;
      const [target, transport, ring, way] = row.split(" | ");
      if (none !== undefined) {
        if (failure === undefined) {
          this.#none.add(`${target} | ${transport} | ${ring}`);
        }
        continue;
      }
      const cell = `${target} | ${transport} | ${ring}`;
      const ways = this.#ways.get(cell) ?? new Map<string, boolean>();
      ways.set(way!, (ways.get(way!) ?? true) && failure === undefined);
      this.#ways.set(cell, ways);
    }
  }

  /** A cell's text, and whether something is missing there. */
  cell(
    target: string,
    transport: string,
    ring: string,
  ): { text: string; missing: boolean } {
    const ways = this.#ways.get(`${target} | ${transport} | ${ring}`);
    if (ways === undefined) {
      const known = ring === "packed" &&
          this.#none.has(`${target} | ${transport} | packed`) ||
        ring === "packed" && target.startsWith("guest") &&
          this.#legacy(transport);
      return known ? { text: "none (a)", missing: false } : { text: "MISSING", missing: true };
    }
    const words = Array.from(ways, ([way, ok]) => ok ? way : `${way} FAILED`)
      .sort();
    const interrupts = [...ways.keys()].some((way) => way !== "poll");
    const excused = this.#none.has(`${target} | ${transport} | interrupt`);
    if (!interrupts) words.unshift(excused ? "none (b)" : "MISSING");
    if (!ways.has("poll")) words.push("MISSING");
    return { text: words.join(", "), missing: words.includes("MISSING") };
  }

  /** Guests have QEMU's devices: what those do not offer is shown on qtest. */
  #legacy(transport: string): boolean {
    return ["x86_64", "aarch64"].every((arch) =>
      this.#none.has(`qtest ${arch} | ${transport} | packed`)
    );
  }
}

/**
 * Says what the runs tested: the table of transports, rings and targets of the four drivers for each QEMU,
 * what ran where and what differs, then each failure with its message, so that the end of a log tells all.
 *
 * @param runs The runs, in the order in which they were made.
 * @returns The text, and whether all passed and no combination is missing.
 */
export async function report(
  runs: readonly TestRun[],
): Promise<{ readonly text: string; readonly ok: boolean }> {
  const lines: string[] = [];
  const failures: string[] = [];
  const counts = new Map<string, string[]>();
  let passed = 0;
  let missing = 0;
  for (const [i, { qemu, junits, targets }] of runs.entries()) {
    const texts = await Promise.all(junits.map((path) => Deno.readTextFile(path)));
    const cases = texts.flatMap((text) => parse(text));
    const table = matrixTable(new Matrix(cases), targets);
    missing += table.missing;
    lines.push(`Four drivers (net, blk, console, rng) on ${qemu}, and how interrupts came:`, "");
    lines.push(...table.lines, "");
    for (const { file, name, failure } of cases) {
      const folder = /^(?:\.\/)?(tests\/[^/]+|[^/]+)/.exec(file)?.[1] ?? file;
      const row = counts.get(folder) ?? runs.map(() => "0");
      row[i] = String(Number(row[i]) + 1);
      counts.set(folder, row);
      if (failure === undefined) passed++;
      else failures.push(`FAILED ${file}, ${qemu}: ${name}\n  ${firstLines(failure)}`);
    }
  }
  lines.push(`(a) ${REASONS["packed"]}.`, `(b) ${REASONS["interrupt"]}.`, "");
  lines.push(`| tests and steps in | ${runs.map(({ qemu }) => qemu).join(" | ")} |`);
  lines.push(`|---|${runs.map(() => "---|").join("")}`);
  for (const [folder, row] of [...counts].toSorted()) {
    lines.push(`| ${folder} | ${row.join(" | ")} |`);
  }
  lines.push("", "| differs between QEMU's versions | 7.2 | 10 | why |", "|---|---|---|---|");
  for (const { what, before, since, reason } of Object.values(QEMU_DIFFERENCES)) {
    lines.push(`| ${what} | ${before} | ${since} | ${reason} |`);
  }
  const ok = failures.length === 0 && missing === 0;
  lines.push("", ...failures);
  if (missing > 0) lines.push(`${missing} combinations are missing`);
  lines.push(`${passed} passed, ${failures.length} failed`);
  return { text: `${lines.join("\n")}\n`, ok };
}

function matrixTable(
  matrix: Matrix,
  targets: readonly Target[],
): { readonly lines: string[]; readonly missing: number } {
  const lines = [
    `| transport | ring | ${targets.join(" | ")} |`,
    `|---|---|${targets.map(() => "---|").join("")}`,
  ];
  let missing = 0;
  for (const transport of TRANSPORTS) {
    for (const ring of RINGS) {
      const cells = targets.map((target) => matrix.cell(target, transport, ring));
      missing += cells.filter((cell) => cell.missing).length;
      lines.push(`| ${transport} | ${ring} | ${cells.map(({ text }) => text).join(" | ")} |`);
    }
  }
  return { lines, missing };
}

/** As much of a failure's message as a reader needs first. */
function firstLines(failure: string): string {
  return failure.split("\n").filter((line) => line.trim() !== "").slice(0, 12).join("\n  ");
}
