/**
 * The guest side of virtio: bus, transports, virtqueues and device drivers. Each driver has a path of
 * its own as well, `@vireo/drivers/rng`, which loads no other.
 *
 * @example
 * ```ts
 * import { Bus, rngDriver } from "@vireo/drivers";
 * import { EmulatedMachine, RngDevice, systemRandom } from "@vireo/emu";
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
export * from "./balloon/mod.ts";
export * from "./blk/mod.ts";
export * from "./bus/mod.ts";
export * from "./caif/mod.ts";
export * from "./console/mod.ts";
export * from "./core.ts";
export * from "./crypto/mod.ts";
export * from "./gpu/mod.ts";
export * from "./input/mod.ts";
export * from "./net/mod.ts";
export * from "./p9/mod.ts";
export * from "./rng/mod.ts";
export * from "./rpmsg/mod.ts";
export * from "./rproc_serial/mod.ts";
export * from "./scsi/mod.ts";
export * from "./transport/mod.ts";
export * from "./vsock/mod.ts";
export type { Ring } from "./virtqueue/create_ring.ts";
export type { RingObserver, RingPlace } from "./virtqueue/observer.ts";
