import { isPowerOfTwo, NET_HASH_KEY_SIZE, NET_RSS_MIN_TABLE } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";

/** How a device hashes received frames (virtio 1.4 §5.1.9.4.3). */
export interface HashOptions extends WaitOptions {
  /** Bits of `NetHashType`; by default all that the device supports. */
  readonly types?: number;
  /** The key, 1 byte up to {@linkcode HashLimits.keySize} bytes; by default a random one of 40 bytes. */
  readonly key?: Uint8Array;
}

/** How a device spreads received frames over its queues by their hash (virtio 1.4 §5.1.9.5.7). */
export interface RssOptions extends HashOptions {
  /** Queue pairs in use from then on; by default all that were set up. */
  readonly pairs?: number;
  /**
   * The receive queue for each hash, by its lowest bits: a power of two of entries, at most
   * {@linkcode HashLimits.tableLength}, each below `pairs`. By default up to 128 entries that take turns.
   */
  readonly table?: readonly number[];
  /** The receive queue, below `pairs`, for frames without a hash; 0 by default. */
  readonly unclassified?: number;
}

/** The choices of hashing that a device has; 0 where it lacks the feature. */
export interface HashLimits {
  /** Longest key in bytes. */
  readonly keySize: number;
  /** Most entries of the indirection table. */
  readonly tableLength: number;
  /** The supported types: bits of `NetHashType`. */
  readonly types: number;
}

/** {@linkcode HashOptions} with nothing left open. */
export type HashConfig = Required<Omit<HashOptions, keyof WaitOptions>>;
/** {@linkcode RssOptions} with nothing left open. */
export type RssConfig = Required<Omit<RssOptions, keyof WaitOptions>>;

/**
 * Completes and checks what a caller asks for.
 *
 * @throws {RangeError} If the device does not support a type, or not so long a key.
 */
export function hashConfig(
  { types, key }: HashOptions,
  limits: HashLimits,
  random: (into: Uint8Array) => void,
): HashConfig {
  const wanted = types ?? limits.types;
  if (!Number.isInteger(wanted) || wanted < 0 || (wanted & ~limits.types) !== 0) {
    throw new RangeError(
      `Cannot hash by types 0x${wanted.toString(16)}: the device supports 0x${
        limits.types.toString(16)
      }`,
    );
  }
  const bytes = key?.slice() ?? new Uint8Array(Math.min(NET_HASH_KEY_SIZE, limits.keySize));
  if (key === undefined) random(bytes);
  if (bytes.length < 1 || bytes.length > limits.keySize) {
    throw new RangeError(
      `Cannot hash with a key of ${bytes.length} bytes: expected 1 to ${limits.keySize}`,
    );
  }
  return { types: wanted, key: bytes };
}

/**
 * Completes and checks what a caller asks for.
 *
 * @param most Queue pairs that were set up.
 * @throws {RangeError} As {@linkcode hashConfig}, and if a queue or the table's length is out of range.
 */
export function rssConfig(
  options: RssOptions,
  limits: HashLimits,
  most: number,
  random: (into: Uint8Array) => void,
): RssConfig {
  const { pairs = most, unclassified = 0 } = options;
  checkPairs(pairs, most);
  const length = 2 ** Math.floor(Math.log2(Math.min(NET_RSS_MIN_TABLE, limits.tableLength)));
  const table = options.table?.slice() ?? Array.from({ length }, (_, i) => i % pairs);
  if (!isPowerOfTwo(table.length) || table.length > limits.tableLength) {
    throw new RangeError(
      `Cannot use an indirection table of ${table.length} entries: expected a power of two, at most ` +
        `${limits.tableLength}`,
    );
  }
  for (const queue of [unclassified, ...table]) {
    if (Number.isInteger(queue) && queue >= 0 && queue < pairs) continue;
    throw new RangeError(`Cannot steer frames to queue ${queue}: expected 0 to ${pairs - 1}`);
  }
  return { ...hashConfig(options, limits, random), pairs, table, unclassified };
}

/** Checks a number of queue pairs. @throws {RangeError} If so many were not set up. */
export function checkPairs(pairs: number, most: number): void {
  if (Number.isInteger(pairs) && pairs >= 1 && pairs <= most) return;
  throw new RangeError(`Cannot use ${pairs} queue pairs: expected 1 to ${most}`);
}
