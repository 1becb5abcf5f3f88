/**
 * Recordings: what the device side of a machine did, kept, and played to a driver without the device.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { Recorder, recordingLines } from "@vireo/drivers/record";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes: number[] = [];
 * const device = new RngDevice({ random: seededRandom(1) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * const recorder = new Recorder(machine, (part) => bytes.push(...part));
 * {
 *   await using bus = new Bus({ rings: recorder });
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(recorder);
 *   await bus.get(rngDriver)!.read(8);
 * }
 * recorder.close();
 * // One line a step: the buffer was added once, and taken once.
 * const kinds = recordingLines(Uint8Array.from(bytes)).map((line) => line.split(" ")[0]);
 * assertEquals(kinds.filter((kind) => kind === "add" || kind === "pop"), ["add", "pop", "pop"]);
 * ```
 *
 * @module
 */
export * from "./format.ts";
export * from "./recorder.ts";
export * from "./replay.ts";
export * from "./text.ts";
