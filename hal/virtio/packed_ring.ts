import { type Layout, layout } from "../layout.ts";

/** `struct pvirtq_desc` (virtio 1.4 §2.8.13): one element of a packed descriptor ring, align 16. */
export const PACKED_DESC: Layout<"addr" | "len" | "id" | "flags"> = layout({
  addr: "u64",
  len: "u32",
  id: "u16",
  flags: "u16",
}, 16);

/** `struct pvirtq_event_suppress` (virtio 1.4 §2.8.14), align 4. */
export const EVENT_SUPPRESS: Layout<"desc" | "flags"> = layout({ desc: "u16", flags: "u16" }, 4);

/** Bits of `flags` that only packed descriptors have (virtio 1.4 §2.8.1), besides `DescFlag`. */
export const PackedDescFlag = {
  /** Equals the driver's wrap counter when the descriptor is available. */
  AVAIL: 0x80,
  /** Equals the device's wrap counter when the descriptor is used, else its inverse. */
  USED: 0x8000,
} as const;
/** A bit of `flags` that only packed descriptors have. */
export type PackedDescFlag = typeof PackedDescFlag[keyof typeof PackedDescFlag];

/** Values of `flags` of the event suppression structure (virtio 1.4 §2.8.10). */
export const RingEvent = {
  /** Events are wanted. */
  ENABLE: 0,
  /** Events are not wanted. */
  DISABLE: 1,
  /** An event is wanted for one descriptor; only with EVENT_IDX negotiated. */
  DESC: 2,
} as const;
/** A value of `flags` of the event suppression structure. */
export type RingEvent = typeof RingEvent[keyof typeof RingEvent];

/** Mask of the descriptor's offset in `desc` of the event suppression structure. */
export const RING_EVENT_OFFSET = 0x7fff;
/** The wrap counter in `desc` of the event suppression structure, and in notification data. */
export const RING_EVENT_WRAP = 0x8000;

/**
 * Whether an event is due under EVENT_IDX: this side has passed the place that the other side asked for
 * (virtio 1.4 §2.8.10, `vring_need_event` as Linux's `virtqueue_kick_prepare_packed` calls it).
 *
 * @param event `desc` of the other side's event suppression structure.
 * @param place Place after the last descriptor that was written.
 * @param wrap This side's wrap counter there.
 * @param passed How many descriptors of the ring were passed.
 * @param size Size of the ring in descriptors.
 *
 * @example
 * ```ts
 * import { needPackedEvent } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * // The driver asked at place 5 of this round; the device went from place 4 to place 6.
 * const asked = 5 | 0x8000;
 * assertEquals(needPackedEvent(asked, 6, 1, 2, 8), true);
 * assertEquals(needPackedEvent(asked, 5, 1, 1, 8), false);
 * ```
 */
export function needPackedEvent(
  event: number,
  place: number,
  wrap: number,
  passed: number,
  size: number,
): boolean {
  // A place with the other counter belongs to the previous round.
  const asked = (event & RING_EVENT_OFFSET) - (event >>> 15 === wrap ? 0 : size);
  const distance = place - asked;
  return distance >= 1 && distance <= passed;
}
