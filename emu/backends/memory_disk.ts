import type { DiskBackend } from "./disk.ts";

/**
 * A disk in memory. Where the host allocates zero pages on demand, pages that were never written cost
 * nothing, so a disk may be large.
 *
 * @example
 * ```ts
 * import { MemoryDisk } from "@vireo/emu";
 * import { assertEquals } from "@std/assert";
 *
 * using disk = new MemoryDisk(1024 * 1024);
 * assertEquals(disk.size, 1048576);
 * ```
 */
export class MemoryDisk implements DiskBackend {
  #bytes: Uint8Array;
  /** Whether the disk refuses writes. */
  readonly readOnly: boolean;

  /**
   * Makes a disk of zeroes, or one that uses the given bytes as its storage.
   *
   * @param contents Size in bytes, or the storage itself; a multiple of 512.
   * @throws {RangeError} If the size is not a multiple of 512.
   */
  constructor(contents: number | Uint8Array, options: { readonly readOnly?: boolean } = {}) {
    checkSize(typeof contents === "number" ? contents : contents.length);
    this.#bytes = typeof contents === "number" ? new Uint8Array(contents) : contents;
    this.readOnly = options.readOnly ?? false;
  }

  /** Size in bytes. */
  get size(): number {
    return this.#bytes.length;
  }

  /** The contents. */
  get memory(): Uint8Array {
    return this.#bytes;
  }

  /** Copies a range out. */
  read(offset: number, into: Uint8Array, start: number, length: number): void {
    into.set(this.#bytes.subarray(offset, offset + length), start);
  }

  /** Copies a range in. */
  write(offset: number, from: Uint8Array, start: number, length: number): void {
    this.#bytes.set(from.subarray(start, start + length), offset);
  }

  /** Does nothing: memory has no cache to write back. */
  flush(): void {}

  /** Fills a range with zeroes. */
  zero(offset: number, length: number): void {
    this.#bytes.fill(0, offset, offset + length);
  }

  /** Fills a range with zeroes, so that what reads it too early is seen. */
  discard(offset: number, length: number): void {
    this.zero(offset, length);
  }

  /** Changes the size, keeping what fits. */
  resize(size: number): void {
    checkSize(size);
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes.subarray(0, Math.min(size, this.#bytes.length)));
    this.#bytes = bytes;
  }

  /** A copy of the contents. */
  snapshot(): Uint8Array {
    return this.#bytes.slice();
  }

  /**
   * Restores contents from {@linkcode MemoryDisk.snapshot}.
   *
   * @throws {RangeError} If their size is not a multiple of 512.
   */
  restore(contents: Uint8Array): void {
    checkSize(contents.length);
    this.#bytes = contents.slice();
  }

  /** Forgets the contents. */
  [Symbol.dispose](): void {
    this.#bytes = new Uint8Array(0);
  }
}

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size < 0 || size % 512 !== 0) {
    throw new RangeError(`Cannot make a disk of ${size} bytes: expected a multiple of 512`);
  }
}
