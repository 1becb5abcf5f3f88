import { Finished } from "../terminal/usage.ts";

/** `vireo deno`: runs the pinned Deno, which is on no path. */
export async function runDeno(args: readonly string[]): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // Deno has interrupts of its own, of which it decides.
  const ignore = (): void => {};
  Deno.addSignalListener("SIGINT", ignore);
  const { code } = await child.status;
  Deno.removeSignalListener("SIGINT", ignore);
  throw new Finished(code);
}
