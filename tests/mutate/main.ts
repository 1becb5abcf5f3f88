// deno-lint-ignore-file no-console -- a program
/**
 * Breaks one place of a source file at a time and runs the tests that import the file: a change that no test sees
 * survived, and a test is missing. Slow, and no part of `make test`. `--help` names the options.
 *
 * @module
 */
import { seeded } from "../hostile/liar.ts";
import { DENO_TEST, filesToRun } from "../run/jobs.ts";
import { SOURCES } from "../tree/sources.ts";
import { type Stage, stagesOf } from "./_tests.ts";
import { isEquivalent } from "./_equivalents.ts";
import { candidates, type Mutation } from "./_mutations.ts";
import { isOfRoom, type MutateOptions, optionsOf, USAGE } from "./_options.ts";

/** Milliseconds that the tests of one change may take; a loop that does not end is seen too. */
const LIMIT = 90_000;

/** The options; help and mistakes end the process. */
function readOptions(): MutateOptions {
  const options = optionsOf(Deno.args, SOURCES.map(({ path }) => path));
  if (typeof options !== "string") return options;
  const help = options === USAGE;
  (help ? console.log : console.error)(options);
  return Deno.exit(help ? 0 : 2);
}

const values = readOptions();
/** Copies of the tracked files. */
const folders: string[] = [];
/** Processes that run tests. */
const children = new Set<Deno.ChildProcess>();

/** Copies the tracked files, with what the tests need beside them. */
async function copy(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "vireo-mutate-" });
  folders.push(folder);
  const script = 'git ls-files -z | xargs -0 cp --parents -t "$0"; ' +
    'for f in .tools .cache; do if [ -e $f ]; then ln -s "$PWD/$f" "$0/$f"; fi; done';
  const { success } = await new Deno.Command("sh", { args: ["-c", script, folder] }).output();
  if (!success) throw new Error("Cannot copy the tracked files");
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
      ...DENO_TEST,
      ...["--quiet", "--fail-fast"],
      ...(doc === undefined ? [] : ["--doc", doc]),
      ...(filter === undefined ? [] : ["--filter", filter, "--permit-no-files"]),
      ...filesToRun(tests),
    ],
    env: { VIREO_TEST_LIMIT: "30000", NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  children.add(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT);
  const { success, signal, stderr, stdout } = await child.output();
  clearTimeout(timer);
  children.delete(child);
  if (success) return "survived";
  const said = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  if (/could not be parsed|SyntaxError/.test(said)) return "no program";
  return signal !== null || /Test timed out after \d+ms/.test(said) ? "timed out" : "killed";
}

const places = new Set(values.at);
const count = places.size > 0 ? Infinity : values.count;
const end = performance.now() + values.seconds * 1000;

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
  const random = seeded(values.seed);
  const files = values.file.length > 0 ? values.file : SOURCES
    .map(({ path }) => path)
    .filter((path) => places.size === 0 || values.at.some((at) => at.startsWith(`${path}:`)))
    .sort();
  const all = files
    .filter((path) => isOfRoom(path, room))
    .flatMap((path) => candidates(path, Deno.readTextFileSync(path)))
    .filter((mutation) => !isEquivalent(mutation));
  if (places.size > 0) return all.filter(({ path, line }) => places.has(`${path}:${line}`));
  const shuffled: Mutation[] = [];
  while (all.length > 0) shuffled.push(...all.splice(random() % all.length, 1));
  return shuffled;
}

function removeFolders(): void {
  for (const folder of folders.splice(0)) Deno.removeSync(folder, { recursive: true });
}

Deno.addSignalListener("SIGINT", () => {
  for (const child of children) child.kill("SIGKILL");
  removeFolders();
  Deno.exit(130);
});
try {
  while (folders.length < values.jobs) await copy();
  let found = 0;
  for (const room of values.room) {
    const all = mutationsOf(room);
    found += all.length;
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
  if (found === 0) console.log("Nothing to break there");
} finally {
  removeFolders();
}
