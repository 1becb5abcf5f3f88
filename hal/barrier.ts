/**
 * Loads a 16-bit word that the other side writes, after an `Atomics.store` of ours that it must not
 * pass: a ring's flags and event indices, read right after an index was published.
 *
 * On x86-64 the atomic store is a locked exchange, which no later load passes, so that a plain load will
 * do, 5 ns cheaper than `Atomics.load` (`tests/split_bench.ts`). Everywhere else this is `Atomics.load`.
 *
 * @param words The words.
 * @param index Which one.
 */
export const loadAfterStore: (words: Uint16Array, index: number) => number =
  Deno.build.arch === "x86_64"
    ? (words, index) => words[index]!
    : (words, index) => Atomics.load(words, index);

/**
 * Loads a 32-bit word that the other side stores last, so that what it stored before is visible to
 * loads after this one: id and flags of a packed ring's descriptor.
 *
 * On x86-64 no load passes an earlier one, so that a plain load will do, 6 ns a descriptor cheaper than
 * `Atomics.load` (`emu/ring/packed_bench.ts`). Everywhere else this is `Atomics.load`.
 *
 * @param words The words.
 * @param index Which one.
 */
export const loadAcquire: (words: Int32Array, index: number) => number =
  Deno.build.arch === "x86_64"
    ? (words, index) => words[index]!
    : (words, index) => Atomics.load(words, index);
