import { type Layout, layout } from "../layout.ts";
import { alignUp } from "../bits.ts";

/** `struct virtq_desc` (virtio 1.4 §2.7.5). */
export const DESC: Layout<"addr" | "len" | "flags" | "next"> = layout({
  addr: "u64",
  len: "u32",
  flags: "u16",
  next: "u16",
}, 16);
/** `struct virtq_used_elem` (virtio 1.4 §2.7.8). */
export const USED_ELEM: Layout<"id" | "len"> = layout({ id: "u32", len: "u32" }, 8);

/** Descriptor flags of both ring formats (virtio 1.4 §2.7.5, §2.8.1). */
export const DescFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
/** A descriptor flag. */
export type DescFlag = typeof DescFlag[keyof typeof DescFlag];

/** `avail.flags`: the driver wants no interrupts (virtio 1.4 §2.7.6). */
export const AVAIL_NO_INTERRUPT = 1;
/** `used.flags`: the device wants no notifications (virtio 1.4 §2.7.8). */
export const USED_NO_NOTIFY = 1;

/** The largest split or packed queue. */
export const MAX_QUEUE_SIZE = 32768;

/** Sizes and offsets of the three parts of a split virtqueue. */
export interface SplitRingLayout {
  /** Bytes of the descriptor table, align 16. */
  readonly descSize: number;
  /** Bytes of the available ring with used_event, align 2. */
  readonly availSize: number;
  /** Bytes of the used ring with avail_event, align 4. */
  readonly usedSize: number;
  /** Offset of the available ring when the parts follow each other. */
  readonly availOffset: number;
  /** Offset of the used ring when the parts follow each other, aligned to `align`. */
  readonly usedOffset: number;
  /** Bytes of the whole when the parts follow each other. */
  readonly totalSize: number;
}

/**
 * Lays out a split virtqueue in one block, as the legacy interface demands (virtio 1.4 §2.7.2).
 *
 * @param size Queue size in descriptors, 1 to 32768.
 * @param align Alignment of the used ring in bytes, a power of two of at least 4.
 *
 * @example
 * ```ts
 * import { splitRingLayout } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const { availOffset, usedOffset } = splitRingLayout(256);
 * assertEquals([availOffset, usedOffset], [4096, 8192]);
 * ```
 */
export function splitRingLayout(size: number, align = 4096): SplitRingLayout {
  const descSize = DESC.SIZE * size;
  const availSize = 6 + 2 * size;
  const usedSize = 6 + USED_ELEM.SIZE * size;
  const usedOffset = alignUp(descSize + availSize, align);
  return {
    descSize,
    availSize,
    usedSize,
    availOffset: descSize,
    usedOffset,
    totalSize: usedOffset + usedSize,
  };
}
