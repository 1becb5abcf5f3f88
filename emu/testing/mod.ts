/**
 * Stand-ins for drivers and device models, for tests of drivers, devices and machines.
 *
 * @example A device model is tested by raw chains
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const driver = new MockDriver(machine);
 * driver.init();
 *
 * const used = await driver.request(0, [{ read: Uint8Array.of(1, 2, 3) }, { write: 3 }]);
 * assertEquals(used.written, 3);
 * assertEquals([...used.bytes[0]!], [1, 2, 3]);
 *
 * // A chain that names a descriptor out of range is a guest fault.
 * driver.queues[0]!.makeAvailable(999);
 * driver.queues[0]!.kick();
 * assertEquals(driver.needsReset, true);
 * ```
 *
 * @module
 */
export * from "./echo_model.ts";
export * from "./mock_driver.ts";
export type { MockSegment, MockUsed } from "./mock_segments.ts";
export * from "./packed_queue.ts";
