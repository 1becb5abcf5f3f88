import {
  isPowerOfTwo,
  NET_HASH_KEY_SIZE,
  NET_HASH_TYPES,
  NET_RSS_MIN_TABLE,
  NetHashReport,
} from "@vireo/hal";
import type { Chain } from "../../device.ts";
import { ReceiveHash } from "./receive_hash.ts";

/** Entries that an indirection table may have. */
export const RSS_MAX_TABLE: number = NET_RSS_MIN_TABLE;

/** The configuration by RSS_CONFIG or HASH_CONFIG as plain data. */
export interface ReceiveHashState {
  /** Bits of `NetHashType`. */
  readonly types: number;
  /** The key. */
  readonly key: readonly number[];
  /** Receive queues by hash; empty if the steering is automatic. */
  readonly table: readonly number[];
  /** The receive queue of frames without a hash. */
  readonly unclassified: number;
}

const OFF: ReceiveHashState = { types: 0, key: [], table: [], unclassified: 0 };

/** Hashes incoming frames, and steers them by the hash where the driver asked for that (virtio 1.4 §5.1.9.5.7). */
export class Rss {
  /** The hash of the frame that was looked at last. */
  readonly hash: ReceiveHash = new ReceiveHash();
  #state: ReceiveHashState = OFF;

  /** Whether an indirection table steers. */
  get steers(): boolean {
    return this.#state.table.length > 0;
  }

  /** Forgets what was set. */
  reset(): void {
    this.#set(OFF);
  }

  /** Receive queues, from the first on, that may be chosen, if so many pairs are steered automatically. */
  receivers(pairs: number): number {
    const { table, unclassified } = this.#state;
    return table.length === 0 ? pairs : 1 + table.reduce((a, b) => Math.max(a, b), unclassified);
  }

  /** The receive queue for the frame whose hash was calculated last. */
  choose(): number {
    const { table, unclassified } = this.#state;
    if (this.hash.report === NetHashReport.NONE) return unclassified;
    return table[this.hash.value & table.length - 1] ?? unclassified;
  }

  /**
   * Takes the data of RSS_CONFIG.
   *
   * @param pairs Queue pairs that the device has.
   * @returns The transmit queues that may be used; undefined if something is out of range, and nothing changed.
   */
  configure(chain: Chain, pairs: number): number | undefined {
    const types = chain.readU32();
    const count = chain.readU16() + 1;
    // The highest bit is reserved.
    const unclassified = chain.readU16() & 0x7fff;
    if (count > RSS_MAX_TABLE || !isPowerOfTwo(count) || unclassified >= pairs) return undefined;
    // Behind its end a command reads as 0: one that ended before this place is refused here, too.
    if (chain.readableLeft < 2 * count + 3) return undefined;
    const table = Array.from({ length: count }, () => chain.readU16() & 0x7fff);
    const transmit = chain.readU16();
    if (transmit < 1 || transmit > pairs || table.some((queue) => queue >= pairs)) return undefined;
    const key = readKey(chain, types);
    if (key === undefined) return undefined;
    this.#set({ types, key, table, unclassified });
    return transmit;
  }

  /** Takes the data of HASH_CONFIG, which leaves steering automatic. @returns Whether it is in range. */
  configureHash(chain: Chain): boolean {
    if (chain.readableLeft < 13) return false;
    const types = chain.readU32();
    for (let i = 0; i < 4; i++) chain.readU16();
    const key = readKey(chain, types);
    if (key === undefined) return false;
    this.#set({ types, key, table: [], unclassified: 0 });
    return true;
  }

  /** The state for a snapshot. */
  snapshot(): ReceiveHashState {
    return this.#state;
  }

  /** Takes the state back. */
  restore(state: ReceiveHashState): void {
    this.#set(state);
  }

  #set(state: ReceiveHashState): void {
    this.#state = state;
    this.hash.configure(state.types, Uint8Array.from(state.key));
  }
}

/** Reads a key up to the end of the command; undefined if its length or the types are out of range. */
function readKey(chain: Chain, types: number): number[] | undefined {
  const length = chain.readU8();
  const missing = length === 0 && types !== 0;
  if ((types & ~NET_HASH_TYPES) !== 0 || missing || length > NET_HASH_KEY_SIZE) {
    return undefined;
  }
  if (chain.readableLeft !== length) return undefined;
  return Array.from({ length }, () => chain.readU8());
}
