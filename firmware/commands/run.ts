import type { BindNotice } from "@vireo/drivers/bus";
import { deviceName } from "@vireo/hal";
import { type CtrlC, INTERRUPTED } from "../terminal/interrupts.ts";
import { toFileUrl } from "../terminal/paths.ts";
import type { BoardOptions } from "../target/options.ts";
import { moduleMistake } from "../terminal/module_mistake.ts";
import { inGuest, isThere } from "../terminal/environment.ts";
import { hideInnerFrames } from "../terminal/frames.ts";
import { report, say } from "../terminal/report.ts";
import { onUncaught } from "../terminal/uncaught.ts";
import { Finished, UsageError } from "../terminal/usage.ts";
import type { Vireo, VireoMain } from "../vireo.ts";
import { openVireo } from "../session.ts";

/**
 * `vireo run`: imports a script and calls its default export with the board.
 *
 * @param ctrlC Interrupts it.
 * @throws {UsageError} If the file is missing or has no such export.
 * @throws {Finished} If it was interrupted.
 */
export async function run(
  board: BoardOptions,
  script: string,
  args: readonly string[],
  ctrlC: CtrlC,
): Promise<void> {
  let opened: Vireo | undefined;
  const code = async (): Promise<void> => {
    using _frames = hideInnerFrames();
    const main = await loadScript(script);
    using _uncaught = reportUncaught(() => opened);
    await using vireo = opened = await openVireo(board, {
      args,
      onBindNotice: (notice) => sayNotice(notice),
      onError: (error, device) => say(error, `${device.name}: `),
    });
    try {
      await main(vireo);
    } finally {
      await sayViolations(vireo);
    }
  };
  await ctrlC.during(code, () => opened?.abort(new Error("Interrupted")));
}

/**
 * Reports an error that no call returns, as all others are. The command ends then, unless the script listens for such
 * errors itself and takes this one.
 */
function reportUncaught(opened: () => Vireo | undefined): Disposable {
  // In a guest its first process does it.
  if (inGuest()) return { [Symbol.dispose]: () => {} };
  return onUncaught((error) => {
    const code = report(error);
    const vireo = opened();
    void Promise.resolve(vireo && sayViolations(vireo)).finally(() => Deno.exit(code));
  });
}

/** How many violations are said one by one. */
const MOST_VIOLATIONS = 10;

/** Says what a driver that was registered does not drive, and why. */
function sayNotice(notice: BindNotice): void {
  const { driver: { name } } = notice;
  switch (notice.kind) {
    case "probe-failed":
      return say(notice.error, `probe of ${notice.device.name} by ${name} failed: `);
    case "no-match": {
      const wanted = notice.driver.ids.map(({ device }) => deviceName(device)).join(" or ");
      console.error(`vireo: ${name} drives nothing: the board has no ${wanted} device`);
      return;
    }
    case "held": {
      const held = notice.devices.map((device) => `${device.name} has ${device.driver?.name}`);
      console.error(
        `vireo: ${name} drives nothing: ${held.join(", ")}; ` +
          "'await vireo.use(driver)' takes it",
      );
    }
  }
}

/** Says what the emulator holds against the drivers. */
async function sayViolations({ emulated }: Vireo): Promise<void> {
  const violations = emulated?.machine.violations() ?? [];
  if (violations.length === 0) return;
  const { violationText } = await import("@vireo/emu/core");
  for (const violation of violations.slice(0, MOST_VIOLATIONS)) {
    console.error(`vireo: ${violation.slot}: the driver erred: ${violationText(violation)}`);
  }
  const more = violations.length - MOST_VIOLATIONS;
  if (more > 0) console.error(`vireo: and ${more} more times`);
}

/** Imports the script of a bundle, which has no files. */
let bundled: (() => Promise<{ default?: unknown }>) | undefined;

/** Tells {@linkcode loadScript} to take this script instead of a file: it is bundled with this module. */
export function provideScript(load: () => Promise<{ default?: unknown }>): void {
  bundled = load;
}

/**
 * Imports a script's default export.
 *
 * @param command The command that it is for, which says what is wrong with it.
 * @throws {UsageError} If the file is missing or has no default function.
 */
export async function loadScript(script: string, command = "run"): Promise<VireoMain> {
  if (bundled === undefined) await checkFile(script, command);
  const module = await (bundled?.() ?? import(toFileUrl(script)).catch((error) => {
    throw mistakeOf(script, command, error);
  }));
  if (typeof module.default !== "function" || /^class\b/.test(String(module.default))) {
    throw new UsageError(
      `${command}: ${script}: expected 'export default async function (vireo: Vireo) { ... }'`,
    );
  }
  return module.default as VireoMain;
}

/** The words of V8 for a name that a module does not export. */
const NO_EXPORT = /does not provide an export named/;

/**
 * Explains why a script cannot be loaded, as one line with the place; the error itself if the
 * script was loaded, and threw it.
 */
function mistakeOf(script: string, command: string, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const missing = "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
  // V8 says the place in the message.
  if (!missing && !(error instanceof SyntaxError && NO_EXPORT.test(error.message))) return error;
  return new UsageError(`${command}: Cannot load ${script}: ${moduleMistake(error.message)}`, {
    cause: error,
  });
}

