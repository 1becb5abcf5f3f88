/**
 * The `vireo` command.
 *
 * @module
 */

/**
 * Runs one command line.
 *
 * @returns The exit code.
 */
export async function main(args: string[]): Promise<number> {
  if (args.length === 1 && (args[0] === "--help" || args[0] === "-h")) {
    const { printHelp } = await import("./cli/quick_help.ts");
    try {
      printHelp();
      return 0;
    } catch (error) {
      return (await import("./terminal/report.ts")).report(error);
    }
  }
  const { runCommandLine } = await import("./cli/program.ts");
  return await runCommandLine(args);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
