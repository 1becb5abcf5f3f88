import { VireoError } from "@vireo/hal";
import { isHostError } from "./files.ts";
import { framesOf, shownFrames, showsAllFrames, userFrames } from "./frames.ts";
import { Finished, UsageError } from "./usage.ts";

/** Exit codes: wrong command line 2, a device or the host failed 1. */
export const EXIT: { readonly FAILED: 1; readonly USAGE: 2 } = { FAILED: 1, USAGE: 2 };

/** How many causes of an error are said. */
const MOST_CAUSES = 8;
/** Errors that were said already, themselves or as a cause. */
const SAID = new WeakSet<Error>();

/**
 * Says on standard error why a command failed, with the causes.
 *
 * @returns The exit code.
 */
export function report(error: unknown): number {
  // Thrown while what an error left behind was closed: the error itself comes first.
  if (error instanceof SuppressedError) {
    const code = report(error.suppressed);
    say(error.error);
    return code === 0 ? EXIT.FAILED : code;
  }
  if (error instanceof Finished) return error.exitCode;
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  if (error instanceof UsageError) {
    console.error(`vireo: ${clip(error.message)}`);
    return EXIT.USAGE;
  }
  say(error);
  return isOurRefusal(error) ? EXIT.USAGE : EXIT.FAILED;
}

/** Whether a part of Vireo refused what a command line asked of it, and no script did. */
function isOurRefusal(error: unknown): boolean {
  return error instanceof RangeError && /^Cannot /.test(error.message) &&
    userFrames(framesOf(error)).length === 0;
}

/** Says an error and its causes on standard error, unless that was done already. */
export function say(error: unknown, before = ""): void {
  if (error instanceof Error && SAID.has(error)) return;
  noteSaid(error);
  const [first, ...causes] = errorLines(error);
  console.error(`vireo: ${before}${first}`);
  for (const line of causes) console.error(line);
}

function noteSaid(error: unknown): void {
  if (!(error instanceof Error) || SAID.has(error)) return;
  SAID.add(error);
  for (const cause of causesOf(error)) noteSaid(cause);
}

/** Characters of a line that may quote whatever was on the command line. */
const LONGEST_LINE = 4000;
/** Characters that stay of a line that is longer. */
const CLIPPED = 400;

/** Shortens a line that quotes too much. */
function clip(line: string): string {
  const more = line.length - CLIPPED;
  return line.length <= LONGEST_LINE
    ? line
    : `${line.slice(0, CLIPPED)}... (${more} more characters)`;
}

/** The causes of an error, all of several that happened at once. */
function causesOf(error: unknown): unknown[] {
  if (!(error instanceof Error)) return [];
  const causes = error instanceof AggregateError ? [...error.errors] : [];
  return error.cause === undefined ? causes : [...causes, error.cause];
}

/**
 * Reports an error: a line, or a stack if it is a mistake in somebody's program, and the same for
 * each of its causes.
 */
export function errorLines(error: unknown): string[] {
  const lines: string[] = [];
  const seen = new Set<unknown>();
  const left: unknown[] = [error];
  while (left.length > 0 && seen.size < MOST_CAUSES) {
    const next = left.shift();
    if (seen.has(next)) continue;
    // A message that was printed is not printed again: an error often has the words of its cause.
    const known = next instanceof Error && next.message !== "" &&
      lines.some((line) => line.includes((next as Error).message));
    if (!known) {
      const [what, ...frames] = describe(next);
      lines.push(seen.size === 0 ? what! : `  because: ${what}`, ...frames);
    }
    seen.add(next);
    left.unshift(...causesOf(next));
  }
  return lines;
}

function describe(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  const line = lineOf(error);
  if (showsAllFrames()) return [line ?? `${error.name}: ${error.message}`, ...framesOf(error)];
  if (line !== undefined) return [line];
  return [`${error.name}: ${error.message}`, ...shownFrames(error, framesOf(error))];
}

/** An error that says all in its message; undefined for a mistake in somebody's program. */
function lineOf(error: Error): string | undefined {
  if (error instanceof VireoError) return `${error.message} [${error.code}]`;
  if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
    return error.message;
  }
  // Its frames are those of who gathered the errors.
  if (error instanceof AggregateError) return error.message;
  if (isOurRefusal(error)) return error.message;
  // The host's refusal of a call of ours, for example because a disk is full.
  const own = userFrames(framesOf(error));
  return own.length === 0 && isHostError(error) ? error.message : undefined;
}
