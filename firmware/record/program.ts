import type { BoardOptions } from "../target/options.ts";
import { keptCall, type RecordedCall } from "./call.ts";

/** What a recording has of the program that made it. */
export interface RecordedProgram {
  /** How the bus was set up. */
  readonly board: Pick<BoardOptions, "indirect" | "eventIdx" | "queueSize" | "forceLegacy">;
  /** The command; undefined if a program of its own opened the board. */
  readonly call?: RecordedCall | undefined;
  /** What its random numbers began with. */
  readonly seed: number;
  /** The script of `run`, and where it was. */
  readonly script?: { readonly path: string; readonly text: string } | undefined;
}

/** The program that is about to use a board. */
export function programOf(board: BoardOptions): RecordedProgram {
  const { indirect, eventIdx, queueSize, forceLegacy } = board;
  const call = keptCall();
  const script = call?.name === "run" ? scriptOf(String(call.args[0])) : undefined;
  const [seed] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number];
  return { seed, board: { indirect, eventIdx, queueSize, forceLegacy }, call, script };
}

function scriptOf(path: string): RecordedProgram["script"] {
  try {
    return { path: Deno.realPathSync(path), text: Deno.readTextFileSync(path) };
  } catch (error) {
    // It is not a file here, as in a guest.
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
