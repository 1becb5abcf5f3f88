/**
 * Runs `vireo check` on the targets of docs/check.md, and writes what it printed into the rows of the page's tables.
 *
 * `doc_tables.ts emu` runs the rows that have the word; without words all are run, which takes an hour.
 *
 * @module
 */
const PAGE = new URL("../../docs/check.md", import.meta.url);
const ROOT = new URL("../../", import.meta.url);
/** QEMU 10, which `make qemu` fetches. */
const NEWER = new URL(".cache/qemu/bin", ROOT).pathname;
const OLD = ["balloon", "scsi", "9p"];
const NEW = ["gpu", "input", "crypto"];
const EMULATED = ["rpmsg", "rproc-serial", "caif", "vsock"];
/** Flags of an interface's words in the tables. */
const FLAGS: readonly (readonly [word: string, flags: readonly string[]])[] = [
  ["in order", ["--in-order"]],
  ["NOTIFICATION_DATA", ["--notification-data"]],
  ["packed", ["--packed"]],
  ["legacy", ["--legacy"]],
  ["virtio-mmio 1", ["--legacy"]],
  ["transitional", ["--transitional"]],
];

/** Outcome of a run. */
interface Outcome {
  readonly seconds: number;
  readonly pass: number;
  readonly fail: number;
  readonly deviates: number;
}

async function run(flags: readonly string[], path: string): Promise<Outcome> {
  const start = performance.now();
  const command = new Deno.Command(new URL("vireo", ROOT).pathname, {
    args: ["check", "--hostile", "--json", ...flags],
    cwd: ROOT,
    env: { PATH: path },
    stdin: "null",
    stderr: "inherit",
  });
  const { stdout } = await command.output();
  const seconds = (performance.now() - start) / 1000;
  const { results } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly results: readonly { readonly verdict: string }[];
  };
  const count = (name: string): number => results.filter(({ verdict }) => verdict === name).length;
  return { seconds, pass: count("pass"), fail: count("fail"), deviates: count("deviates") };
}

/** Devices of a row, in runs that have room for them: riscv64's virtio-mmio has eight slots. */
function runsOf(target: string, words: string): readonly (readonly string[])[] {
  const withs = (names: readonly string[]): string[] => names.flatMap((name) => ["--with", name]);
  const oldPci = words.includes("legacy") && /pci|q35|PCI/.test(target + words);
  if (target === "emu") return [withs(oldPci ? OLD : [...OLD, ...EMULATED, ...NEW])];
  if (target === "qtest:riscv64-virt") return [withs(OLD), withs(NEW)];
  return [withs(oldPci ? OLD : [...OLD, ...NEW])];
}

/** All runs of a row on one QEMU, added up. */
async function row(target: string, words: string, path: string): Promise<Outcome> {
  const flags = FLAGS.flatMap(([word, flags]) => words.includes(word) ? flags : []);
  const bus = target === "emu" && words.includes("PCI") ? ["--transport", "pci"] : [];
  const sum = { seconds: 0, pass: 0, fail: 0, deviates: 0 };
  for (const devices of runsOf(target, words)) {
    const one = await run(["--target", target, ...devices, ...flags, ...bus], path);
    for (const name of ["seconds", "pass", "fail", "deviates"] as const) sum[name] += one[name];
  }
  if (sum.fail > 0) throw new Error(`${target}, ${words}: ${sum.fail} checks fail`);
  return sum;
}

const PATH = Deno.env.get("PATH") ?? "";
for (const line of (await Deno.readTextFile(PAGE)).split("\n")) {
  const [, target, words] = /^\| `(emu|qtest:[^`]+)` \| ([^|]+?) \|/.exec(line) ?? [];
  if (target === undefined || !Deno.args.every((word) => line.includes(word))) continue;
  let cells: string;
  if (target === "emu") {
    const { seconds, pass } = await row(target, words!, PATH);
    cells = `${Math.round(seconds)} | ${pass}`;
  } else {
    const both = [await row(target, words!, PATH), await row(target, words!, `${NEWER}:${PATH}`)];
    cells = both.map(({ seconds, pass, deviates }) =>
      `${Math.round(seconds)}, ${pass}, ${deviates}`
    ).join(" | ");
  }
  const written = `| \`${target}\` | ${words} | ${cells} |`;
  console.log(written);
  // Read again: another run may have written other rows meanwhile.
  const text = await Deno.readTextFile(PAGE);
  await Deno.writeTextFile(PAGE, text.replace(line, written));
}
