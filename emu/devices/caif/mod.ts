/**
 * The emulated CAIF device.
 *
 * @example
 * ```ts
 * import { CaifDevice } from "@vireo/emu/caif";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const frames: number[][] = [];
 * const modem = new CaifDevice({
 *   headroom: 0,
 *   tailroom: 0,
 *   onFrame: (frame) => void frames.push([...frame]),
 * });
 * await using machine = EmulatedMachine.create({ devices: [modem] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * await driver.request(0, [{ read: Uint8Array.of(1, 2, 3) }]);
 * assertEquals(frames, [[1, 2, 3]]);
 * ```
 *
 * @module
 */
export * from "./device.ts";