/** @throws {UsageError} If there is no such script. */
export async function checkFile(script: string, command = "run"): Promise<void> {
  try {
    if ((await Deno.stat(script)).isFile) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
    throw new UsageError(`${command}: no such file: ${script}`);
  }
  throw new UsageError(
    `${command}: ${script} must be a file with a script; it is a folder or a device`,
  );
}

/** The project's configuration, whose import map scripts use. */
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** Deno's line after the errors. */
const TYPE_CHECK_END = /^(?:Found \d+ errors|error: Type checking failed)[\s\S]*/m;

/**
 * `vireo run --check`: checks the types of a script and of what it imports; what is wrong is on standard
 * error.
 *
 * @throws {UsageError} If something is, or the file is missing.
 */
export async function checkTypes(script: string): Promise<void> {
  await checkFile(script);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", "--config", CONFIG, toFileUrl(script)],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  if (success) return;
  const text = new TextDecoder().decode(stderr).replace(TYPE_CHECK_END, "");
  const errors = text.split(/^(?=TS\d+ \[ERROR\])/m)
    // That declarations stand alone is a rule for this project's packages, not for scripts.
    .filter((error) => !/^TS90\d\d /.test(error)).map((error) => error.trim());
  if (errors.length === 0) return;
  console.error(errors.join("\n\n"));
  throw new UsageError(`run: the types of ${script} are wrong`);
}

/** Signals that end `run --watch`, and the exit code of each. */
const ENDS = { SIGINT: INTERRUPTED, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * `vireo run --watch`: runs the same command line without `--watch`, again whenever the script or a module
 * that it imports changes. One that cannot be loaded is run again as soon as it has been mended. It ends at
 * a signal, after the script, which gets the signal too.
 *
 * @throws {UsageError} If the file is missing.
 * @throws {Finished} If a signal ended it.
 */
export async function watch(script: string): Promise<never> {
  await checkFile(script);
  const main = new URL("../main.ts", import.meta.url).pathname;
  // The first one is ours: what stands behind the script is its own.
  const again = Deno.args.toSpliced(Deno.args.indexOf("--watch"), 1);
  let child: Deno.ChildProcess | undefined;
  let exitCode: number | undefined;
  const ended = Promise.withResolvers<undefined>();
  for (const [signal, code] of Object.entries(ENDS) as [Deno.Signal, number][]) {
    Deno.addSignalListener(signal, () => {
      exitCode ??= code;
      end(child, signal);
      ended.resolve(undefined);
    });
  }
  for (;;) {
    const modules = await modulesOf(script);
    const folders = foldersOf(modules);
    using changes = Deno.watchFs([...folders], { recursive: false });
    if (exitCode !== undefined) throw new Finished(exitCode);
    child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--config", CONFIG, main, ...again],
      stdin: "null",
      // Ctrl-C goes to every process of the terminal's group: to this one alone, which hands it on.
      detached: true,
    }).spawn();
    const change = firstChange(changes, modules);
    // After a signal nobody waits for it.
    change.catch(() => {});
    const changed = await Promise.race([change, ended.promise]);
    if (changed !== undefined) end(child, "SIGTERM");
    await child.status;
    if (changed === undefined) throw new Finished(exitCode!);
    console.error(`vireo: ${changed} changed, running ${script} again`);
  }
}

/** Sends a signal to a process, if there is one that has not ended. */
function end(child: Deno.ChildProcess | undefined, signal: Deno.Signal): void {
  try {
    child?.kill(signal);
  } catch (error) {
    // It ended by itself: its status tells.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Paths of a script and of all files that it imports, those that are missing or wrong as well. */
async function modulesOf(script: string): Promise<Set<string>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", CONFIG, toFileUrl(script)],
    stdin: "null",
    stderr: "null",
  }).output();
  const paths = new Set([decodeURIComponent(new URL(toFileUrl(script)).pathname)]);
  try {
    const { modules } = JSON.parse(new TextDecoder().decode(stdout));
    for (const { specifier } of modules as { specifier: string }[]) {
      if (!specifier.startsWith("file:") || specifier.includes("/node_modules/")) continue;
      paths.add(decodeURIComponent(new URL(specifier).pathname));
    }
  } catch (error) {
    // A script that cannot be read at all: it alone is watched.
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  return paths;
}

/**
 * Folders in which a change of these files shows: editors replace files instead of writing to them. A folder
 * that is missing is added to the paths, and is waited for in the one that would have it.
 */
function foldersOf(paths: Set<string>): Set<string> {
  const folders = new Set<string>();
  for (const path of paths) {
    const folder = path.replace(/\/[^/]*$/, "") || "/";
    if (isThere(folder)) folders.add(folder);
    else paths.add(folder);
  }
  return folders;
}

async function firstChange(changes: Deno.FsWatcher, paths: ReadonlySet<string>): Promise<string> {
  for await (const event of changes) {
    if (event.kind === "access") continue;
    const path = event.paths.find((path) => paths.has(path));
    if (path !== undefined) return path;
  }
  throw new Error("The host does not watch files any more");
}
