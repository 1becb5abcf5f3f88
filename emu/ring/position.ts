import type { CompletedChain } from "./in_order.ts";

/** Where a running split queue stands, for snapshots. */
export interface QueuePosition {
  /** Available index of the next chain. */
  readonly lastAvail: number;
  /** Used index after all pushed chains. */
  readonly usedIndex: number;
  /** Used index at the last signal. */
  readonly signalled: number;
  /** Heads that the device model holds, in the order in which it took them. */
  readonly held: readonly number[];
  /** IN_ORDER: completed chains that wait for older ones. */
  readonly completed?: readonly CompletedChain[];
}

/** A chain of a packed ring that a device model holds, as plain data. */
export interface HeldChain {
  /** Buffer id. */
  readonly id: number;
  /** Place of its first descriptor in the ring. */
  readonly start: number;
  /** Number of its descriptors in the ring. */
  readonly descriptors: number;
  /** Its elements: offset in guest memory, length in bytes, and whether the device may write it. */
  readonly elements: readonly (readonly [number, number, boolean])[];
}

/** Where a running packed queue stands, for snapshots. */
export interface PackedPosition {
  /** Distinguishes it from the position of a split queue. */
  readonly ring: "packed";
  /** Place of the next available descriptor; bit 15 is the wrap counter there. */
  readonly next: number;
  /** Place of the next used descriptor; bit 15 is the wrap counter there. */
  readonly used: number;
  /** Number of descriptors before that place that are not published yet. */
  readonly fresh: number;
  /** Id and flags (upper half) of the first of them, which publish them all. */
  readonly first: number;
  /** Chains that the device model holds, in the order in which it took them. */
  readonly held: readonly HeldChain[];
  /** IN_ORDER: completed chains that wait for older ones, or for a signal. */
  readonly completed: readonly CompletedChain[];
}

/** Where a running split queue with its sides reversed stands, for snapshots. */
export interface ReversedPosition {
  /** Distinguishes it from the other positions. */
  readonly ring: "reversed";
  /** Available index after all offered buffers. */
  readonly availIndex: number;
  /** Available index at the last signal. */
  readonly signalled: number;
  /** Used index of the next buffer that the driver returns. */
  readonly lastUsed: number;
  /** Slots of the buffers that the driver has, or will have at the next signal. */
  readonly given: readonly number[];
}

/** Where a running queue of any ring stands. */
export type RingPosition = QueuePosition | PackedPosition | ReversedPosition;

/** Where a queue stands of whose ring the device has the device's side. */
export type ForwardPosition = Exclude<RingPosition, ReversedPosition>;

/** Returns a position unless there is none, or the driver has the device's side of the ring. */
export function forwardPosition(position: RingPosition | undefined): ForwardPosition | undefined {
  if (position === undefined || !("ring" in position)) return position;
  return position.ring === "reversed" ? undefined : position;
}
