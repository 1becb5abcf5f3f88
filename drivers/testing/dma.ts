import {
  alignUp,
  type Dma,
  type DmaDirection,
  type DmaOptions,
  type DmaRegion,
  VireoError,
} from "@vireo/hal";

/** What a bouncing machine writes over memory that is not the reader's: any value but 0 would do. */
export const POISON = 0xa5;

/** Options of {@linkcode TestDma}. */
export interface TestDmaOptions {
  /** Bytes of memory; 16 MiB by default. */
  readonly size?: number;
  /** Address of the first byte; 0x40000000 by default. */
  readonly base?: number;
  /** Uses a SharedArrayBuffer. */
  readonly shared?: boolean;
}

/**
 * Memory for tests of drivers: one arena, handed out from the bottom up, and never used twice.
 *
 * Regions that were not disposed are counted, so that a test can tell a leak.
 *
 * @example
 * ```ts
 * import { TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new TestDma({ size: 4096 });
 * using region = dma.alloc(100, { align: 64 });
 * assertEquals([region.address % 64, region.bytes.length], [0, 100]);
 * ```
 */
export class TestDma implements Dma {
  /** The arena, as the device sees it. */
  readonly memory: Uint8Array;
  /** Address of the arena's first byte. */
  readonly base: number;
  #used = 0;
  #live = 0;

  /** Makes an arena. */
  constructor(options: TestDmaOptions = {}) {
    const size = options.size ?? 16 * 1024 * 1024;
    this.memory = options.shared
      ? new Uint8Array(new SharedArrayBuffer(size))
      : new Uint8Array(size);
    this.base = options.base ?? 0x4000_0000;
  }

  /** Regions that were handed out and not disposed. */
  get live(): number {
    return this.#live;
  }

  /**
   * What the device sees of a range.
   *
   * @throws {RangeError} If the range is outside the arena.
   */
  deviceBytes(address: number, length: number): Uint8Array {
    const at = address - this.base;
    if (at < 0 || at + length > this.memory.length) {
      throw new RangeError(
        `Cannot see memory at 0x${address.toString(16)}: it is not in the arena`,
      );
    }
    return this.memory.subarray(at, at + length);
  }

  /** Hands out the next piece of the arena; see {@linkcode Dma.alloc}. */
  alloc(size: number, options: DmaOptions = {}): DmaRegion {
    const at = alignUp(this.base + this.#used, Math.max(options.align ?? 16, 16)) - this.base;
    if (at + size > this.memory.length) {
      throw new VireoError("OUT_OF_MEMORY", "No room in test memory", {
        seen: size,
        expected: `at most ${this.memory.length - at}`,
      });
    }
    this.#used = at + size;
    this.#live++;
    let disposed = false;
    return this.region(this.base + at, this.memory.subarray(at, at + size), options, () => {
      if (!disposed) this.#live--;
      disposed = true;
    });
  }

  /** Makes the region object; a bouncing machine makes another one. */
  protected region(
    address: number,
    device: Uint8Array,
    _options: DmaOptions,
    dispose: () => void,
  ): DmaRegion {
    return {
      address,
      bytes: device,
      share: (offset) => address + offset,
      unshare() {},
      [Symbol.dispose]: dispose,
    };
  }
}

/** A driver's mistake that {@linkcode BouncingDma} saw. */
export interface BounceMistake {
  /** What it was. */
  readonly what: "unshared range that was not shared" | "shared range twice";
  /** Address of the range. */
  readonly address: number;
}

/** Whether a range has a byte in common with those that are shared. */
function overlaps(shared: ReadonlyMap<number, number>, offset: number, length: number): boolean {
  for (const [from, bytes] of shared) {
    if (offset < from + bytes && from < offset + length) return true;
  }
  return false;
}

/**
 * A machine that is not coherent: the device sees its own copy of every buffer, filled at `share` and
 * copied back at `unshare`; what is not the device's, and what is not yet the driver's, is poison. A
 * driver that forgets to share, or reads before it unshares, sees {@linkcode POISON}.
 */
export class BouncingDma extends TestDma {
  /** What the driver did wrong. */
  readonly mistakes: BounceMistake[] = [];

  /** Makes a region whose device side is a copy. */
  protected override region(
    address: number,
    device: Uint8Array,
    options: DmaOptions,
    dispose: () => void,
  ): DmaRegion {
    if (options.coherent) return super.region(address, device, options, dispose);
    const bytes = new Uint8Array(device.length);
    device.fill(POISON);
    /** Shared ranges: offset to length. */
    const shared = new Map<number, number>();
    return {
      address,
      bytes,
      share: (offset: number, length: number, direction: DmaDirection) => {
        if (overlaps(shared, offset, length)) {
          this.mistakes.push({ what: "shared range twice", address: address + offset });
        }
        shared.set(offset, length);
        const view = device.subarray(offset, offset + length);
        if (direction === "from-device") {
          bytes.fill(POISON, offset, offset + length);
          view.fill(POISON);
        } else view.set(bytes.subarray(offset, offset + length));
        return address + offset;
      },
      unshare: (offset: number, length: number, direction: DmaDirection) => {
        if (shared.get(offset) !== length) {
          const what = "unshared range that was not shared";
          this.mistakes.push({ what, address: address + offset });
        }
        shared.delete(offset);
        const view = device.subarray(offset, offset + length);
        if (direction !== "to-device") bytes.set(view, offset);
        view.fill(POISON);
      },
      [Symbol.dispose]: dispose,
    };
  }
}
