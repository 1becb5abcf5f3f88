import { VireoError } from "@vireo/hal";
import { isHostError } from "./files.ts";
import { Finished, UsageError } from "./usage.ts";

/** Exit codes: wrong command line 2, a device or the host failed 1. */
export const EXIT: { readonly FAILED: 1; readonly USAGE: 2 } = { FAILED: 1, USAGE: 2 };

/**
 * Says on standard error why a command failed.
 *
 * @returns The exit code.
 */
export function report(error: unknown): number {
  if (error instanceof Finished) return error.exitCode;
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  const line = (text: string): void => console.error(`vireo: ${text}`);
  if (error instanceof UsageError) {
    line(error.message);
    return EXIT.USAGE;
  }
  if (error instanceof VireoError) line(`${error.message} [${error.code}]`);
  else if (isHostError(error)) line(error.message);
  else if (error instanceof Error) console.error(error.stack ?? String(error));
  else line(String(error));
  return EXIT.FAILED;
}
