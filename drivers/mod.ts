/**
 * The guest side of virtio: bus, transports, virtqueues and device drivers. Each driver has a path of
 * its own as well, `@vireo/drivers/rng`, which loads no other.
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
