/**
 * Recordings: what the device side of a machine did, kept, and played to a driver without the device.
 *
 * @example
 * ```ts
 * import { Recorder } from "@vireo/drivers/record";
 * import { EmulatedMachine, RngDevice } from "@vireo/emu";
 * import { assert } from "@std/assert";
 *
 * let length = 0;
 * const random = (into: Uint8Array) => into.fill(7);
 * const machine = EmulatedMachine.create({ devices: [{ model: new RngDevice({ random }) }] });
 * const recorder = new Recorder(machine, (bytes) => length += bytes.length);
 * recorder.close();
 * assert(length > 0);
 * ```
 *
 * @module
 */
export * from "./format.ts";
export * from "./recorder.ts";
export * from "./replay.ts";
export * from "./text.ts";
