// deno-lint-ignore-file no-console -- a program
/**
 * Runs all tests on the host's QEMU, then those that need QEMU on each other one that is there, and
 * prints what ran where.
 *
 * `deno run -A tests/run.ts REPORT_FOLDER`; exits with 1 if a test failed, or if a combination of target,
 * transport and ring was neither tested nor shown to be impossible.
 *
 * @module
 */
import { writeAll } from "../firmware/trace/file.ts";
import { installedQemus } from "./qemu/installed.ts";
import { PART_VARIABLE } from "./qemu/part.ts";
import { report, TARGETS, type TestRun } from "./report.ts";
import { citedInReports } from "./spec/cited.ts";
import { decide, missingMusts } from "./spec/coverage.ts";
import { MISSING_MUSTS } from "./spec/missing.ts";

const ROOMS = ["hal", "drivers", "emu", "firmware", "examples"] as const;
/** Files that take longest: they come first, so that no single file is left for one processor at the end. */
const LONG = [
  "tests/guest/matrix_test.ts",
  "tests/guest",
  "tests/differential",
  "tests/cli",
  "tests/qtest/p9_test.ts",
] as const;
/** The tests in which QEMU's version can make a difference; the longest come first. */
const ON_EVERY_QEMU = [
  "tests/guest/matrix_test.ts",
  "tests/differential",
  "tests/qtest/p9_test.ts",
  "tests/qtest",
  "tests/qemu",
] as const;
/** The tests that count what the whole process has open, which others beside them would change. */
const ALONE: readonly string[] = ["tests/killed", "tests/vhost_user"];
/** The other entries of `tests/`; `--ignore` does not keep documentation tests from finding the rest. */
const BESIDE_OTHERS = [...Deno.readDirSync("tests")]
  .filter(({ name, isDirectory }) => isDirectory || name.endsWith("_test.ts"))
  .map(({ name }) => `tests/${name}`).filter((path) => !ALONE.includes(path)).sort();
const ALONE_ON_EVERY_QEMU = [
  "tests/killed",
  "tests/vhost_user/qemu_test.ts",
  "tests/vhost_user/storage_daemon_test.ts",
] as const;

const [folder] = Deno.args;
if (folder === undefined) {
  console.error("usage: run.ts REPORT_FOLDER");
  Deno.exit(2);
}
await Deno.remove(folder, { recursive: true }).catch((error) => {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
});
await Deno.mkdir(folder, { recursive: true });

const qemus = installedQemus();
const runs: TestRun[] = [];
let failed = false;
for (const [i, { version, path }] of qemus.entries()) {
  const qemu = `QEMU ${version.text}`;
  const first = i === 0;
  const steps = [
    ["--parallel", ...first ? ["--doc", ...LONG, ...ROOMS, ...BESIDE_OTHERS] : ON_EVERY_QEMU],
    first ? ALONE : ALONE_ON_EVERY_QEMU,
  ];
  const junits = steps.map((_, step) => `${folder}/${i + 1}-${step + 1}.xml`);
  console.log(`vireo: ${i === 0 ? "all tests" : "the tests that need QEMU"} on ${qemu}`);
  // Both at a time, each a process of its own; what the second prints comes when the first has ended.
  const [beside, alone] = steps.map((args, step) => {
    return new Deno.Command(Deno.execPath(), {
      args: [
        // `make test` has checked the types before, of the examples in the docs too.
        ...["test", "-A", "--no-check", "--preload", "tests/limit.ts"],
        `--junit-path=${junits[step]}`,
        ...args,
      ],
      env: { PATH: path, [PART_VARIABLE]: `${i + 1}/${qemus.length}` },
      stdin: "null",
      ...step === 0 ? {} : { stdout: "piped", stderr: "piped" },
    });
  });
  const others = alone!.output();
  const { code } = await beside!.spawn().status;
  const { code: aloneCode, stdout, stderr } = await others;
  writeAll(Deno.stdout, stdout);
  writeAll(Deno.stderr, stderr);
  failed ||= code !== 0 || aloneCode !== 0;
  runs.push({ qemu, junits, targets: first ? TARGETS : TARGETS.filter((name) => name !== "emu") });
}
const { text, ok } = await report(runs);
const reports = new URL(`${folder}/`, `file://${Deno.cwd()}/`);
const missing = missingMusts(decide(citedInReports(reports) ?? new Set())).length;
const spec =
  `${missing} MUSTs of the specification are in no test that passed (make spec lists them)`;
console.log(`\n${text}\n${spec}, at most ${MISSING_MUSTS} may be`);
await Deno.writeTextFile(`${folder}/report.md`, `${text}\n${spec}\n`);
Deno.exit(failed || !ok || missing > MISSING_MUSTS ? 1 : 0);
