/**
 * The emulated entropy device.
 *
 * @example
 * ```ts
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: seededRandom(1) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const { written } = await driver.request(0, [{ write: 8 }]);
 * assertEquals(written, 8);
 * ```
 *
 * @module
 */
export * from "./device.ts";
