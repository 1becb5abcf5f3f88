import {
  type Dma,
  type DmaOptions,
  type DmaRegion,
  hex,
  isPowerOfTwo,
  RegionAllocator,
  VireoError,
} from "@vireo/hal";

/** The default start of guest RAM; it is not 0, so that offsets and addresses differ. */
export const DEFAULT_RAM_BASE = 0x4000_0000;

/** A part of guest RAM. */
export interface MemoryRegion {
  /** Guest address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly size: number;
  /** Where it is in {@linkcode GuestMemory.bytes}. */
  readonly offset: number;
}

/**
 * Guest RAM, with views made once: one flat range, or several regions anywhere in the guest's addresses
 * that lie one after the other in one buffer ({@linkcode GuestMemory.setRegions}). What is in a ring is
 * turned into an offset in the buffer once; most addresses are in the first region, which takes a
 * subtraction.
 *
 * @example
 * ```ts
 * import { GuestMemory } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const memory = new GuestMemory(1 << 20, 0x8000_0000);
 * memory.view(0x8000_1000, 4).set([1, 2, 3, 4]);
 * assertEquals([memory.bytes[0x1003], memory.contains(0x8010_0000, 1)], [4, false]);
 * ```
 */
export class GuestMemory {
  /** Address of the buffer's first byte; of several regions, that of the one which is first there. */
  base: number = 0;
  /** Bytes from there on; 0 if no region is first. */
  size: number = 0;
  /** All bytes. */
  readonly bytes: Uint8Array;
  /** All bytes as 16-bit words. */
  readonly words16: Uint16Array;
  /** All bytes as 32-bit words. */
  readonly words32: Uint32Array;
  /** The regions besides the first. */
  #more: readonly MemoryRegion[] = [];

  /**
   * Wraps memory, or makes it.
   *
   * @param memory Length in bytes (a multiple of 4096), or the memory itself.
   * @param base Address of the first byte, a multiple of 4096.
   * @throws {RangeError} If one is not.
   */
  constructor(memory: number | ArrayBufferLike, base: number = DEFAULT_RAM_BASE) {
    const buffer = typeof memory === "number" ? new ArrayBuffer(memory) : memory;
    const end = base + buffer.byteLength;
    if (
      buffer.byteLength % 4096 !== 0 || base % 4096 !== 0 || base < 0 || !Number.isSafeInteger(end)
    ) {
      throw new RangeError(
        `Cannot make guest memory of ${buffer.byteLength} bytes at ${hex(base)}: ` +
          "size and address must be multiples of 4096",
      );
    }
    this.base = base;
    this.size = buffer.byteLength;
    this.bytes = new Uint8Array(buffer);
    this.words16 = new Uint16Array(buffer);
    this.words32 = new Uint32Array(buffer);
  }

  /**
   * Says which parts of the buffer are guest RAM, and at which addresses; the rest is none. A queue that
   * runs goes on, so what it uses must stay where it was.
   *
   * @throws {RangeError} If a region is not inside the buffer, does not begin at multiples of 4096, or two have
   * an address or a byte in common.
   */
  setRegions(regions: readonly MemoryRegion[]): void {
    for (const [i, a] of regions.entries()) {
      const inside = a.size > 0 && a.offset >= 0 && a.address >= 0 &&
        a.offset + a.size <= this.bytes.length && Number.isSafeInteger(a.address + a.size);
      const free = regions.every((b, j) =>
        i === j || apart(a.address, a.size, b.address, b.size) &&
          apart(a.offset, a.size, b.offset, b.size)
      );
      const aligned = a.address % 4096 === 0 && a.offset % 4096 === 0;
      if (inside && free && aligned) continue;
      throw new RangeError(
        `Cannot have a region of ${a.size} bytes at ${hex(a.address)}, byte ${a.offset} of ` +
          `${this.bytes.length}: regions must begin at multiples of 4096, be inside the memory, and ` +
          "be apart from each other",
      );
    }
    const first = regions.find(({ offset }) => offset === 0);
    this.base = first?.address ?? 0;
    this.size = first?.size ?? 0;
    this.#more = regions.filter((region) => region !== first);
  }

