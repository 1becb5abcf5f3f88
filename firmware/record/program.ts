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
  /** Whether the board had a host's end of a console port. */
  readonly hostPort?: boolean | undefined;
  /** The script of `run`, and where it was. */
  readonly script?: RecordedScript | undefined;
}

/** The program that is about to use a board. @param hostPort Whether it has a host's end of a console port. */
export function programOf(board: BoardOptions, hostPort: boolean): RecordedProgram {
  const { indirect, eventIdx, queueSize, forceLegacy } = board;
  const call = keptCall();
  const script = call && scriptOf(call);
  const [seed] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number];
  const bus = { indirect, eventIdx, queueSize, forceLegacy };
  return { seed, hostPort, board: bus, call, script };
}

/**
 * The program of a recording's header.
 *
 * @throws {VireoError} `BAD_MESSAGE` If it is none that `vireo record` or `openVireo` wrote.
 */
export function recordedProgram(program: unknown): RecordedProgram {
  if (!isProgram(program)) {
    throw new VireoError(
      "BAD_MESSAGE",
      "Cannot replay the recording: its header must have a program of 'vireo record' or 'openVireo'",
    );
  }
  return program;
}

function isProgram(value: unknown): value is RecordedProgram {
  const { board, seed, hostPort, call, script } = fieldsOf(value);
  if (hostPort !== undefined && typeof hostPort !== "boolean") return false;
  if (typeof board !== "object" || board === null || !Number.isSafeInteger(seed)) return false;
  const { name, flags, args } = fieldsOf(call);
  const called = typeof name === "string" && typeof flags === "object" && flags !== null &&
    Array.isArray(args);
  const { path, text } = fieldsOf(script);
  const scripted = typeof path === "string" && typeof text === "string";
  return (call === undefined || called) && (script === undefined || scripted);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}
