/**
 * The emulated SCSI host (virtio 1.4 §5.6).
 *
 * @example
 * ```ts
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { ScsiDevice } from "@vireo/emu/scsi";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { SCSI_CONFIG } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const units = [{ target: 0, disk: new MemoryDisk(1 << 20) }];
 * await using machine = EmulatedMachine.create({ devices: [new ScsiDevice({ units })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const [queues] = driver.config(SCSI_CONFIG.num_queues.offset, 4);
 * assertEquals(queues, 1);
 * ```
 *
 * @module
 */
export * from "./device.ts";
export { type ScsiUnitOptions } from "./unit.ts";