  /** Where a range is in the buffer; -1 unless all of it lies in one region. */
  offset(address: number, length: number): number {
    const at = address - this.base;
    if (at >= 0 && length >= 0 && at + length <= this.size) return at;
    const more = this.#more;
    for (let i = 0; i < more.length; i++) {
      const region = more[i]!;
      const into = address - region.address;
      if (into >= 0 && length >= 0 && into + length <= region.size) return region.offset + into;
    }
    return -1;
  }

  /** The guest address of a byte of the buffer, the other way; undefined if it is in no region. */
  address(offset: number): number | undefined {
    if (offset < this.size) return this.base + offset;
    const region = this.#more.find((each) =>
      offset >= each.offset && offset < each.offset + each.size
    );
    return region && region.address + offset - region.offset;
  }

  /** Whether a range lies inside one region. */
  contains(address: number, length: number): boolean {
    return this.offset(address, length) >= 0;
  }

  /**
   * A view of a range.
   *
   * @throws {VireoError} `BAD_ACCESS` If the range does not lie inside.
   */
  view(address: number, length: number): Uint8Array {
    const at = this.offset(address, length);
    if (at < 0) {
      throw new VireoError("BAD_ACCESS", "Cannot reach guest memory", {
        seen: address,
        base: 16,
        expected: `${length} bytes inside the ${this.size} bytes at ${hex(this.base)}`,
      });
    }
    return this.bytes.subarray(at, at + length);
  }
}

/** Whether two ranges have nothing in common. */
function apart(a: number, aSize: number, b: number, bSize: number): boolean {
  return a + aSize <= b || b + bSize <= a;
}

/**
 * Allocates DMA memory from guest RAM.
 *
 * @example
 * ```ts
 * import { EmuDma, GuestMemory } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new EmuDma(new GuestMemory(1 << 20));
 * {
 *   using region = dma.alloc(4096, { align: 4096 });
 *   assertEquals([region.address % 4096, dma.freeBytes], [0, (1 << 20) - 4096]);
 * }
 * assertEquals(dma.freeBytes, 1 << 20);
 * ```
 */
export class EmuDma implements Dma {
  readonly #memory: GuestMemory;
  readonly #base: number;
  readonly #free: RegionAllocator;

  /** Hands out all of the memory. */
  constructor(memory: GuestMemory) {
    this.#memory = memory;
    this.#base = memory.base;
    this.#free = new RegionAllocator(memory.base, memory.size);
  }

  /** Bytes that are free, perhaps not in one piece. */
  get freeBytes(): number {
    return this.#free.freeBytes;
  }

  /**
   * Allocates zeroed guest RAM.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If no free piece is large enough.
   * @throws {RangeError} If `size` is below 1, or `align` is not a power of two.
   */
  alloc(size: number, options: DmaOptions = {}): DmaRegion {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`Cannot allocate ${size} bytes: expected an integer of at least 1`);
    }
    const align = Math.max(options.align ?? 16, 16);
    if (!isPowerOfTwo(align)) {
      throw new RangeError(`Cannot align memory to ${align} bytes: expected a power of two`);
    }
    let address: number;
    try {
      address = this.#free.alloc(size, align);
    } catch {
      throw new VireoError("OUT_OF_MEMORY", "Cannot allocate guest memory", {
        seen: size,
        expected: `at most ${this.freeBytes} bytes in one piece`,
      });
    }
    const start = address - this.#base;
    const bytes = this.#memory.bytes.subarray(start, start + size).fill(0);
    return new EmuRegion(address, bytes, () => this.#free.free(address));
  }
}

/** Coherent memory: sharing changes nothing. */
class EmuRegion implements DmaRegion {
  readonly address: number;
  readonly bytes: Uint8Array;
  #release: (() => void) | undefined;

  constructor(address: number, bytes: Uint8Array, release: () => void) {
    this.address = address;
    this.bytes = bytes;
    this.#release = release;
  }

  share(offset: number): number {
    return this.address + offset;
  }

  unshare(): void {}

  [Symbol.dispose](): void {
    this.#release?.();
    this.#release = undefined;
  }
}
