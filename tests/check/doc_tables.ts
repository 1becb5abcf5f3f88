// deno-lint-ignore-file no-console -- a program
/**
 * Runs `vireo check` on the targets of docs/check.md, and writes what it printed into the rows of the page's tables.
 *
 * `doc_tables.ts emu` runs the rows that have the word; without words all are run, which takes half an hour. With
 * `--state FILE` each outcome is kept in that file as it comes, and a run that has one there is not made again. Both
 * QEMUs run at once. A row with a check that fails is not written: its checks are printed, and the exit code is 1.
 *
 * @module
 */
import { storageDaemon, temporaryFolder } from "../vhost_user/daemon.ts";

const PAGE = new URL("../../docs/check.md", import.meta.url);
const ROOT = new URL("../../", import.meta.url);
const VIREO = new URL("vireo", ROOT).pathname;
/** QEMU 10, which `make qemu` fetches. */
const NEWER = new URL(".cache/qemu/bin", ROOT).pathname;
const PATH = Deno.env.get("PATH") ?? "";
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

/** Outcome of a run, or of several added up. */
interface Outcome {
  readonly seconds: number;
  readonly pass: number;
  readonly fail: number;
  readonly deviates: number;
  readonly skip: number;
  /** Deviations that were not done, because a guest would have ended. */
  readonly undone: number;
  /** The checks that failed, each with why. */
  readonly failed: readonly string[];
}

/** One result of `vireo check --json`. */
interface Row {
  readonly check: string;
  readonly device: { readonly name: string; readonly type: string };
  readonly verdict: string;
  readonly reason?: string;
  readonly seen?: string;
}

/** Outcomes that a state file has, by the flags and the folder of QEMU. */
class State {
  readonly #path: string | undefined;
  readonly #known: Record<string, Outcome> = {};

