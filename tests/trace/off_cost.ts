// What the points of traces, recordings and inspections cost where nothing is traced: this tree beside a copy of it that
// lacks them, in one process and by turns of some milliseconds, so that a busy machine is the same for both. It prints
// the median of the ratios of the processor's time for each kind of request; 1.01 is the most. Two copies of this tree
// beside each other show how much of that is chance.
// deno run -A tests/trace/off_cost.ts [processes] [pairs]
import { join } from "node:path";
import { POINTS, withoutPoints } from "./off_points.ts";
import { TempFolder } from "../temp_folder.ts";

const PROCESSES = Number(Deno.args[0] ?? 4);
const PAIRS = Number(Deno.args[1] ?? 100);
const ROOT = new URL("../../", import.meta.url).pathname;
const ROOMS = ["hal", "drivers", "emu"];

/** A room's or the whole workspace's `deno.json`. */
interface Config {
  readonly name: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

async function configOf(folder: string): Promise<Config> {
  return JSON.parse(await Deno.readTextFile(join(ROOT, folder, "deno.json")));
}

/** Copies the tree, so that nobody changes it meanwhile. */
async function copyTree(folder: string): Promise<void> {
  await Deno.mkdir(folder);
  const args = ["-r", "--parents", ...ROOMS, "types", "tests/trace", folder];
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

/** An import map by which each tree finds its own rooms. */
async function importMap(roots: readonly string[]): Promise<string> {
  const { imports } = await configOf(".");
  const scopes: Record<string, Record<string, string>> = {};
  for (const root of roots) {
    const scope: Record<string, string> = scopes[`file://${root}/`] = {};
    for (const room of ROOMS) {
      const { name, exports } = await configOf(room);
      for (const [path, file] of Object.entries(exports)) {
        scope[name + path.slice(1)] = `file://${join(root, room, file)}`;
      }
    }
  }
  return JSON.stringify({ imports, scopes });
}

/** Nanoseconds of a request of each kind: pairs of the first tree and the second. */
async function measure(
  map: string,
  roots: readonly string[],
): Promise<Readonly<Record<string, readonly (readonly [number, number])[]>>> {
  const script = join(roots[0]!, "tests/trace/off_pairs.ts");
  const args = ["run", "-A", "--no-check", "--no-config", "--no-lock", "--import-map", map, script];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args, String(PAIRS), ...roots],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Prints the ratios of the first tree to the second. */
async function compare(
  title: string,
  map: string,
  [a, b]: readonly [string, string],
): Promise<void> {
  const all: Record<string, [number, number][]> = {};
  for (let i = 0; i < PROCESSES; i++) {
    // What is loaded first may be compiled otherwise.
    const swapped = (i & 1) === 1;
    for (const [kind, pairs] of Object.entries(await measure(map, swapped ? [b, a] : [a, b]))) {
      for (const [x, y] of pairs) (all[kind] ??= []).push(swapped ? [y, x] : [x, y]);
    }
  }
  console.log(`${title.padEnd(28)} first      second   median of ratios`);
  for (const [kind, pairs] of Object.entries(all)) {
    const [x, y] = [median(pairs.map(([x]) => x)), median(pairs.map(([, y]) => y))];
    const ratio = median(pairs.map(([x, y]) => x / y));
    console.log(
      `  ${kind.padEnd(20)} ${x.toFixed(1).padStart(9)} ns ${y.toFixed(1).padStart(9)} ns   ${
        ratio.toFixed(4)
      }`,
    );
  }
}

using temporary = new TempFolder();
const folder = temporary.path;
const [points, again, without] = ["points", "again", "without"].map((name) => join(folder, name));
const roots = [points!, again!, without!];
for (const root of roots) await copyTree(root);
await strip(without!);
const map = join(folder, "map.json");
await Deno.writeTextFile(map, await importMap(roots));
await compare("with points, without", map, [points!, without!]);
await compare("with points, with points", map, [points!, again!]);
