import type { NetBackend } from "../../backends/net_backend.ts";
import type { RxFilterState } from "./filter.ts";
import type { ReceiveHashState } from "./rss.ts";

/** How a {@linkcode NetDevice} is made. */
export interface NetDeviceOptions {
  /** The wire; it stays the caller's. */
  readonly backend: NetBackend;
  /** Its address, 6 bytes or text; `52:54:00:12:34:56` by default. */
  readonly mac?: Uint8Array | string;
  /** Largest packet without Ethernet header in bytes, 68 to 65535; 1500 by default. */
  readonly mtu?: number;
  /** Receive and transmit queues, 1 to 0x8000; 1 by default; MQ and RSS are offered from 2 up. */
  readonly queuePairs?: number;
  /** Largest size of a data queue in descriptors; 256 by default. */
  readonly queueSize?: number;
  /**
   * Whether it offers HASH_REPORT; false by default. The header of each frame has 8 bytes more with it, in both
   * directions.
   */
  readonly hashReport?: boolean;
  /** Feature bits that it does not offer. */
  readonly without?: readonly number[];
  /** Link speed in Mbit/s, unknown by default. */
  readonly speed?: number;
  /** A value of `NetDuplex`, unknown by default. */
  readonly duplex?: number;
  /** Whether the link is up at first; true by default. */
  readonly linkUp?: boolean;
  /** Frames that wait for receive buffers before more are dropped; 256 by default. */
  readonly backlog?: number;
}

/** Counters of a {@linkcode NetDevice}; they only grow. */
export interface NetDeviceStats {
  /** Frames handed to the driver. */
  rxFrames: number;
  /** Bytes of those. */
  rxBytes: number;
  /** Frames that the filters kept away. */
  rxFiltered: number;
  /** Frames for which there were no buffers, in the queue or the backlog. */
  rxOverruns: number;
  /** Frames that were too short, or too long for the mtu or the driver's buffers. */
  rxSize: number;
  /** Frames that came while the link was down or no driver was there. */
  rxDown: number;
  /** Frames taken from the driver. */
  txFrames: number;
  /** Bytes of those. */
  txBytes: number;
  /** Frames whose length or header made no sense. */
  txMalformed: number;
  /** Frames that were given while the link was down. */
  txDown: number;
  /** Control commands that were refused. */
  controlErrors: number;
}

/** The state of a {@linkcode NetDevice} as plain data. */
export interface NetDeviceState {
  /** Its address. */
  readonly mac: readonly number[];
  /** Bits of `NetStatus`. */
  readonly status: number;
  /** Queue pairs in use. */
  readonly pairs: number;
  /** Receive offloads in use, by feature bit. */
  readonly offloads: number;
  /** The filters. */
  readonly filter: RxFilterState;
  /** How frames are hashed, and steered by that. */
  readonly hash: ReceiveHashState;
}
