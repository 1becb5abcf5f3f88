/**
 * Writes a number as `0x...` with at least `digits` hex digits; negative numbers keep their sign.
 *
 * @param value The number, an integer.
 * @param digits The least number of digits, zero-padded.
 * @returns The text, lower case.
 *
 * @example
 * ```ts
 * import { hex } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([hex(255), hex(5, 4), hex(-1)], ["0xff", "0x0005", "-0x1"]);
 * ```
 */
export function hex(value: number, digits = 1): string {
  const text = Math.abs(value).toString(16).padStart(digits, "0");
  return value < 0 ? `-0x${text}` : `0x${text}`;
}

/**
 * A count of things whose plural ends in `s`, for messages.
 *
 * @example
 * ```ts
 * import { counted } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([counted(1, "byte"), counted(64, "byte")], ["1 byte", "64 bytes"]);
 * ```
 */
export function counted(count: number | bigint, what: string): string {
  return Number(count) === 1 ? `1 ${what}` : `${count} ${what}s`;
}

/**
 * The name that a table of numbers has for one of them; of several the first.
 *
 * @returns Undefined if the table has no such number.
 *
 * @example
 * ```ts
 * import { BlkStatus, nameIn } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([nameIn(BlkStatus, 1), nameIn(BlkStatus, 99)], ["IOERR", undefined]);
 * ```
 */
export function nameIn(table: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.keys(table).find((name) => table[name] === value);
}

/**
 * The low 32 bits of an address or 64-bit quantity held as a number.
 *
 * @example
 * ```ts
 * import { lo32 } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(lo32(0x1_2345_6789), 0x2345_6789);
 * ```
 */
export function lo32(value: number): number {
  return value >>> 0;
}

/**
 * The bits from 32 up of an address or 64-bit quantity held as a number.
 *
 * @example
 * ```ts
 * import { hi32, join64, lo32 } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const address = 0x1_8000_0000;
 * assertEquals(hi32(address), 1);
 * assertEquals(join64(lo32(address), hi32(address)), address);
 * ```
 */
export function hi32(value: number): number {
  return Math.floor(value / 0x1_0000_0000) >>> 0;
}

/**
 * Joins two 32-bit words to a number.
 *
 * @param lo Bits 0 to 31.
 * @param hi Bits 32 to 63.
 * @returns The number; exact up to 2^53 - 1.
 * @throws {RangeError} If the value is over 2^53 - 1.
 *
 * @example
 * ```ts
 * import { hi32, join64, lo32 } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const address = join64(0x8000_0000, 0x10);
 * assertEquals([lo32(address), hi32(address)], [0x8000_0000, 0x10]);
 * ```
 */
export function join64(lo: number, hi: number): number {
  const value = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
  if (value > Number.MAX_SAFE_INTEGER) {
    throw new RangeError(
      `Cannot hold 0x${(hi >>> 0).toString(16)}${
        (lo >>> 0).toString(16).padStart(8, "0")
      } in a number: it must be at most 2^53-1`,
    );
  }
  return value;
}

/**
 * Writes 64 bits of a structure, in little-endian.
 *
 * @param value An integer from 0 to 2^53 - 1.
 *
 * @example
 * ```ts
 * import { setU64 } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(8);
 * setU64(new DataView(bytes.buffer), 0, 0x1_0000_0002);
 * assertEquals([...bytes], [2, 0, 0, 0, 1, 0, 0, 0]);
 * ```
 */
export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, lo32(value), true);
  view.setUint32(offset + 4, hi32(value), true);
}

/**
 * Rounds up to a multiple of a power of two.
 *
 * @param value A non-negative integer up to 2^53 - 1.
 * @param align A power of two.
 *
 * @example
 * ```ts
 * import { alignUp } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([alignUp(4096, 4096), alignUp(4097, 4096)], [4096, 8192]);
 * ```
 */
export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/**
 * Whether a positive 32-bit integer is a power of two.
 *
 * @example
 * ```ts
 * import { isPowerOfTwo } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([1, 256, 0, 6].map(isPowerOfTwo), [true, true, false, false]);
 * ```
 */
export function isPowerOfTwo(value: number): boolean {
  // By bits only 32 of them would count, and fractions would be cut off.
  return Number.isSafeInteger(value) && value >= 1 && 2 ** Math.round(Math.log2(value)) === value;
}

