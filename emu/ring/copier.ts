import type { GuestMemory } from "../memory.ts";

/** Up to this many bytes a loop over bytes is fastest. */
const FEW = 20;
/** Up to this many bytes a loop is as fast as `set`, which needs a view of a part, and makes no garbage. */
const SMALL = 160;
/** Places below this, with a small copy behind them, are 32 bits wide: V8 computes others as doubles. */
const NEAR = 2 ** 31 - SMALL;

/**
 * Copies between guest memory and the arrays of a device model: 64 bytes take 10 ns by words, 25 as a whole array by
 * `set`, 30 by bytes, and 75 as a part by `set`.
 */
export class Copier {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  /** The array of the last copy by a loop, and its words once it comes again: most models use one array. */
  #array: Uint8Array | undefined;
  #arrayWords: Int32Array | undefined;

  /** Copies from and to this memory. */
  constructor({ bytes }: GuestMemory) {
    this.#bytes = bytes;
    this.#words = new Int32Array(bytes.buffer);
  }

  /** Copies bytes of guest memory into an array. */
  read(at: number, into: Uint8Array, offset: number, length: number): void {
    const bytes = this.#bytes;
    if (isFar(length, at, offset)) return into.set(bytes.subarray(at, at + length), offset);
    const from = at | 0;
    const to = offset | 0;
    const words = length > FEW && ((from | to) & 3) === 0 ? this.#wordsOf(into) : undefined;
    let i = 0;
    if (words !== undefined) {
      i = length & ~3;
      copyWords(this.#words, from >> 2, words, to >> 2, i >> 2);
    }
    for (; i < length; i++) into[(to + i) | 0] = bytes[(from + i) | 0]!;
  }

  /** Copies bytes of an array into guest memory. */
  write(from: Uint8Array, offset: number, at: number, length: number): void {
    const bytes = this.#bytes;
    if (isFar(length, at, offset)) {
      return bytes.set(
        length === from.length ? from : from.subarray(offset, offset + length),
        at,
      );
    }
    const to = at | 0;
    const first = offset | 0;
    const words = length > FEW && ((first | to) & 3) === 0 ? this.#wordsOf(from) : undefined;
    let i = 0;
    if (words !== undefined) {
      i = length & ~3;
      copyWords(words, first >> 2, this.#words, to >> 2, i >> 2);
    }
    for (; i < length; i++) bytes[(to + i) | 0] = from[(first + i) | 0]!;
  }

  /** The words of an array that is that of the last copy; to make a view for one copy would cost more than it saves. */
  #wordsOf(array: Uint8Array): Int32Array | undefined {
    if (array !== this.#array) {
      this.#array = array;
      this.#arrayWords = undefined;
      return undefined;
    }
    if (this.#arrayWords === undefined && (array.byteOffset & 3) === 0) {
      this.#arrayWords = new Int32Array(array.buffer, array.byteOffset, array.length >> 2);
    }
    return this.#arrayWords;
  }
}

/** Whether a copy is not one of a few bytes between places of 32 bits. */
function isFar(length: number, a: number, b: number): boolean {
  return length > SMALL || a > NEAR || b > NEAR;
}

function copyWords(
  from: Int32Array,
  first: number,
  into: Int32Array,
  to: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) into[(to + i) | 0] = from[(first + i) | 0]!;
}
