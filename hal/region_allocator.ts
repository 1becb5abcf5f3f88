import { alignUp, hex, isPowerOfTwo } from "./bits.ts";
import { VireoError } from "./errors.ts";

/** Allocations are multiples of this, so that neighbours never share 16 aligned bytes. */
const GRANULE = 16;

/** A free range; the list is sorted by start and neighbours never touch. */
interface Hole {
  start: number;
  end: number;
}

/**
 * Hands out address ranges from one region, first fit. It keeps account and never touches the memory.
 *
 * @example
 * ```ts
 * import { RegionAllocator } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const ram = new RegionAllocator(0x8000_0000, 0x10_0000);
 * const ring = ram.alloc(6000, 4096);
 * ram.free(ring);
 * assertEquals(ram.freeBytes, 0x10_0000);
 * ```
 */
export class RegionAllocator {
  readonly #holes: Hole[];
  readonly #taken = new Map<number, number>();
  #freeBytes: number;

  /**
   * Takes over a region.
   *
   * @param start First address, a multiple of 16.
   * @param size Length in bytes, a positive multiple of 16.
   * @throws {RangeError} If the start or the size is not valid.
   */
  constructor(start: number, size: number) {
    if (!Number.isSafeInteger(start) || start < 0 || start % GRANULE !== 0) {
      throw new RangeError(
        `Cannot take over a region at ${hex(start)}: the start must be a multiple of 16`,
      );
    }
    if (!Number.isSafeInteger(start + size) || size <= 0 || size % GRANULE !== 0) {
      throw new RangeError(
        `Cannot take over a region of ${size} bytes: the size must be a positive multiple of 16`,
      );
    }
    this.#holes = [{ start, end: start + size }];
    this.#freeBytes = size;
  }

  /** Bytes that are free, in holes of any size. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /**
   * Takes a range.
   *
   * @param size Length in bytes, at least 1; rounded up to a multiple of 16.
   * @param align Alignment of the address in bytes, a power of two.
   * @returns The address of the first byte.
   * @throws {RangeError} If the size or the alignment is not valid.
   * @throws {VireoError} `OUT_OF_MEMORY` If no hole is large enough.
   */
  alloc(size: number, align: number = GRANULE): number {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`Cannot allocate ${size} bytes: expected an integer of at least 1`);
    }
    if (!isPowerOfTwo(align)) {
      throw new RangeError(`Cannot align to ${align} bytes: expected a power of two`);
    }
    const length = alignUp(size, GRANULE);
    for (const [i, hole] of this.#holes.entries()) {
      const start = alignUp(hole.start, Math.max(align, GRANULE));
      const end = start + length;
      if (end > hole.end) continue;
      const rest: Hole[] = [];
      if (start > hole.start) rest.push({ start: hole.start, end: start });
      if (end < hole.end) rest.push({ start: end, end: hole.end });
      this.#holes.splice(i, 1, ...rest);
      this.#taken.set(start, length);
      this.#freeBytes -= length;
      return start;
    }
    throw new VireoError("OUT_OF_MEMORY", "Cannot allocate memory that devices can reach", {
      seen: `${size} bytes aligned to ${align}`,
      expected: `a free range; ${this.#freeBytes} bytes are free in ${this.#holes.length} holes`,
    });
  }

  /**
   * Gives a range back.
   *
   * @param address What {@linkcode RegionAllocator.alloc} returned.
   * @throws {RangeError} If no range starts there, for example when it is freed twice.
   */
  free(address: number): void {
    const length = this.#taken.get(address);
    if (length === undefined) {
      throw new RangeError(`Cannot free ${hex(address)}: no allocated range starts there`);
    }
    this.#taken.delete(address);
    this.#freeBytes += length;
    const end = address + length;
    let i = this.#holes.findIndex((hole) => hole.start > address);
    if (i < 0) i = this.#holes.length;
    const before = this.#holes[i - 1];
    const after = this.#holes[i];
    const joinsBefore = before !== undefined && before.end === address;
    const joinsAfter = after !== undefined && after.start === end;
    const hole = {
      start: joinsBefore ? before.start : address,
      end: joinsAfter ? after.end : end,
    };
    const from = joinsBefore ? i - 1 : i;
    this.#holes.splice(from, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), hole);
  }
}
