/** The pieces of guest memory that a picture's bytes lie in, found by binary search: rows cost no walk over all. */
export class Backing {
  /** Bytes in all. */
  readonly length: number;
  readonly #addresses: Float64Array;
  /** Where each piece starts, and the end of the last. */
  readonly #starts: Float64Array;

  /** Takes pieces; empty ones are dropped, so that each has a byte of its own. */
  constructor(entries: readonly (readonly [address: number, length: number])[]) {
    const pieces = entries.filter(([, length]) => length > 0);
    this.#addresses = Float64Array.from(pieces, ([address]) => address);
    this.#starts = new Float64Array(pieces.length + 1);
    pieces.forEach(([, length], i) => this.#starts[i + 1] = this.#starts[i]! + length);
    this.length = this.#starts[pieces.length]!;
  }

  /** How many pieces there are. */
  get count(): number {
    return this.#addresses.length;
  }

  /** The pieces: address and length in bytes of each. */
  entries(): [address: number, length: number][] {
    return Array.from(
      this.#addresses,
      (address, i) => [address, this.#starts[i + 1]! - this.#starts[i]!],
    );
  }

  /**
   * Copies bytes from an offset on.
   *
   * @param memory Guest memory; undefined where there is none.
   * @returns False if they end too early, or are not memory any more.
   */
  copy(
    offset: number,
    into: Uint8Array,
    memory: (address: number, length: number) => Uint8Array | undefined,
  ): boolean {
    if (offset + into.length > this.length) return false;
    let done = 0;
    for (let i = this.#find(offset); done < into.length; i++) {
      const from = offset + done - this.#starts[i]!;
      const count = Math.min(this.#starts[i + 1]! - offset - done, into.length - done);
      const bytes = memory(this.#addresses[i]! + from, count);
      if (bytes === undefined) return false;
      into.set(bytes, done);
      done += count;
    }
    return true;
  }

  /** The piece that has the byte at an offset. */
  #find(offset: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
