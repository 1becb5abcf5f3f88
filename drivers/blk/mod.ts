/**
 * The block device driver (virtio 1.4 §5.2).
 *
 * @module
 */
export { BlkBatch, type BlkBatchDisk } from "./batch.ts";
export type { BlkGeometry, BlkRangeLimits, BlkTopology } from "./config.ts";
export { Blk, blkDriver, createBlkDriver } from "./driver.ts";
export type { BlkRange, BlkRequestOptions } from "./requests.ts";
export type { BlkDriverOptions, BlkLifetime, BlkLimits } from "./types.ts";
