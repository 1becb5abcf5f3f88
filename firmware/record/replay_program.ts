import { type Divergence, Replay } from "@vireo/drivers/record";
import { openVireo } from "../session.ts";
import type { VireoMain } from "../vireo.ts";
import { type RecordedProgram, recordedProgram } from "./program.ts";
import { REPLAYS } from "./replay_board.ts";

/** Outcome of a program on a recording. */
export interface ReplayOutcome {
  /** The first step at which it did something else than what was recorded. */
  readonly diverged: Divergence | undefined;
  /** How many steps it took. */
  readonly steps: number;
  /** The program's error, for example because the device never answered. */
  readonly error: unknown;
}

let count = 0;

/** Lets a replay be a board's target while an action runs. */
export async function withReplay(
  bytes: Uint8Array,
  action: (target: string, program: RecordedProgram) => Promise<void>,
): Promise<ReplayOutcome> {
  const replay = new Replay(bytes);
  const program = recordedProgram(replay.program);
  const name = `#${++count}`;
  REPLAYS.set(name, replay);
  let error: unknown;
  try {
    await action(`replay:${name}`, program);
  } catch (thrown) {
    error = thrown;
  } finally {
    REPLAYS.delete(name);
  }
  return { diverged: replay.end(), steps: replay.steps, error };
}

/**
 * Runs a script's main function with the device side of a recording.
 *
 * @param bytes The recording.
 * @throws {VireoError} `BAD_MESSAGE` If it is no recording of a program, or one of another version.
 *
 * @example
 * ```ts
 * import { replayProgram } from "@vireo/firmware/record";
 * import { assertEquals } from "@std/assert";
 *
 * // Checks that a driver still does what it did when a recording was made.
 * export async function sameAsThen(recording: string): Promise<void> {
 *   const bytes = await Deno.readFile(recording);
 *   const { diverged, error } = await replayProgram(bytes, async (vireo) => {
 *     await vireo.blk.read(0, 512);
 *   });
 *   assertEquals([diverged, error], [undefined, undefined]);
 * }
 * ```
 */
export async function replayProgram(bytes: Uint8Array, main: VireoMain): Promise<ReplayOutcome> {
  return await withReplay(bytes, async (target, { call }) => {
    const args = (call?.args[1] ?? []) as readonly string[];
    await using vireo = await openVireo({ target }, { args });
    await main(vireo);
  });
}
