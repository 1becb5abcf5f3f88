/**
 * The emulated block device (virtio 1.4 §5.2).
 *
 * @example
 * ```ts
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { BlkDevice } from "@vireo/emu/blk";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { BLK_REQ, BlkStatus } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = new MemoryDisk(new Uint8Array(4096).fill(7));
 * await using machine = EmulatedMachine.create({ devices: [new BlkDevice({ disk })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * // A request is a header, the data and a status byte; this one reads sector 0.
 * const { bytes } = await driver.request(0, [
 *   { read: new Uint8Array(BLK_REQ.SIZE) },
 *   { write: 512 },
 *   { write: 1 },
 * ]);
 * assertEquals([bytes[0]![0], bytes[1]![0]], [7, BlkStatus.OK]);
 * ```
 *
 * @module
 */
export type {
  BlkDeviceOptions,
  BlkGeometry,
  BlkLifetimeReport,
  BlkOrder,
  BlkRangeLimits,
  BlkSetup,
  BlkTopology,
} from "./config.ts";
export { BlkDevice, type BlkStats } from "./device.ts";
export { type BlkZonedOptions, type EmulatedZone, EmulatedZones } from "./zones.ts";
