/**
 * The `vireo` command.
 *
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import { buildProgram } from "./cli/program.ts";

/**
 * Runs one command line.
 *
 * @returns The exit code.
 */
export async function main(args: string[]): Promise<number> {
  try {
    args = namedTrace(args);
    await buildProgram(args).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    // Help and the version are told by an error too: they need nothing of what reports one.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const { EXIT, report } = await import("./terminal/report.ts");
    return error instanceof CommanderError ? EXIT.USAGE : report(error);
  }
}

/** A bare `--trace` is all of it: the next argument is not its value. */
function namedTrace(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((arg, i) => arg === "--trace" && (end < 0 || i < end) ? "--trace=all" : arg);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
