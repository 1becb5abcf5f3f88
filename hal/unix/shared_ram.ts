import type { Dma, DmaOptions, DmaRegion } from "../dma.ts";
import { RegionAllocator } from "../region_allocator.ts";
import { MappedRegion } from "./mapped_region.ts";

/** Where a machine's memory is, and the part of it that is handed out. */
interface RamRange {
  /** Physical address of the first byte. */
  readonly base: number;
  /** Bytes at the start that are not handed out. */
  readonly reservedLow: number;
  /** Bytes at the end that are not handed out. */
  readonly reservedHigh: number;
}

/** A machine's memory, which devices and this process share; coherent, so share and unshare do nothing. */
export class SharedRam implements Dma {
  readonly #map: RamRange;
  readonly #bytes: Uint8Array;
  readonly #free: RegionAllocator;

  /** Hands out a mapping of a board's memory. */
  constructor(map: RamRange, buffer: ArrayBuffer) {
    this.#map = map;
    this.#bytes = new Uint8Array(buffer);
    const size = buffer.byteLength - map.reservedLow - map.reservedHigh;
    this.#free = new RegionAllocator(map.base + map.reservedLow, size);
  }

  /** Bytes that can still be allocated. */
  get freeBytes(): number {
    return this.#free.freeBytes;
  }

  /** Implements {@linkcode Dma.alloc}. */
  alloc(size: number, options: DmaOptions = {}): DmaRegion {
    const address = this.#free.alloc(size, options.align);
    const bytes = this.window(address, size)!;
    bytes.fill(0);
    return new MappedRegion(address, bytes, () => this.#free.free(address));
  }

  /** The bytes at a physical range, or undefined if any of it is not memory. */
  window(address: number, length: number): Uint8Array | undefined {
    const offset = address - this.#map.base;
    if (offset < 0 || length < 0 || offset + length > this.#bytes.length) return undefined;
    return this.#bytes.subarray(offset, offset + length);
  }
}
