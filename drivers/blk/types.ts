import type { BlkRangeLimits } from "./config.ts";

/** How a driver uses its devices. */
export interface BlkDriverOptions {
  /** Most request queues to use; 8 by default. */
  readonly queues?: number;
  /** Requests in flight of each queue; 64 by default, fewer with many queues. */
  readonly depth?: number;
  /** Bytes of the buffer of each of them, a multiple of 512; 32 KiB by default. */
  readonly bytesPerRequest?: number;
}

/** Bounds that a disk's requests are cut to. */
export interface BlkLimits {
  /** Most data bytes of one slot; longer reads and writes take several slots. */
  readonly maxRequestBytes: number;
  /** Most data bytes of a batch's slot, which is one request of the device. */
  readonly maxBatchBytes: number;
  /** Most bytes of one buffer of a request. */
  readonly sizeMax: number;
  /** Most buffers of one request. */
  readonly segMax: number;
  /** Requests in flight of each queue; more wait their turn. */
  readonly depth: number;
  /** Bounds of discard; undefined without the feature. */
  readonly discard: BlkRangeLimits | undefined;
  /** Bounds of write zeroes; undefined without the feature. */
  readonly writeZeroes: BlkRangeLimits | undefined;
  /** Bounds of secure erase; undefined without the feature. */
  readonly secureErase: BlkRangeLimits | undefined;
}

/** Wear of the medium (`struct virtio_blk_lifetime`, virtio 1.4 §5.2.6). */
export interface BlkLifetime {
  /** 0 undefined, 1 normal, 2 warning, 3 urgent. */
  readonly preEolInfo: number;
  /** Lifetime used by type A blocks in tenths, rounded up; 11 is exceeded, 0 undefined. */
  readonly estTypA: number;
  /** As {@linkcode BlkLifetime.estTypA}, of type B blocks. */
  readonly estTypB: number;
}
