/**
 * The `vireo` command.
 *
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import { buildProgram } from "./cli/program.ts";
import { EXIT, report } from "./terminal/report.ts";

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
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.USAGE;
    return report(error);
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
