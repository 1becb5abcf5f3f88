import type { GuestMemory } from "../memory.ts";

/** Up to this many bytes a loop over bytes is fastest. */
const FEW = 20;
/** Up to this many bytes a loop over words is as fast as `set`, which needs a view of a part, and makes no garbage. */
const SMALL = 160;

/**
 * Copies between guest memory and the arrays of a device model: 64 bytes take 25 ns by words, 25 as a whole array by
 * `set`, 75 by bytes or as a part by `set`.
 */
export class Copier {
  readonly #bytes: Uint8Array;
  readonly #words: DataView;
  /** The array of the last copy by a loop, and its words once it comes again: most models use one array. */
  #array: Uint8Array | undefined;
  #arrayWords: DataView | undefined;

  /** Copies from and to this memory. */
  constructor({ bytes }: GuestMemory) {
    this.#bytes = bytes;
    this.#words = wordsOf(bytes);
  }

  /** Copies bytes of guest memory into an array. */
  read(at: number, into: Uint8Array, offset: number, length: number): void {
    const bytes = this.#bytes;
    if (length > SMALL) return into.set(bytes.subarray(at, at + length), offset);
    let i = 0;
    if (length > FEW && this.#again(into)) {
      const from = this.#words;
      const to = this.#arrayWords!;
      for (; i + 4 <= length; i += 4) to.setUint32(offset + i, from.getUint32(at + i, true), true);
    }
    for (; i < length; i++) into[offset + i] = bytes[at + i]!;
  }

  /** Copies bytes of an array into guest memory. */
  write(from: Uint8Array, offset: number, at: number, length: number): void {
    const bytes = this.#bytes;
    if (length > FEW && length === from.length) return bytes.set(from, at);
    if (length > SMALL) return bytes.set(from.subarray(offset, offset + length), at);
    let i = 0;
    if (length > FEW && this.#again(from)) {
      const words = this.#arrayWords!;
      const to = this.#words;
      for (; i + 4 <= length; i += 4) to.setUint32(at + i, words.getUint32(offset + i, true), true);
    }
    for (; i < length; i++) bytes[at + i] = from[offset + i]!;
  }

  /** Whether an array is that of the last copy; making a view for one copy would cost more than it saves. */
  #again(array: Uint8Array): boolean {
    if (array === this.#array) {
      this.#arrayWords ??= wordsOf(array);
      return true;
    }
    this.#array = array;
    this.#arrayWords = undefined;
    return false;
  }
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
