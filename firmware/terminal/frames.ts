import { VireoError } from "@vireo/hal";
import { isHostError } from "./files.ts";
import { SOURCES_VARIABLE, STACKS_VARIABLE } from "./environment.ts";

/** A frame in the runtime or in a package. */
const INNER =
  /^\s*at (?:.*(?:\bext:|\bnode:|\/npm\/[^/]+\/(?:@[^/]+\/)?[^/]+\/\d+\.\d+\.\d+[^/]*\/)|(?:async )?Promise\.\w+ \((?:index|<anonymous>))/;
/** A frame of a text that Vireo's own REPL runs, whose function adds two lines before it. */
const TYPED = /(?:eval )?\(?eval at evaluate \(.*\), <anonymous>:(\d+):\d+\)?/;
/** Names of errors by which a call says that its caller ended it. */
const ENDED: ReadonlySet<string> = new Set(["AbortError", "TimeoutError"]);

/** Classes of Deno's errors of the host. */
const HOST_ERRORS: ReadonlySet<unknown> = new Set(Object.values(Deno.errors));

/** A frame in Vireo itself, which is not what the user writes. */
let rooms: RegExp | undefined;

function ownRooms(): RegExp {
  if (rooms === undefined) {
    // In a guest, this module is in a bundle.
    const root = Deno.env.get(SOURCES_VARIABLE) ?? new URL("../../", import.meta.url).href;
    const text = root.replaceAll(/[.*+?^${"$"}{}()|[\]\\]/g, "\\$&");
    rooms = new RegExp(`${text}(?:hal|drivers|emu|firmware)/`);
  }
  return rooms;
}

/** Whether all frames are asked for. */
export function showsAllFrames(): boolean {
  return (Deno.env.get(STACKS_VARIABLE) ?? "") !== "";
}

/** The lines of an error's stack that are frames. */
export function framesOf(error: Error): string[] {
  return (error.stack ?? "").split("\n").filter((line) => /^\s*at /.test(line));
}

/** The frames in what the user wrote. */
export function userFrames(frames: readonly string[]): string[] {
  return frames.map((line) => line.replace(TYPED, (_, row: string) => `<repl>:${Number(row) - 2}`))
    .filter((line) => !INNER.test(line) && !ownRooms().test(line));
}

/**
 * The frames of an error that its reader is shown: those of the user's own files. All are shown if the environment
 * asks for them, or if an error that Vireo did not mean to throw has none of the user's.
 */
export function shownFrames(error: unknown, frames: readonly string[]): readonly string[] {
  if (showsAllFrames()) return frames;
  const own = userFrames(frames);
  return own.length > 0 || isMeant(error) ? own : frames;
}

/** Whether the message says all: Vireo, the host or the caller ended a call on purpose. */
function isMeant(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error instanceof VireoError || ENDED.has(error.name) || /^Cannot /.test(error.message) ||
    HOST_ERRORS.has(error.constructor) || isHostError(error);
}

/** How many calls a stack has, so that those of the user are among them. */
const DEPTH = 40;

/**
 * Has every error that is printed, as a value too, show only {@linkcode shownFrames}, until it is disposed. A program
 * that formats stacks itself goes on doing so.
 */
export function hideInnerFrames(): Disposable {
  const { prepareStackTrace, stackTraceLimit } = Error;
  Error.prepareStackTrace ??= (error, calls) =>
    [headOf(error), ...shownFrames(error, calls.map(frameOf))].join("\n");
  Error.stackTraceLimit = Math.max(stackTraceLimit, DEPTH);
  return {
    [Symbol.dispose]: () => {
      Error.prepareStackTrace = prepareStackTrace;
      Error.stackTraceLimit = stackTraceLimit;
    },
  };
}

/** A call as V8 prints it: Deno hands out the paths of files. */
function frameOf(call: unknown): string {
  return `    at ${String(call).replace(/^((?:async )?(?:.*\()?)\//, "$1file:///")}`;
}

function headOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    return "Error";
  }
}
