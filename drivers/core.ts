/**
 * The tools for writing a driver: the device that it gets, and the queues of that device.
 *
 * @example
 * ```ts
 * import { SgList, SplitVirtqueue } from "@vireo/drivers/core";
 * import { TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new SplitVirtqueue({
 *   index: 0,
 *   name: "requests",
 *   size: 4,
 *   dma: new TestDma(),
 *   indirect: false,
 *   eventIdx: false,
 *   notificationData: false,
 *   notify: () => {},
 * });
 * const chain = new SgList(1).addWritable(0x1000, 64);
 * assertEquals([queue.add(chain, 7), queue.freeSlots, queue.inFlight], [true, 3, 1]);
 * ```
 *
 * @module
 */
export * from "./config.ts";
export type * from "./device.ts";
export type * from "./driver.ts";
export * from "./queue_driver.ts";
export * from "./transport/pci/details.ts";
export type * from "./transport/transport.ts";
export * from "./virtqueue/exchange.ts";
export * from "./virtqueue/host_ring.ts";
export type * from "./virtqueue/inspection.ts";
export * from "./virtqueue/packed.ts";
export * from "./virtqueue/receive_ring.ts";
export * from "./virtqueue/request_queue.ts";
export * from "./virtqueue/split.ts";
export * from "./virtqueue/virtqueue.ts";
export * from "./wait/mod.ts";
export type { Ring, RingRequest } from "./virtqueue/create_ring.ts";
export type { RingObserver, RingPlace } from "./virtqueue/observer.ts";
