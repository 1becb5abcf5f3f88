/**
 * Loads a 16-bit word that the other side writes. The load must stay after the caller's last
 * `Atomics.store`: a ring reads flags and event indices right after it publishes an index.
 *
 * On x86-64 an atomic store is a locked exchange, and every later load stays behind it. A plain load is
 * enough there, and 5 ns cheaper than `Atomics.load` (`bench/split_bench.ts`). Everywhere else this is
 * `Atomics.load`.
 *
 * @param words The words.
 * @param index Which one.
 *
 * @example
 * ```ts
 * import { loadAfterStore } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const ring = new Uint16Array(new SharedArrayBuffer(8));
 * Atomics.store(ring, 1, 7);
 * assertEquals([loadAfterStore(ring, 0), loadAfterStore(ring, 1)], [0, 7]);
 * ```
 */
export const loadAfterStore: (words: Uint16Array, index: number) => number =
  Deno.build.arch === "x86_64"
    ? (words, index) => words[index]!
    : (words, index) => Atomics.load(words, index);

/**
 * Loads a 32-bit word that the other side stores last, such as id and flags of a packed ring's
 * descriptor. Loads after this one see everything that the other side stored before the word.
 *
 * On x86-64 loads stay in order. A plain load is enough there, and 6 ns a descriptor cheaper than
 * `Atomics.load` (`emu/ring/packed_bench.ts`). Everywhere else this is `Atomics.load`.
 *
 * @param words The words.
 * @param index Which one.
 *
 * @example
 * ```ts
 * import { loadAcquire } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const descriptor = new Int32Array(new SharedArrayBuffer(16));
 * Atomics.store(descriptor, 3, 0x80);
 * assertEquals(loadAcquire(descriptor, 3), 0x80);
 * ```
 */
export const loadAcquire: (words: Int32Array, index: number) => number =
  Deno.build.arch === "x86_64"
    ? (words, index) => words[index]!
    : (words, index) => Atomics.load(words, index);

/**
 * Loads a 16-bit word that the other side stores last, such as the index of a split ring, as
 * {@linkcode loadAcquire} does. It also stays behind the caller's last `Atomics.store`.
 *
 * `Atomics.load` is a call that V8 does not inline: 20 ns, and two a buffer at batch 1 were a fifth of the time
 * (`bench/split_bench.ts`).
 *
 * @param words The words.
 * @param index Which one.
 *
 * @example
 * ```ts
 * import { loadAcquire16 } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const ring = new Uint16Array(new SharedArrayBuffer(8));
 * Atomics.store(ring, 1, 7);
 * assertEquals(loadAcquire16(ring, 1), 7);
 * ```
 */
export const loadAcquire16: (words: Uint16Array, index: number) => number = loadAfterStore;
