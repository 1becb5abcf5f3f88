/**
 * Shares the tests out: which files one process runs, and in what order the processes are started.
 *
 * @module
 */

/** Tests that one process runs, one file after another. */
export interface Job {
  /** How it is called: a file or a folder, or the first and the last of several files. */
  readonly name: string;
  /** Files. */
  readonly paths: readonly string[];
  /** The name of a thing that one job at a time may use. */
  readonly holds?: string;
}

/** Folders of the sources, whose docs have examples: tests/docs/doc_examples_test.ts runs those. */
export const ROOMS: readonly string[] = ["hal", "drivers", "emu", "firmware", "examples"];

/**
 * Files that take 15 s or more beside others, and rooms: each a job of its own, the longest first. Then no processor is
 * left with a long one when the others have none.
 */
export const LONGEST: readonly string[] = [
  "tests/guest/matrix_test.ts",
  "tests/guest/cli_test.ts",
  "tests/guest/examples_test.ts",
  "tests/differential/differential_test.ts",
  "tests/docs/docs_test.ts",
  "tests/cli/interrupt_test.ts",
  "tests/hostile/fuzz_models_test.ts",
  "tests/cli/image_test.ts",
  "tests/cli/inputs_test.ts",
  "tests/check/drivers_test.ts",
  "tests/guest/boot_test.ts",
  "emu",
  "tests/cli/examples_test.ts",
  "firmware",
  "tests/hostile/lying_test.ts",
  "drivers",
  "tests/qtest/pci_test.ts",
];

/** Those that take 3 s or more: jobs of their own too, behind the bundles of the others, which take longer. */
export const LONG: readonly string[] = [
  "tests/vhost_user/hostile_front_end_test.ts",
  "tests/docs/types_test.ts",
  "tests/cli/plain_test.ts",
  "tests/qtest/drivers_test.ts",
  "tests/vhost_user/linux_test.ts",
  "tests/vhost_user/served_test.ts",
  "tests/cli/host_programs_test.ts",
  "tests/qtest/check_test.ts",
  "tests/check/mutants_test.ts",
  "tests/disk/images_test.ts",
  "tests/check/emulated_test.ts",
  "tests/blk/integrity_test.ts",
  "hal",
  "tests/cli/new_test.ts",
  "tests/cli/watch_test.ts",
  "tests/vhost_user/qemu_test.ts",
  "tests/qtest/cli_test.ts",
  "tests/cli/cli_test.ts",
  "tests/machine/allocations_test.ts",
  "tests/cli/explain_test.ts",
  "tests/docs/doc_examples_test.ts",
  "tests/machine/rings_property_test.ts",
];

/** The tests in which QEMU's version can make a difference. */
const ON_EVERY_QEMU: readonly string[] = [
  "tests/guest/matrix_test.ts",
  "tests/differential/",
  "tests/qtest/",
  "tests/qemu/",
  "tests/killed/",
  "tests/vhost_user/qemu_test.ts",
  "tests/vhost_user/storage_daemon_test.ts",
];

/** The words of a `deno test` before its files. `make test` checks the types beside. */
export const DENO_TEST: readonly string[] = [
  "test",
  "-A",
  "--no-check",
  "--preload",
  "tests/run/limit.ts",
];

/**
 * The last words of a `deno test` that runs these files: several by one that imports them, as Deno starts a runtime for
 * each file that it is given.
 */
export function filesToRun(paths: readonly string[]): readonly string[] {
  return paths.length < 2 ? paths : ["tests/run/together.ts", "--", ...paths];
}

/** Files that one process runs of those that take a second or so. */
const BUNDLE = 12;

function* testFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* testFiles(`${folder}/${name}`);
    else if (name.endsWith("_test.ts")) yield `${folder}/${name}`;
  }
}

/**
 * The jobs of all tests, or of those that need QEMU, in the order in which they should be started.
 *
 * @param which `all`, or `qemu` for those in which QEMU's version can make a difference.
 */
export function jobs(which: "all" | "qemu"): Job[] {
  const files = [...testFiles("tests")].sort()
    .filter((file) => which === "all" || ON_EVERY_QEMU.some((path) => file.startsWith(path)));
  const inRoom = (name: string): string[] =>
    which === "all" && ROOMS.includes(name) ? [...testFiles(name)].sort() : [];
  const alone = (names: readonly string[]): Job[] =>
    names.map((name) => ({ name, paths: files.includes(name) ? [name] : inRoom(name) }))
      .filter(({ paths }) => paths.length > 0);
  const short = files.filter((file) => !LONGEST.includes(file) && !LONG.includes(file));
  // They give interfaces of the host addresses and routes, the same ones on each QEMU.
  const withRights = (file: string) => Deno.readTextFileSync(file).includes("testWithRights(");
  const bundles: Job[] = [{
    name: "tests with rights",
    paths: short.filter(withRights),
    holds: "the host's network",
  }];
  const rest = short.filter((file) => !withRights(file));
  for (let at = 0; at < rest.length; at += BUNDLE) {
    const paths = rest.slice(at, at + BUNDLE);
    bundles.push({ name: `${paths[0]} to ${paths.at(-1)}`, paths });
  }
  return [...alone(LONGEST), ...bundles, ...alone(LONG)];
}
