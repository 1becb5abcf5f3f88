/** How a network device is driven. */
export interface NetOptions {
  /** Most queue pairs to set up and use; by default what the device has, up to 8. */
  readonly pairs?: number;
  /** Received frames that wait for {@linkcode Net.receive}; 256 by default. */
  readonly inbox?: number;
  /** Which frame is dropped when too many wait: `newest` (by default) or `oldest`. */
  readonly drop?: "newest" | "oldest";
  /** Fills bytes with random ones, for an address; `crypto.getRandomValues` by default. */
  readonly random?: (into: Uint8Array) => void;
}

/**
 * Frames that a device lets through, as `NetCtrlRx`; by default its own address, broadcasts and the address
 * table.
 */
export const RxMode = {
  /** Every frame. */
  PROMISCUOUS: 0,
  /** Every multicast frame. */
  ALL_MULTICAST: 1,
  /** Every unicast frame. */
  ALL_UNICAST: 2,
  /** No multicast frame. */
  NO_MULTICAST: 3,
  /** No unicast frame. */
  NO_UNICAST: 4,
  /** No broadcast frame. */
  NO_BROADCAST: 5,
} as const;
/** A mode of {@linkcode Net.setRxMode}. */
export type RxMode = typeof RxMode[keyof typeof RxMode];
