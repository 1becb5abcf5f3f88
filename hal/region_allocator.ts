import { alignUp, hex, isPowerOfTwo } from "./bits.ts";
import { VireoError } from "./errors.ts";

/** Allocations are multiples of this, so that neighbours never share 16 aligned bytes. */
const GRANULE = 16;

/** Holes of about the right length that are looked at before a longer one is cut. */
const LOOKS = 8;

/** A free range; neighbours never touch. */
interface Hole {
  readonly start: number;
  readonly end: number;
  /** Its place in its class. */
  at: number;
}

/**
 * A map whose keys come and go. `Map.delete` leaves a mark behind that every look-up of the same key passes
 * until the map grows: 0.5 ms in one of 32,000 after some thousand deletions. So values are taken out here,
 * and keys now and then.
 */
class Lookup<T> {
  #map = new Map<number, T | undefined>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: number): T | undefined {
    return this.#map.get(key);
  }

  set(key: number, value: T): void {
    this.#map.set(key, value);
    this.#size++;
  }

  delete(key: number): void {
    this.#map.set(key, undefined);
    this.#size--;
    if (this.#map.size < 2 * this.#size + 1024) return;
    this.#map = new Map([...this.#map].filter(([, value]) => value !== undefined));
  }
}

function checkSize(start: number, size: number): void {
  if (Number.isSafeInteger(start + size) && size > 0 && size % GRANULE === 0) return;
  throw new RangeError(
    `Cannot take over a region of ${size} bytes: the size must be a positive multiple of 16`,
  );
}

/** The class of a length: that of all from one power of two up to the next. */
function classOf(length: number): number {
  return Math.floor(Math.log2(length));
}

/**
 * Hands out address ranges from one region. It keeps account and never touches the memory.
 *
 * Holes are kept by the power of two of their length, so the time that it takes hardly depends on how many
 * there are.
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
  /** Holes by the class of their length. */
  readonly #classes: Hole[][] = [];
  readonly #byStart = new Lookup<Hole>();
  readonly #byEnd = new Lookup<Hole>();
  #looked = 0;
  readonly #taken = new Lookup<number>();
  #end: number;
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
    checkSize(start, size);
    this.#end = start + size;
    this.#add(start, this.#end);
    this.#freeBytes = size;
  }

  /** Bytes that are free, in holes of any size. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Holes that were looked at by all calls so far: what the time of a call goes by. */
  get looked(): number {
    return this.#looked;
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
    const step = Math.max(align, GRANULE);
    const hole = this.#find(length, step);
    if (hole !== undefined) {
      const start = alignUp(hole.start, step);
      const end = start + length;
      this.#remove(hole);
      if (start > hole.start) this.#add(hole.start, start);
      if (end < hole.end) this.#add(end, hole.end);
      this.#taken.set(start, length);
      this.#freeBytes -= length;
      return start;
    }
    throw new VireoError("OUT_OF_MEMORY", "Cannot allocate memory that devices can reach", {
      seen: `${size} bytes aligned to ${align}`,
      expected: `a free range; ${this.#freeBytes} bytes are free in ${this.#byStart.size} holes`,
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
    const before = this.#byEnd.get(address);
    const after = this.#byStart.get(address + length);
    if (before !== undefined) this.#remove(before);
    if (after !== undefined) this.#remove(after);
    this.#add(before?.start ?? address, after?.end ?? address + length);
  }

  /**
   * Takes over what is right behind the region as well.
   *
   * @param size Its length in bytes, a positive multiple of 16.
   * @throws {RangeError} If the size is not valid.
   */
  extend(size: number): void {
    checkSize(this.#end, size);
    const before = this.#byEnd.get(this.#end);
    if (before !== undefined) this.#remove(before);
    this.#add(before?.start ?? this.#end, this.#end + size);
    this.#end += size;
    this.#freeBytes += size;
  }

  /** A hole with room for an aligned range. */
  #find(length: number, step: number): Hole | undefined {
    const fits = (hole: Hole): boolean => {
      this.#looked++;
      return alignUp(hole.start, step) + length <= hole.end;
    };
    // One of about this length first, so that long holes stay.
    const own = classOf(length);
    const near = this.#classes[own] ?? [];
    for (let i = near.length - 1; i >= Math.max(0, near.length - LOOKS); i--) {
      if (fits(near[i]!)) return near[i];
    }
    // In a class from here on every hole has the room, wherever it starts.
    const sure = classOf(length + step - GRANULE) + 1;
    for (let i = sure; i < this.#classes.length; i++) {
      const hole = this.#classes[i]?.find(fits);
      if (hole !== undefined) return hole;
    }
    // Memory is short: any hole that happens to fit.
    for (let i = own; i < sure; i++) {
      const hole = this.#classes[i]?.find(fits);
      if (hole !== undefined) return hole;
    }
    return undefined;
  }

  #add(start: number, end: number): void {
    const holes = this.#classes[classOf(end - start)] ??= [];
    const hole = { start, end, at: holes.length };
    holes.push(hole);
    this.#byStart.set(start, hole);
    this.#byEnd.set(end, hole);
  }

  #remove(hole: Hole): void {
    // The last one of the class takes its place.
    const holes = this.#classes[classOf(hole.end - hole.start)]!;
    const last = holes.pop()!;
    if (last !== hole) {
      holes[hole.at] = last;
      last.at = hole.at;
    }
    this.#byStart.delete(hole.start);
    this.#byEnd.delete(hole.end);
  }
}
