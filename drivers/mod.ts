/**
 * The guest side of virtio: bus, transports, virtqueues and device drivers.
 *
 * @module
 */
export * from "./balloon/mod.ts";
export * from "./blk/mod.ts";
export * from "./bus/bus.ts";
export * from "./bus/uevent.ts";
export * from "./caif/mod.ts";
export * from "./config.ts";
export * from "./console/mod.ts";
export * from "./crypto/mod.ts";
export * from "./device.ts";
export * from "./driver.ts";
export * from "./gpu/mod.ts";
export * from "./input/mod.ts";
export * from "./net/mod.ts";
export * from "./p9/mod.ts";
export * from "./queue_driver.ts";
export * from "./rng/mod.ts";
export * from "./rpmsg/mod.ts";
export * from "./rproc_serial/mod.ts";
export * from "./scsi/mod.ts";
export * from "./transport/mmio.ts";
export * from "./transport/pci/details.ts";
export * from "./transport/pci/probe.ts";
export * from "./transport/transport.ts";
export * from "./virtqueue/exchange.ts";
export * from "./virtqueue/host_ring.ts";
export * from "./virtqueue/packed.ts";
export * from "./virtqueue/receive_ring.ts";
export * from "./virtqueue/request_queue.ts";
export * from "./virtqueue/split.ts";
export * from "./virtqueue/virtqueue.ts";
export * from "./vsock/mod.ts";
export * from "./wait/mod.ts";
