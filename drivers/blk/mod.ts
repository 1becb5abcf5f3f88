/**
 * The block device driver (virtio 1.4 §5.2).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { blkDriver } from "@vireo/drivers/blk";
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { BlkDevice } from "@vireo/emu/blk";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(blkDriver);
 * await bus.addPlatform(machine);
 *
 * const blk = bus.get(blkDriver)!;
 * await blk.write(8, new Uint8Array(512).fill(7));
 * assertEquals((await blk.read(8, 512))[511], 7);
 * ```
 *
 * @module
 */
export { BlkBatch, type BlkBatchDisk } from "./batch.ts";
export type { BlkGeometry, BlkRangeLimits, BlkTopology } from "./config.ts";
export { Blk, blkDriver, createBlkDriver } from "./driver.ts";
export type { BlkRange, BlkRequestOptions } from "./requests.ts";
export type { BlkZoned } from "./zoned.ts";
export { type BlkZone, BlkZones, type BlkZonesHost } from "./zones.ts";
export type { BlkDriverOptions, BlkLifetime, BlkLimits } from "./types.ts";
