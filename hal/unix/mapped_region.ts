import type { DmaRegion } from "../dma.ts";

/** A region of memory that devices and this process share; coherent, so share and unshare change nothing. */
export class MappedRegion implements DmaRegion {
  readonly address: number;
  readonly bytes: Uint8Array;
  #free: (() => void) | undefined;

  /** Wraps a range that `free` gives back. */
  constructor(address: number, bytes: Uint8Array, free: () => void) {
    this.address = address;
    this.bytes = bytes;
    this.#free = free;
  }

  /** Implements {@linkcode DmaRegion.share}. @throws {RangeError} If the range is outside the region. */
  share(offset: number, length: number): number {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.bytes.length)) {
      throw new RangeError(
        `Cannot share ${length} bytes at offset ${offset}: the region has ${this.bytes.length}`,
      );
    }
    return this.address + offset;
  }

  /** Does nothing: the memory is coherent. */
  unshare(): void {}

  /** Gives the range back, once. */
  [Symbol.dispose](): void {
    this.#free?.();
    this.#free = undefined;
  }
}
