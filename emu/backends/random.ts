import type { RandomSource } from "../device.ts";

/** As it was at the start: a recorder gives its driver's program another. */
const getRandomValues = crypto.getRandomValues.bind(crypto);
/** The most bytes that `crypto.getRandomValues` fills in one call. */
const SYSTEM_LIMIT = 65536;

/**
 * A source of the host's own randomness.
 *
 * @example
 * ```ts
 * import { systemRandom } from "@vireo/emu/backends";
 * import { assert } from "@std/assert";
 *
 * // More than `crypto.getRandomValues` gives at once.
 * const bytes = new Uint8Array(100_000);
 * systemRandom()(bytes);
 * assert(bytes.subarray(-64).some((byte) => byte !== 0));
 * ```
 */
export function systemRandom(): RandomSource {
  return (into) => {
    for (let at = 0; at < into.length; at += SYSTEM_LIMIT) {
      // A copy: the platform refuses views of shared memory.
      const part = new Uint8Array(Math.min(SYSTEM_LIMIT, into.length - at));
      into.set(getRandomValues(part), at);
    }
  };
}

/**
 * A source of pseudo-random bytes that are the same for the same seed; for tests, never for secrets.
 *
 * The byte stream is the same however requests divide it. The generator is sfc32, four bytes a step, lowest
 * first.
 *
 * @param seed Any 32-bit integer.
 *
 * @example
 * ```ts
 * import { seededRandom } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const first = new Uint8Array(8);
 * const again = new Uint8Array(8);
 * seededRandom(1)(first);
 * seededRandom(1)(again);
 * assertEquals(first, again);
 * ```
 */
export function seededRandom(seed: number): RandomSource {
  let a = 0x9e3779b9;
  let b = 0x243f6a88;
  let c = seed >>> 0;
  let counter = 1;
  let word = 0;
  let left = 0;
  const step = (): number => {
    const out = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + out | 0;
    return out;
  };
  for (let i = 0; i < 16; i++) step();
  return (into) => {
    for (let i = 0; i < into.length; i++) {
      if (left === 0) {
        word = step();
        left = 4;
      }
      into[i] = word & 0xff;
      word >>>= 8;
      left--;
    }
  };
}