  constructor(path: string | undefined) {
    this.#path = path;
    if (path === undefined) return;
    try {
      this.#known = JSON.parse(Deno.readTextFileSync(path));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** An outcome that is known, or that of `make`. */
  async outcome(key: string, make: () => Promise<Outcome>): Promise<Outcome> {
    const known = this.#known[key];
    if (known !== undefined) return known;
    const made = await make();
    // Runs with failures are made again after the repair.
    if (this.#path !== undefined && made.fail === 0) {
      this.#known[key] = made;
      await Deno.writeTextFile(this.#path, JSON.stringify(this.#known, null, 1));
    }
    return made;
  }
}

async function run(flags: readonly string[], path: string): Promise<Outcome> {
  const start = performance.now();
  const { stdout } = await new Deno.Command(VIREO, {
    args: ["check", "--hostile", "--json", ...flags],
    cwd: ROOT,
    env: { PATH: path },
    stdin: "null",
    stderr: "inherit",
  }).output();
  const seconds = (performance.now() - start) / 1000;
  const { results } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly results: readonly Row[];
  };
  const of = (name: string): readonly Row[] => results.filter(({ verdict }) => verdict === name);
  return {
    seconds,
    pass: of("pass").length,
    fail: of("fail").length,
    deviates: of("deviates").length,
    skip: of("skip").length,
    undone: of("deviates").filter(({ seen }) => seen?.startsWith("not done") === true).length,
    failed: of("fail").map(({ check, device, reason }) =>
      `${device.name} (${device.type}) ${check}: ${reason}`
    ),
  };
}

function sum(outcomes: readonly Outcome[]): Outcome {
  const total = (name: Exclude<keyof Outcome, "failed">): number =>
    outcomes.reduce((sum, outcome) => sum + outcome[name], 0);
  return {
    seconds: total("seconds"),
    pass: total("pass"),
    fail: total("fail"),
    deviates: total("deviates"),
    skip: total("skip"),
    undone: total("undone"),
    failed: outcomes.flatMap(({ failed }) => failed),
  };
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
async function board(
  state: State,
  target: string,
  words: string,
  path: string,
): Promise<Outcome> {
  const flags = FLAGS.flatMap(([word, flags]) => words.includes(word) ? flags : []);
  const bus = target === "emu" && words.includes("PCI") ? ["--transport", "pci"] : [];
  const outcomes: Outcome[] = [];
  for (const devices of runsOf(target, words)) {
    const all = ["--target", target, ...devices, ...flags, ...bus];
    const key = [...all, ...path === PATH ? [] : ["newer"]].join(" ");
    outcomes.push(await state.outcome(key, () => run(all, path)));
  }
  return sum(outcomes);
}

/** A back end at a socket: `vireo serve ...`, or QEMU's storage daemon. */
async function served(words: string): Promise<Outcome> {
  await using folder = temporaryFolder();
  const socket = `${folder.path}/device.sock`;
  const device = words.startsWith("vireo serve ") ? words.split(" ")[2]! : "blk";
  const target = ["--target", `vhost-user:${device}=${socket}`];
  if (!words.startsWith("vireo")) {
    const image = `${folder.path}/disk.img`;
    await Deno.writeFile(image, new Uint8Array(8 << 20));
    await using _daemon = await storageDaemon(image, socket);
    return await run(target, PATH);
  }
  const server = new Deno.Command(VIREO, {
    args: [...words.split(" ").slice(1), "--socket", socket],
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
  }).spawn();
  try {
    for (let waited = 0; waited < 300; waited++) {
      const there = await Deno.stat(socket).then(() => true, () => false);
      if (there) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return await run(target, PATH);
  } finally {
    server.kill("SIGINT");
    await server.status;
  }
}

const GUEST = /: \d+ pass, none fails, \d+ deviate, \d+ of them not done\./;
const GUEST_BOARD = "qemu:x86_64-microvm";

/** Replaces text of the page, which another run may have written meanwhile. */
async function write(before: string | RegExp, after: string): Promise<void> {
  console.log(after);
  const text = await Deno.readTextFile(PAGE);
  await Deno.writeTextFile(PAGE, text.replace(before, () => after));
}

/** The rows of the tables that have all words, and what they are made of. */
async function tables(state: State, asked: readonly string[]): Promise<readonly string[]> {
  const failed: string[] = [];
  const fails = (line: string, outcomes: readonly Outcome[]): boolean => {
    const found = outcomes.flatMap(({ failed }) => failed).map((text) => `${line}\n  ${text}`);
    failed.push(...found);
    for (const text of found) console.log(text);
    return found.length > 0;
  };
  for (const line of (await Deno.readTextFile(PAGE)).split("\n")) {
    if (!asked.every((word) => line.includes(word))) continue;
    const [, target, words] = /^\| `(emu|qtest:[^`]+)` \| ([^|]+?) \|/.exec(line) ?? [];
    const [, backEnd] = /^\| `(vireo serve [^`]+|qemu-storage-daemon)`/.exec(line) ?? [];
    if (GUEST.test(line)) {
      const devices = ["balloon", "gpu", "input", "crypto"].flatMap((name) => ["--with", name]);
      const flags = ["--target", GUEST_BOARD, ...devices];
      const one = await state.outcome(flags.join(" "), () => run(flags, PATH));
      if (fails(GUEST_BOARD, [one])) continue;
      const { pass, deviates, undone } = one;
      await write(
        GUEST,
        `: ${pass} pass, none fails, ${deviates} deviate, ${undone} of them not done.`,
      );
    } else if (backEnd !== undefined) {
      const name = /^\| ([^|]+) \|/.exec(line)![1]!;
      const one = await state.outcome(name, () => served(backEnd));
      // The storage daemon's failures are its own, and the page has them.
      if (backEnd.startsWith("vireo") && fails(name, [one])) continue;
      const { seconds, pass, fail, skip } = one;
      await write(line, `| ${name} | ${Math.round(seconds)} | ${pass} | ${fail} | ${skip} |`);
    } else if (target === "emu") {
      const one = await board(state, target, words!, PATH);
      if (fails(`${target}, ${words}`, [one])) continue;
      await write(
        line,
        `| \`${target}\` | ${words} | ${Math.round(one.seconds)} | ${one.pass} |`,
      );
    } else if (target !== undefined) {
      const paths = [PATH, `${NEWER}:${PATH}`];
      const both = await Promise.all(paths.map((path) => board(state, target, words!, path)));
      if (fails(`${target}, ${words}`, both)) continue;
      const cells = both.map(({ seconds, pass, deviates }) =>
        `${Math.round(seconds)}, ${pass}, ${deviates}`
      );
      await write(line, `| \`${target}\` | ${words} | ${cells.join(" | ")} |`);
    }
  }
  return failed;
}

const words = [...Deno.args];
const at = words.indexOf("--state");
const state = new State(at < 0 ? undefined : words.splice(at, 2)[1]);
const failed = await tables(state, words);
if (failed.length > 0) {
  console.error(`${failed.length} checks fail:\n${failed.join("\n")}`);
  Deno.exit(1);
}
