// deno-lint-ignore-file no-console -- a program
/**
 * Breaks one place of a source file at a time and runs the tests that import the file: a change that no test sees
 * survived, and a test is missing. Slow, and no part of `make test`.
 *
 * `deno run -A tests/mutate/main.ts [--room drivers|emu|rings|hal|firmware]... [--file PATH]... [--count 40] [--seconds 3600] [--seed 1]
 * [--at PATH:LINE]... [--jobs 2] [--near]`. The same seed breaks the same places; `--at` makes each change of a line instead,
 * `--verbose` names the changes that are killed, too, and `--near` runs the nearest tests alone: a quick look for places
 * without a test. It works on copies of the tracked files, in folders that it removes.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { seeded } from "../hostile/liar.ts";
import { type Stage, stagesOf } from "./_tests.ts";
import { isEquivalent } from "./_equivalents.ts";
import { candidates, type Mutation } from "./_mutations.ts";
import { SOURCES } from "../tree/sources.ts";

/** Where the files of a room are that are broken. */
const ROOMS: Readonly<Record<string, RegExp>> = {
  drivers: /^drivers\/(?!testing\/|trace\/|record\/)/,
  emu: /^emu\/devices\//,
  rings: /^emu\/(?:ring\/|transport\/|[^/]+$)/,
  hal: /^hal\/(?!devmem\/|virtio\/)/,
  firmware: /^(?:firmware\/(?:disk|trace|check)|drivers\/(?:trace|record))\//,
};
/** Files without anything to break, and those that are tests or for tests. */
const LEFT_OUT = /_test\.ts$|_bench\.ts$|_test_util\.ts$|\/mod\.ts$|\/core\.ts$/;
/** Milliseconds that the tests of one change may take; a loop that does not end is seen too. */
const LIMIT = 90_000;

const { values } = parseArgs({
  options: {
    room: { type: "string", multiple: true, default: Object.keys(ROOMS) },
    file: { type: "string", multiple: true, default: [] },
    count: { type: "string", default: "40" },
    seconds: { type: "string", default: "3600" },
    seed: { type: "string", default: "1" },
    at: { type: "string", multiple: true, default: [] },
    verbose: { type: "boolean", default: false },
    jobs: { type: "string", default: String(navigator.hardwareConcurrency) },
    near: { type: "boolean", default: false },
  },
});

/** Copies the tracked files, with what the tests need beside them. */
async function copy(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "vireo-mutate-" });
  const script = 'git ls-files -z | xargs -0 cp --parents -t "$0"; ' +
    'for f in .tools .cache; do if [ -e $f ]; then ln -s "$PWD/$f" "$0/$f"; fi; done';
  const { success } = await new Deno.Command("sh", { args: ["-c", script, folder] }).output();
  if (!success) throw new Error("Cannot copy the tracked files");
  return folder;
}

/** Fates of a change. */
type Fate = "survived" | "killed" | "timed out" | "no program";

/**
 * Runs tests in a folder.
 *
 * @returns `survived` if all passed; `timed out` if only time ended one, which a busy machine does as well.
 */
async function run(folder: string, { tests, doc, filter }: Stage): Promise<Fate> {
  const child = new Deno.Command(Deno.execPath(), {
    cwd: folder,
    args: [
      ...["test", "-A", "--no-check", "--quiet", "--fail-fast", "--preload", "tests/run/limit.ts"],
      ...(doc ? ["--doc"] : []),
      ...(filter === undefined ? [] : ["--filter", filter, "--permit-no-files"]),
      ...tests,
    ],
    env: { VIREO_TEST_LIMIT: "30000", NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT);
  const { success, signal, stderr, stdout } = await child.output();
  clearTimeout(timer);
  if (success) return "survived";
  const said = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  if (/could not be parsed|SyntaxError/.test(said)) return "no program";
  return signal !== null || /Test timed out after \d+ms/.test(said) ? "timed out" : "killed";
}

const places = new Set(values.at);
const count = places.size > 0 ? Infinity : Number(values.count);
const end = performance.now() + Number(values.seconds) * 1000;

/**
 * Makes a change in a folder, and lets one stage of tests after another look at it until one sees it. Where only time
 * ended one, it must have enough of it without the change: on a busy machine it may see nothing.
 */
async function fateOf(mutation: Mutation, folder: string): Promise<Fate> {
  const at = `${folder}/${mutation.path}`;
  const original = await Deno.readTextFile(at);
  try {
    for (const stage of stagesOf(mutation.path, values.near)) {
      await Deno.writeTextFile(at, mutation.text);
      const fate = await run(folder, stage);
      if (fate === "survived") continue;
      if (fate !== "timed out") return fate;
      await Deno.writeTextFile(at, original);
      if (await run(folder, stage) === "survived") return fate;
    }
    return "survived";
  } finally {
    await Deno.writeTextFile(at, original);
  }
}

/** The changes of a room in the order in which they are made. */
function mutationsOf(room: string): Mutation[] {
  const random = seeded(Number(values.seed));
  const files = values.file.length > 0 ? values.file : SOURCES
    .map(({ path }) => path)
    .filter((path) => places.size === 0 || values.at.some((at) => at.startsWith(`${path}:`)))
    .sort();
  const all = files
    .filter((path) => ROOMS[room]!.test(path) && !LEFT_OUT.test(path))
    .flatMap((path) => candidates(path, Deno.readTextFileSync(path)))
    .filter((mutation) => !isEquivalent(mutation));
  if (places.size > 0) return all.filter(({ path, line }) => places.has(`${path}:${line}`));
  const shuffled: Mutation[] = [];
  while (all.length > 0) shuffled.push(...all.splice(random() % all.length, 1));
  return shuffled;
}

const folders: string[] = [];
try {
  while (folders.length < Number(values.jobs)) folders.push(await copy());
  for (const room of values.room) {
    const all = mutationsOf(room);
    const fates: Record<Fate, number> = {
      "survived": 0,
      "killed": 0,
      "timed out": 0,
      "no program": 0,
    };
    let begun = 0;
    const total = (): number => fates.survived + fates.killed + fates["timed out"];
    await Promise.all(folders.map(async (folder) => {
      while (begun < count && all.length > 0 && performance.now() < end) {
        const mutation = all.shift()!;
        begun++;
        const fate = await fateOf(mutation, folder);
        fates[fate]++;
        if (fate === "no program") begun--;
        if (fate === "survived" || values.verbose) {
          console.log(`${fate}: ${mutation.path}:${mutation.line}: ${mutation.what}`);
        }
      }
    }));
    if (total() === 0) continue;
    console.log(
      `${room}: ${fates.killed + fates["timed out"]} of ${total()} killed, ${
        fates["timed out"]
      } of them by time alone, ${fates.survived} survived (${
        (100 * fates.survived / total()).toFixed(0)
      }%), ${fates["no program"]} were no programs; seed ${values.seed}`,
    );
  }
} finally {
  for (const folder of folders) await Deno.remove(folder, { recursive: true });
}
