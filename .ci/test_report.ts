// deno-lint-ignore-file no-console -- a program
/**
 * Reads what `deno test --junit-path` wrote and prints the table of transports, rings and targets that the
 * four drivers were tested on, then each failure with its message, so that the end of a log tells all.
 *
 * `deno run -R -W .ci/test_report.ts REPORT.xml TABLE.md`; exits with 1 if a test failed or a combination
 * is neither tested nor shown to be impossible.
 *
 * @module
 */

/** A test or a step of one. */
interface Case {
  readonly name: string;
  readonly file: string;
  /** What it threw, if it failed. */
  readonly failure: string | undefined;
}

const TARGETS = [
  "emu",
  "qtest x86_64",
  "qtest aarch64",
  "qtest riscv64",
  "guest x86_64",
  "guest aarch64",
] as const;
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
  /** What cannot be, as shown by a test that passed. */
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

const [input, output] = Deno.args;
if (input === undefined || output === undefined) {
  console.error("usage: test_report.ts REPORT.xml TABLE.md");
  Deno.exit(2);
}
const cases = parse(await Deno.readTextFile(input));
const matrix = new Matrix(cases);
const lines = [
  "Four drivers (net, blk, console, rng) by transport, ring and target, and how interrupts came:",
  "",
  `| transport | ring | ${TARGETS.join(" | ")} |`,
  `|---|---|${TARGETS.map(() => "---|").join("")}`,
];
let missing = 0;
for (const transport of TRANSPORTS) {
  for (const ring of RINGS) {
    const cells = TARGETS.map((target) => matrix.cell(target, transport, ring));
    missing += cells.filter((cell) => cell.missing).length;
    lines.push(
      `| ${transport} | ${ring} | ${cells.map(({ text }) => text).join(" | ")} |`,
    );
  }
}
lines.push("", `(a) ${REASONS["packed"]}.`, `(b) ${REASONS["interrupt"]}.`);
const failed = cases.filter(({ failure }) => failure !== undefined);
console.log(`\n${lines.join("\n")}\n`);
await Deno.mkdir(output.replace(/[^/]*$/, "") || ".", { recursive: true });
await Deno.writeTextFile(output, `${lines.join("\n")}\n`);
for (const { file, name, failure } of failed) {
  const told = failure!.split("\n").filter((line) => line.trim() !== "").slice(
    0,
    12,
  );
  console.log(`FAILED ${file}: ${name}\n  ${told.join("\n  ")}`);
}
console.log(
  `${cases.length} tests and steps, ${failed.length} failed, ${missing} combinations missing`,
);
if (failed.length > 0 || missing > 0) Deno.exit(1);