/**
 * Whether a notification is due under EVENT_IDX: the index `event` was passed by the step from
 * `old` to `next` (virtio 1.4 §2.7.10, `vring_need_event` in Linux's virtio_ring.h).
 *
 * @param event The index at which the other side asked to be notified.
 * @param next The index now, modulo 2^16.
 * @param old The index at the last notification, modulo 2^16.
 *
 * @example
 * ```ts
 * import { needEvent } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * // The other side asked for a notification at index 5; this side moves from 4 to 7.
 * assertEquals([needEvent(5, 7, 4), needEvent(9, 7, 4)], [true, false]);
 * ```
 */
export function needEvent(event: number, next: number, old: number): boolean {
  return ((next - event - 1) & 0xffff) < ((next - old) & 0xffff);
}

/** How many feature bits a {@linkcode FeatureSet} holds, as Linux's `VIRTIO_FEATURES_BITS`. */
export const FEATURE_BITS = 128;

/**
 * An immutable set of virtio feature bits, named by position as in the specification (§2.2).
 *
 * @example
 * ```ts
 * import { FeatureSet } from "@vireo/hal";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const offered = FeatureSet.of(5, 32, 34);
 * assert(offered.has(32));
 * assertEquals([...offered.and(FeatureSet.of(32, 33))], [32]);
 * ```
 */
export class FeatureSet implements Iterable<number> {
  readonly #words: Uint32Array;

  private constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** The set without any bit. */
  static readonly NONE: FeatureSet = new FeatureSet(new Uint32Array(FEATURE_BITS / 32));

  /**
   * The set of these bit positions.
   *
   * @throws {RangeError} If a position is not an integer from 0 to 127.
   */
  static of(...bits: readonly number[]): FeatureSet {
    const words = new Uint32Array(FEATURE_BITS / 32);
    for (const bit of bits) {
      checkBit(bit);
      words[bit >>> 5]! |= 1 << (bit & 31);
    }
    return new FeatureSet(words);
  }

  /** The set whose 32-bit words, lowest first, are given; missing words are 0. */
  static fromWords(...words: readonly number[]): FeatureSet {
    const copy = new Uint32Array(FEATURE_BITS / 32);
    copy.set(words);
    return new FeatureSet(copy);
  }

  /** Whether a bit is in the set. */
  has(bit: number): boolean {
    return (this.#words[bit >>> 5]! >>> (bit & 31) & 1) === 1;
  }

  /** The 32-bit word `index`, lowest first; 0 past the end. */
  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  /** The bits in both sets. */
  and(other: FeatureSet): FeatureSet {
    return this.#combine(other, (a, b) => a & b);
  }

  /** The bits in either set. */
  or(other: FeatureSet): FeatureSet {
    return this.#combine(other, (a, b) => a | b);
  }

  /** The bits of this set that are not in the other. */
  minus(other: FeatureSet): FeatureSet {
    return this.#combine(other, (a, b) => a & ~b);
  }

  /** This set and these bits. */
  with(...bits: readonly number[]): FeatureSet {
    return this.or(FeatureSet.of(...bits));
  }

  /** This set without these bits. */
  without(...bits: readonly number[]): FeatureSet {
    return this.minus(FeatureSet.of(...bits));
  }

  /** Whether both sets hold the same bits. */
  equals(other: FeatureSet): boolean {
    return this.#words.every((word, i) => word === other.word(i));
  }

  /** Whether the set is empty. */
  get isEmpty(): boolean {
    return this.#words.every((word) => word === 0);
  }

  /** One `0` or `1` a bit, bit 0 first, 128 long: the `features` attribute of Linux's sysfs. */
  toBitString(): string {
    let text = "";
    for (let bit = 0; bit < FEATURE_BITS; bit++) text += this.has(bit) ? "1" : "0";
    return text;
  }

  /** The positions in the set, ascending. */
  *[Symbol.iterator](): Iterator<number> {
    for (let bit = 0; bit < FEATURE_BITS; bit++) if (this.has(bit)) yield bit;
  }

  #combine(other: FeatureSet, op: (a: number, b: number) => number): FeatureSet {
    return new FeatureSet(this.#words.map((word, i) => op(word, other.word(i))));
  }
}

function checkBit(bit: number): void {
  if (!Number.isInteger(bit) || bit < 0 || bit >= FEATURE_BITS) {
    throw new RangeError(`Cannot use feature bit ${bit}: expected an integer from 0 to 127`);
  }
}

/**
 * Bytes one after the other.
 *
 * @example
 * ```ts
 * import { joinBytes } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...joinBytes(Uint8Array.of(1), Uint8Array.of(2, 3))], [1, 2, 3]);
 * ```
 */
export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
