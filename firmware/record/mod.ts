/**
 * Replays of recordings that `vireo record` made, for tests.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { replayProgram } from "@vireo/firmware/record";
 * import type { Vireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const main = async (vireo: Vireo) => void await vireo.rng.read(8);
 * const record = await Deno.makeTempFile();
 * {
 *   await using vireo = await openVireo({ record });
 *   await main(vireo);
 * }
 * const { diverged, error } = await replayProgram(await Deno.readFile(record), main);
 * assertEquals([diverged, error], [undefined, undefined]);
 * await Deno.remove(record);
 * ```
 *
 * @module
 */
export { parseRecording, recordingLines } from "@vireo/drivers/record";
export type { Divergence } from "@vireo/drivers/record";
export { type ReplayOutcome, replayProgram } from "./replay_program.ts";
