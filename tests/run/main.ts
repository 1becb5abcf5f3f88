// deno-lint-ignore-file no-console -- a program
/**
 * Runs all tests on the host's QEMU, and those that need QEMU on each other one that is there, and prints
 * what ran where.
 *
 * `deno run -A tests/run/main.ts REPORT_FOLDER [COMMAND...]`, where the command is Deno's and runs beside the tests:
 * `check --doc hal`. Exits with 1 if a test or the command failed, or if a combination of target, transport
 * and ring was neither tested nor shown to be impossible.
 *
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import { writeAll } from "../../firmware/trace/file.ts";
import { inTurn } from "./in_turn.ts";
import { DENO_TEST, filesToRun, type Job, jobs, LONGEST } from "./jobs.ts";
import { installedQemus } from "../qemu/installed.ts";
import { PART_VARIABLE } from "../qemu/part.ts";
import { report, TARGETS, type TestRun } from "./report.ts";
import { citedInReports } from "../spec/cited.ts";
import { decide, missingMusts } from "../spec/coverage.ts";
import { MISSING_MUSTS } from "../spec/missing.ts";

/** Processes at a time: two more than processors, as tests wait for devices, programs and deadlines. */
const WORKERS = Number(Deno.env.get("VIREO_TEST_JOBS") ?? navigator.hardwareConcurrency + 2);

const [folder, ...check] = Deno.args;
if (folder === undefined) {
  console.error("usage: run.ts REPORT_FOLDER [COMMAND...]");
  Deno.exit(2);
}
await Deno.remove(folder, { recursive: true }).catch((error) => {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
});
await Deno.mkdir(folder, { recursive: true });

const qemus = installedQemus();
const runs = qemus.map(({ version }, i) => ({
  qemu: `QEMU ${version.text}`,
  junits: [] as string[],
  targets: i === 0 ? TARGETS : TARGETS.filter((name) => name !== "emu"),
})) satisfies TestRun[];

/** A process of Deno's. */
interface Task {
  readonly title: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly holds?: string | undefined;
}

/** The process that runs a job on one of the QEMUs. */
function testing({ name, paths, holds }: Job, qemu: number): Task {
  const { junits, qemu: text } = runs[qemu]!;
  const junit = `${folder}/${qemu + 1}-${junits.length + 1}.xml`;
  junits.push(junit);
  return {
    holds,
    title: `${name} on ${text}`,
    args: [...DENO_TEST, `--junit-path=${junit}`, ...filesToRun(paths)],
    env: { PATH: qemus[qemu]!.path, [PART_VARIABLE]: `${qemu + 1}/${qemus.length}` },
  };
}

// A job's tests on another QEMU come right behind it, as they take as long. The bundles of those are others.
const all = jobs("all");
const again = jobs("qemu");
const onEach = (job: Job): Task[] =>
  qemus.flatMap((_, i) => {
    const its = i === 0 ? job : again.find(({ name }) => name === job.name);
    return its === undefined ? [] : testing(its, i);
  });
const bundles = again.filter(({ name }) => all.every((job) => job.name !== name));
const tasks: Task[] = [
  ...all.slice(0, LONGEST.length).flatMap(onEach),
  ...bundles.flatMap((job) => qemus.slice(1).map((_, i) => testing(job, i + 1))),
  ...all.slice(LONGEST.length).flatMap(onEach),
];
if (check.length > 0) tasks.unshift({ title: `deno ${check[0]}`, args: check });

const started = performance.now();
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(0)} s`;
let busy = 0;
let done = 0;
let failed = false;
let checkFailed = false;
await inTurn(tasks, WORKERS, async ({ title, args, env = {} }) => {
  if (checkFailed) return;
  const start = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  busy += performance.now() - start;
  const lines = stripVTControlCharacters(new TextDecoder().decode(stdout)).trim().split("\n");
  const outcome = code === 0 ? lines.at(-1)!.replace(/^ok \| | \(.*\)$/g, "") || "ok" : "FAILED";
  console.log(`${++done}/${tasks.length} ${title}: ${outcome} (${seconds(start)})`);
  if (code === 0) return;
  failed = true;
  checkFailed ||= args === check;
  writeAll(Deno.stdout, stdout);
  writeAll(Deno.stderr, stderr);
});
// With wrong types the tests that were not started yet say nothing.
if (checkFailed) Deno.exit(1);
const idle = WORKERS * (performance.now() - started) - busy;
console.log(
  `${WORKERS} processes at a time took ${seconds(started)}; a place was free for ${
    (idle / 1000).toFixed(0)
  } s in all`,
);
// A process that was killed has written none, and has failed.
const written = new Set(Array.from(Deno.readDirSync(folder), ({ name }) => `${folder}/${name}`));
for (const run of runs) run.junits = run.junits.filter((path) => written.has(path));
const { text, ok } = await report(runs);
const reports = new URL(`${folder}/`, `file://${Deno.cwd()}/`);
const missing = missingMusts(decide(citedInReports(reports) ?? new Set())).length;
const spec =
  `${missing} MUSTs of the specification are in no test that passed (make spec lists them)`;
console.log(`\n${text}\n${spec}, at most ${MISSING_MUSTS} may be`);
await Deno.writeTextFile(`${folder}/report.md`, `${text}\n${spec}\n`);
Deno.exit(failed || !ok || missing > MISSING_MUSTS ? 1 : 0);
