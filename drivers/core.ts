/**
 * What a driver is written with: the device that it gets, and the queues of that device.
 *
 * @module
 */
export * from "./config.ts";
export * from "./device.ts";
export * from "./driver.ts";
export * from "./queue_driver.ts";
export * from "./transport/pci/details.ts";
export * from "./transport/transport.ts";
export * from "./virtqueue/exchange.ts";
export * from "./virtqueue/host_ring.ts";
export * from "./virtqueue/packed.ts";
export * from "./virtqueue/receive_ring.ts";
export * from "./virtqueue/request_queue.ts";
export * from "./virtqueue/split.ts";
export * from "./virtqueue/virtqueue.ts";
export * from "./wait/mod.ts";
