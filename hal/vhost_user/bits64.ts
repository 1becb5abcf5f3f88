import { FeatureSet, join64 } from "../bits.ts";
import { VireoError } from "../errors.ts";

/**
 * Reads bits 0 to 63 of a set.
 *
 * @example
 * ```ts
 * import { bitsBytes, readBits } from "@vireo/hal/vhost-user";
 * import { Feature, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = bitsBytes(FeatureSet.of(0, Feature.VERSION_1));
 * assertEquals([...readBits(bytes)], [0, 32]);
 * ```
 */
export function readBits(bytes: Uint8Array, at = 0): FeatureSet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return FeatureSet.fromWords(view.getUint32(at, true), view.getUint32(at + 4, true));
}

/**
 * Bits 0 to 63 of a set as 8 bytes.
 *
 * @example
 * ```ts
 * import { bitsBytes } from "@vireo/hal/vhost-user";
 * import { FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...bitsBytes(FeatureSet.of(1, 32))], [2, 0, 0, 0, 1, 0, 0, 0]);
 * ```
 */
export function bitsBytes(set: FeatureSet): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, set.word(0), true);
  view.setUint32(4, set.word(1), true);
  return bytes;
}

/**
 * Reads a 64-bit number.
 *
 * @param what What the number is, for the message.
 * @throws {VireoError} `BAD_MESSAGE` If it is over 2^53 - 1.
 *
 * @example
 * ```ts
 * import { readU64, u64s } from "@vireo/hal/vhost-user";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(readU64(u64s(1, 0x1_0000_0000), 8, "offset"), 0x1_0000_0000);
 * assertThrows(() => readU64(new Uint8Array(8).fill(255), 0, "offset"), Error, "Cannot hold the offset");
 * ```
 */
export function readU64(bytes: Uint8Array, at: number, what: string): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [lo, hi] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
  if (hi < 0x20_0000) return join64(lo, hi);
  throw new VireoError("BAD_MESSAGE", `Cannot hold the ${what}`, {
    seen: `0x${hi.toString(16)}${lo.toString(16).padStart(8, "0")}`,
    expected: "at most 2^53-1",
  });
}

/**
 * Reads 32 bits.
 *
 * @example
 * ```ts
 * import { readU32, u32s } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(readU32(u32s(1, 0xffffffff), 4), 0xffffffff);
 * ```
 */
export function readU32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, true);
}

/**
 * 64-bit numbers as bytes.
 *
 * @example
 * ```ts
 * import { u64s } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...u64s(0x1_0000_0002)], [2, 0, 0, 0, 1, 0, 0, 0]);
 * ```
 */
export function u64s(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
}

/**
 * 32-bit numbers as bytes.
 *
 * @example
 * ```ts
 * import { u32s } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...u32s(1, 0x200)], [1, 0, 0, 0, 0, 2, 0, 0]);
 * ```
 */
export function u32s(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export { joinBytes } from "../bits.ts";
