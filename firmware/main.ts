/**
 * The `vireo` command.
 *
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import { VireoError } from "@vireo/hal";
import { buildProgram } from "./program.ts";
import { Finished, UsageError } from "./usage.ts";

/** Exit codes: wrong command line 2, a device or the host failed 1. */
const EXIT = { FAILED: 1, USAGE: 2 } as const;

/**
 * Runs one command line.
 *
 * @returns The exit code.
 */
export async function main(args: string[]): Promise<number> {
  const program = buildProgram(args);
  if (args[0] === "complete") {
    const { default: tab } = await import("@bomb.sh/tab/commander");
    tab(program as unknown as Parameters<typeof tab>[0]);
  }
  const strict = (command: typeof program): void => {
    command.exitOverride();
    for (const child of command.commands) strict(child as typeof program);
  };
  strict(program);
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}

function report(error: unknown): number {
  if (error instanceof Finished) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.USAGE;
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  const line = (text: string): void => console.error(`vireo: ${text}`);
  if (error instanceof UsageError) {
    line(error.message);
    return EXIT.USAGE;
  }
  if (error instanceof VireoError) line(`${error.message} [${error.code}]`);
  else if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
    line(error.message);
  } else if (error instanceof Error) console.error(error.stack ?? String(error));
  else line(String(error));
  return EXIT.FAILED;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
