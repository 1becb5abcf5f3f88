import type { BoardOptions } from "../target/options.ts";
import { keptCall, type RecordedCall, type RecordedScript, scriptOf } from "./call.ts";

/** The program that made a recording. */
export interface RecordedProgram {
  /** How the bus was set up. */
  readonly board: Pick<BoardOptions, "indirect" | "eventIdx" | "queueSize" | "forceLegacy">;
  /** The command; undefined if a program of its own opened the board. */
  readonly call?: RecordedCall | undefined;
  /** Seed of its random numbers. */
  readonly seed: number;
  /** The script of `run`, and where it was. */
  readonly script?: RecordedScript | undefined;
}

/** The program that is about to use a board. */
export function programOf(board: BoardOptions): RecordedProgram {
  const { indirect, eventIdx, queueSize, forceLegacy } = board;
  const call = keptCall();
  const script = call && scriptOf(call);
  const [seed] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number];
  return { seed, board: { indirect, eventIdx, queueSize, forceLegacy }, call, script };
}
