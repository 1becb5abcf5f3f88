import type { Ring } from "./create_ring.ts";

/** Where a ring is, for a {@linkcode RingObserver}. */
export interface RingPlace {
  /** Name of the slot of its device. */
  readonly slot: string;
  /** Whether it is a packed ring. */
  readonly packed: boolean;
}

/** Sees the rings that a bus makes, and may put another in front of each. */
export interface RingObserver {
  /** Returns the ring, or one that passes everything on to it. */
  ring(ring: Ring, place: RingPlace): Ring;
}
