import type { BindNotice } from "@vireo/drivers";
import { violationText } from "@vireo/emu";
import { deviceName } from "@vireo/hal";
import { interruptible } from "../terminal/interrupts.ts";
import { toFileUrl } from "../terminal/paths.ts";
import type { BoardOptions } from "../target/options.ts";
import { say } from "../terminal/report.ts";
import { UsageError } from "../terminal/usage.ts";
import type { Vireo, VireoMain } from "../vireo.ts";
import { openVireo } from "../session.ts";

/**
 * `vireo run`: imports a script and calls its default export with the board.
 *
 * @throws {UsageError} If the file is missing or has no such export.
 * @throws {Finished} If it was interrupted.
 */
export async function run(
  board: BoardOptions,
  script: string,
  args: readonly string[],
): Promise<void> {
  let opened: Vireo | undefined;
  const code = async (): Promise<void> => {
    const main = await loadScript(script);
    await using vireo = opened = await openVireo(board, {
      args,
      onBindNotice: (notice) => sayNotice(notice),
      onError: (error, device) => say(error, `${device.name}: `),
    });
    try {
      await main(vireo);
    } finally {
      sayViolations(vireo);
    }
  };
  await interruptible(code, () => opened?.abort(new Error("Interrupted")));
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
function sayViolations({ emulated }: Vireo): void {
  const violations = emulated?.machine.violations() ?? [];
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
 * @throws {UsageError} If the file is missing or has no default function.
 */
async function loadScript(script: string): Promise<VireoMain> {
  if (bundled === undefined) await checkFile(script);
  const module = await (bundled?.() ?? import(toFileUrl(script)));
  if (typeof module.default !== "function") {
    throw new UsageError(
      `run: ${script}: expected 'export default async function (vireo: Vireo) { ... }'`,
    );
  }
  return module.default as VireoMain;
}

/** @throws {UsageError} If there is no such script. */
export async function checkFile(script: string): Promise<void> {
  try {
    await Deno.stat(script);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`run: no such file: ${script}`);
  }
}

/**
 * `vireo run --watch`: runs the same command line without `--watch`, again whenever the file changes.
 *
 * @throws {UsageError} If the file is missing.
 */
export async function watch(script: string): Promise<void> {
  const main = new URL("../main.ts", import.meta.url).pathname;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const again = Deno.args.filter((arg) => arg !== "--watch");
  const start = (): Deno.ChildProcess =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--config", config, main, ...again],
      stdin: "null",
    }).spawn();
  await loadScript(script);
  // The folder, because editors replace files instead of writing to them.
  const folder = Deno.watchFs(new URL(".", toFileUrl(script)).pathname, { recursive: false });
  const name = script.replace(/^.*\//, "");
  let child = start();
  for await (const event of folder) {
    if (event.kind === "access" || !event.paths.some((path) => path.endsWith(`/${name}`))) continue;
    try {
      child.kill("SIGTERM");
    } catch (error) {
      // It ended by itself: its status tells.
      if (!(error instanceof TypeError)) throw error;
    }
    await child.status;
    console.error(`vireo: ${script} changed, running it again`);
    child = start();
  }
}
