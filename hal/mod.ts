/**
 * The contract between drivers and machines, and the virtio definitions that drivers and devices share.
 *
 * @example
 * ```ts
 * import { DESC, Feature, featureName, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const offered = FeatureSet.of(Feature.VERSION_1, Feature.EVENT_IDX);
 * assertEquals([...offered].map((bit) => featureName(bit)), ["EVENT_IDX", "VERSION_1"]);
 * assertEquals([DESC.SIZE, DESC.flags.offset], [16, 12]);
 * ```
 *
 * @module
 */
export * from "./barrier.ts";
export * from "./bits.ts";
export type * from "./dma.ts";
export * from "./errors.ts";
export type * from "./interrupt.ts";
export * from "./layout.ts";
export type * from "./mmio.ts";
export * from "./pci.ts";
export type * from "./platform.ts";
export * from "./poll_interrupt.ts";
export * from "./region_allocator.ts";
export * from "./trace.ts";
export * from "./vhost_user/net_control.ts";
export type * from "./vhost_user/node.ts";
export * from "./virtio/balloon.ts";
export * from "./virtio/blk.ts";
export * from "./virtio/console.ts";
export * from "./virtio/caif.ts";
export * from "./virtio/crypto.ts";
export * from "./virtio/feature_names.ts";
export * from "./virtio/features.ts";
export * from "./virtio/gpu.ts";
export * from "./virtio/ids.ts";
export * from "./virtio/input.ts";
export * from "./virtio/mmio.ts";
export * from "./virtio/net.ts";
export * from "./virtio/p9.ts";
export * from "./virtio/p9_message.ts";
export * from "./virtio/packed_ring.ts";
export * from "./virtio/pci.ts";
export * from "./virtio/rpmsg.ts";
export * from "./virtio/scsi.ts";
export * from "./virtio/split_ring.ts";
export * from "./virtio/status.ts";
export * from "./virtio/vsock.ts";
