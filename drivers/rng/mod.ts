/**
 * The entropy driver.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { systemRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: systemRandom() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rngDriver);
 * await bus.addPlatform(machine);
 *
 * const bytes = await bus.get(rngDriver)!.read(16);
 * assertEquals(bytes.length, 16);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
