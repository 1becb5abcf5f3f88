import {
  alignUp,
  type Dma,
  type DmaOptions,
  type DmaRegion,
  RegionAllocator,
  VireoError,
} from "@vireo/hal";
import { MappedRegion } from "../unix/mapped_region.ts";
import { errnoError } from "./errno.ts";
import type { ShimSymbols } from "./_shim.ts";

/** Size in bytes of a hugepage on x86_64 and on aarch64 with 4 KiB pages. */
export const HUGEPAGE = 0x20_0000;

const PAGE = 4096;
/** In an entry of `/proc/self/pagemap` bits 0 to 54 are the page frame; bit 63 says that it is valid. */
const PFN_MASK: bigint = (1n << 55n) - 1n;
const PRESENT: bigint = 1n << 63n;

/** Bytes of a cache line. */
const CACHE_LINE = 64;

/** The shim's functions for hugepages. */
type HugepageSymbols = Pick<ShimSymbols, "vireo_map_huge" | "vireo_lock" | "vireo_unmap">;

/** A piece of the mapping that is contiguous in physical memory. */
interface Pool {
  readonly physical: number;
  readonly offset: number;
  size: number;
  readonly allocator: RegionAllocator;
}

/**
 * DMA memory in locked hugepages, whose physical addresses never change. All are reserved at once, and each is taken
 * when there is no room in those before it: under TCG Linux needs 8 ms to clear one.
 */
export class HugepageDma implements Dma, Disposable {
  readonly #symbols: HugepageSymbols;
  readonly #pointer: Deno.PointerObject;
  readonly #memory: ArrayBuffer;
  readonly #frameOf: FrameOf;
  readonly #pools: Pool[] = [];
  /** Bytes of the mapping that are in pools. */
  #taken = 0;
  #closed = false;

  /**
   * Reserves hugepages, and takes the first one.
   *
   * @param pages How many hugepages to reserve.
   * @param symbols The shim's functions.
   * @param frameOf Says where a hugepage is; the kernel's pagemap by default.
   * @throws {VireoError} `OUT_OF_MEMORY` If too few hugepages are free, `HOST_ERROR` If their physical
   * addresses cannot be read.
   */
  constructor(
    pages: number,
    symbols: HugepageSymbols,
    frameOf: FrameOf = readFrame,
  ) {
    this.#symbols = symbols;
    this.#frameOf = frameOf;
    const size = pages * HUGEPAGE;
    const address = symbols.vireo_map_huge(BigInt(size));
    if (address < 0n) {
      const what = `Cannot map ${pages} hugepages of 2 MiB for DMA`;
      throw errnoError("hugepages", what, Number(-address), "hugepages", "OUT_OF_MEMORY");
    }
    this.#pointer = Deno.UnsafePointer.create(address)!;
    this.#memory = Deno.UnsafePointerView.getArrayBuffer(this.#pointer, size);
    try {
      this.#take();
    } catch (error) {
      this.#unmap();
      throw error;
    }
  }

  /** Bytes that are free. */
  get available(): number {
    const untaken = this.#memory.byteLength - this.#taken;
    return this.#pools.reduce((sum, pool) => sum + pool.allocator.freeBytes, untaken);
  }

  /**
   * Allocates zeroed memory, at least a cache line.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If no run of hugepages has room.
   */
  alloc(size: number, options: DmaOptions = {}): DmaRegion {
    if (this.#closed) throw outOfMemory(size, 0);
    // Two regions must not share a cache line: the device may write one while the driver writes the other.
    const align = Math.max(CACHE_LINE, options.align ?? CACHE_LINE);
    const length = alignUp(size, CACHE_LINE);
    for (let looked: readonly Pool[] = this.#pools;; looked = [this.#take()]) {
      for (const pool of looked) {
        const physical = tryAlloc(pool.allocator, length, align);
        if (physical === undefined) continue;
        const start = pool.offset + physical - pool.physical;
        const bytes = new Uint8Array(this.#memory, start, size).fill(0);
        return new MappedRegion(physical, bytes, () => pool.allocator.free(physical));
      }
      if (this.#taken === this.#memory.byteLength) throw outOfMemory(size, this.available);
    }
  }

  /**
   * Takes the next hugepage.
   *
   * @returns The pool that it is in: the last one, if it comes right behind that in physical memory as well.
   */
  #take(): Pool {
    const offset = this.#taken;
    const pointer = Deno.UnsafePointer.offset(this.#pointer, offset)!;
    const locked = this.#symbols.vireo_lock(pointer, BigInt(HUGEPAGE));
    if (locked < 0) {
      throw errnoError(
        "hugepages",
        "Cannot lock a hugepage",
        -locked,
        "hugepages",
        "OUT_OF_MEMORY",
      );
    }
    const physical = this.#frameOf(Deno.UnsafePointer.value(pointer));
    this.#taken += HUGEPAGE;
    const last = this.#pools.at(-1);
    if (last !== undefined && last.physical + last.size === physical) {
      last.allocator.extend(HUGEPAGE);
      last.size += HUGEPAGE;
      return last;
    }
    const allocator = new RegionAllocator(physical, HUGEPAGE);
    const pool = { physical, offset, size: HUGEPAGE, allocator };
    this.#pools.push(pool);
    return pool;
  }

  /** Unmaps everything; views of it become empty. Devices must have stopped using the memory. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unmap();
  }

  #unmap(): void {
    const size = this.#memory.byteLength;
    // A view that outlives its mapping crashes, or reads whatever is mapped there next.
    this.#memory.transfer(0);
    this.#symbols.vireo_unmap(this.#pointer, BigInt(size));
  }
}

/** Takes a range; undefined if no hole is large enough. */
function tryAlloc(allocator: RegionAllocator, size: number, align: number): number | undefined {
  try {
    return allocator.alloc(size, align);
  } catch (error) {
    if (error instanceof VireoError && error.code === "OUT_OF_MEMORY") return undefined;
    throw error;
  }
}

function outOfMemory(size: number, free: number): VireoError {
  return new VireoError("OUT_OF_MEMORY", "Cannot allocate contiguous DMA memory", {
    device: "hugepages",
    seen: `${size} bytes wanted and ${free} free in all`,
    expected: "more hugepages",
  });
}

/** Tells the physical address behind a virtual one. */
type FrameOf = (address: bigint) => number;

/** Asks the kernel (Documentation/admin-guide/mm/pagemap.rst). */
function readFrame(address: bigint): number {
  const path = "/proc/self/pagemap";
  const entry = new Uint8Array(8);
  try {
    using file = Deno.openSync(path);
    file.seekSync(address / BigInt(PAGE) * 8n, Deno.SeekMode.Start);
    file.readSync(entry);
  } catch (cause) {
    throw new VireoError("HOST_ERROR", "Cannot read physical addresses: run as root", {
      device: path,
      cause,
    });
  }
  const bits = new DataView(entry.buffer).getBigUint64(0, true);
  if ((bits & PRESENT) === 0n || (bits & PFN_MASK) === 0n) {
    throw new VireoError("HOST_ERROR", "Cannot read physical addresses", {
      device: path,
      seen: "an entry without a page frame",
      expected: "CAP_SYS_ADMIN: run as root",
    });
  }
  return Number(bits & PFN_MASK) * PAGE;
}
