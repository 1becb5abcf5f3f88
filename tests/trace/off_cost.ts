// What the points of traces, recordings and inspections cost where nothing is traced: this tree beside a copy of it that
// lacks them, by turns in one run. It prints the ratio of the processor's time for each kind of request; 1.01 is the most.
// With `instructions` it counts instructions with valgrind, which other programs on the machine do not change.
// deno run -A tests/trace/off_cost.ts [rounds | instructions]
import { join } from "node:path";
import { POINTS, withoutPoints } from "./off_points.ts";

const COUNTED = Deno.args[0] === "instructions";
const ROUNDS = COUNTED ? 0 : Number(Deno.args[0] ?? 12);
const ROOT = new URL("../../", import.meta.url).pathname;
const WORK = "tests/trace/off_work.ts";
const ROOMS = ["deno.json", "deno.lock", "types", "hal", "drivers", "emu", "firmware", "examples"];

/** Copies the tree, so that nobody changes it meanwhile. */
async function copyTree(folder: string): Promise<void> {
  await Deno.mkdir(folder);
  const args = ["-r", "--parents", ...ROOMS, "tests/trace", folder];
  const { success, stderr } = await new Deno.Command("cp", { args, cwd: ROOT }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Takes the points out of a tree. */
async function strip(folder: string): Promise<void> {
  for (const file of Object.keys(POINTS)) {
    const path = join(folder, file);
    await Deno.writeTextFile(path, withoutPoints(file, await Deno.readTextFile(path)));
  }
}

/** Nanoseconds a request by kind. */
async function measure(root: string): Promise<Readonly<Record<string, number>>> {
  const args = ["run", "-A", "--no-check", "--config", join(root, "deno.json"), join(root, WORK)];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** How many requests of each kind are counted; a third as many are done first, and taken off. */
const COUNTS: Readonly<Record<string, number>> = {
  "blk": 60_000,
  "blk batch": 192_000,
  "rng": 120_000,
  "net": 192_000,
};

/** Has V8 do the same in each run: one thread, and no times or addresses that decide anything. */
const SAME = "--v8-flags=--single-threaded,--predictable,--random-seed=1,--hash-seed=1";

/** Instructions of a whole run of so many requests. */
async function instructions(root: string, kind: string, requests: number): Promise<number> {
  const deno = [Deno.execPath(), "run", "-A", "--no-check", SAME];
  const work = ["--config", join(root, "deno.json"), join(root, WORK), kind, String(requests)];
  const valgrind = ["--tool=cachegrind", "--cache-sim=no", "--smc-check=all-non-file"];
  const args = [...valgrind, "--cachegrind-out-file=/dev/null", ...deno, ...work];
  const { stderr } = await new Deno.Command("valgrind", { args }).output();
  const text = new TextDecoder().decode(stderr);
  const [, count] = /I +refs: +([\d,]+)/.exec(text) ?? [];
  if (count === undefined) throw new Error(text);
  return Number(count.replaceAll(",", ""));
}

/** Prints the instructions of a request of each kind. */
async function countAll(roots: readonly string[]): Promise<void> {
  console.log("request        with points     without   ratio");
  for (const [kind, requests] of Object.entries(COUNTS)) {
    const each: number[] = [];
    for (const root of roots) {
      const less = await instructions(root, kind, requests / 3);
      each.push((await instructions(root, kind, requests) - less) / (requests * 2 / 3));
    }
    const [points, without] = each as [number, number];
    console.log(
      `${kind.padEnd(12)} ${points.toFixed(1).padStart(13)} ${without.toFixed(1).padStart(11)}   ` +
        (points / without).toFixed(4),
    );
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const folder = await Deno.makeTempDir({ prefix: "vireo-" });
try {
  const roots = [join(folder, "points"), join(folder, "without")];
  for (const root of roots) await copyTree(root);
  await strip(roots[1]!);
  if (COUNTED) await countAll(roots);
  const found: Record<string, [number[], number[]]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    // Which one is first changes, so that a machine that gets slower or faster does not count.
    for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
      for (const [kind, ns] of Object.entries(await measure(roots[which]!))) {
        (found[kind] ??= [[], []])[which]!.push(ns);
      }
    }
  }
  if (!COUNTED) console.log("request        with points     without   least  median");
  for (const [kind, [points, without]] of Object.entries(found)) {
    const [least, other] = [Math.min(...points), Math.min(...without)];
    const ratios = points.map((ns, i) => ns / without[i]!);
    console.log(
      `${kind.padEnd(12)} ${least.toFixed(1).padStart(10)} ns ${
        other.toFixed(1).padStart(8)
      } ns   ` +
        `${(least / other).toFixed(3)}   ${median(ratios).toFixed(3)}`,
    );
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
