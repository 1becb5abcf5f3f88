/**
 * The device side of virtio: machines of emulated devices, and what they are made of. Each device has
 * a path of its own as well, `@vireo/emu/rng`, which loads no other.
 *
 * @example
 * ```ts
 * import { BlkDevice, EmulatedMachine, MemoryDisk } from "@vireo/emu";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = new MemoryDisk(1 << 20);
 * await using machine = EmulatedMachine.create({ devices: [new BlkDevice({ disk })] });
 * assertEquals(machine.device(0).model.deviceId, 2);
 * ```
 *
 * @module
 */
export * from "./backends/mod.ts";
export * from "./core.ts";
export * from "./devices/balloon/mod.ts";
export * from "./devices/blk/mod.ts";
export * from "./devices/caif/mod.ts";
export * from "./devices/console/mod.ts";
export * from "./devices/crypto/mod.ts";
export * from "./devices/gpu/mod.ts";
export * from "./devices/input/mod.ts";
export * from "./devices/net/mod.ts";
export * from "./devices/p9/mod.ts";
export * from "./devices/rng/mod.ts";
export * from "./devices/rpmsg/mod.ts";
export * from "./devices/rproc_serial/mod.ts";
export * from "./devices/scsi/mod.ts";
export * from "./devices/vsock/mod.ts";
export * from "./worker/machine.ts";
