/**
 * SCSI hosts and their units (virtio 1.4 §5.6).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { scsiDriver } from "@vireo/drivers/scsi";
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { ScsiDevice } from "@vireo/emu/scsi";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ScsiDevice({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }] });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(scsiDriver);
 * await bus.addPlatform(machine);
 *
 * const [disk] = await bus.get(scsiDriver)!.units();
 * const { blocks, blockSize } = await disk!.capacity();
 * assertEquals([blocks, blockSize], [2048, 512]);
 * ```
 *
 * @module
 */
export * from "./host.ts";
export * from "./sense.ts";
export {
  type ScsiCapacity,
  type ScsiForm,
  type ScsiInquiry,
  type ScsiTransfer,
  ScsiUnit,
} from "./unit.ts";
