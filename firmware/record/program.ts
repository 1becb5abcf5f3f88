import { VireoError } from "@vireo/hal";
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

/**
 * Takes the program out of a recording, which may be any file.
 *
 * @throws {VireoError} `BAD_MESSAGE` If the recording names no program of Vireo.
 */
export function recordedProgram(value: unknown): RecordedProgram {
  const program = fieldsOf(value);
  const [board, call, script] = ["board", "call", "script"].map((name) => program?.[name]);
  const command = fieldsOf(call);
  const isCall = call === undefined ||
    typeof command?.["name"] === "string" && fieldsOf(command["flags"]) !== undefined &&
      Array.isArray(command["args"]);
  const texts = fieldsOf(script);
  const isScript = script === undefined ||
    typeof texts?.["path"] === "string" && typeof texts["text"] === "string";
  const isProgram = fieldsOf(board) !== undefined && Number.isSafeInteger(program?.["seed"]);
  if (isProgram && isCall && isScript) return value as RecordedProgram;
  throw new VireoError("BAD_MESSAGE", "Cannot replay the file: it must be recorded by Vireo");
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Readonly<Record<string, unknown>>
    : undefined;
}
