import {
  alignUp,
  type Dma,
  type DmaDirection,
  type DmaOptions,
  type DmaRegion,
  VireoError,
} from "@vireo/hal";

/** Byte that a bouncing machine writes over memory that is not the reader's; never 0. */
export const POISON = 0xa5;
/** Byte that it writes over memory that was freed. */
export const FREED = 0xdd;
/** Byte that it writes behind each region. */
export const GUARD = 0xc9;
/** Bytes that it keeps free behind each region. */
const GUARD_BYTES = 64;

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
  /** Bytes that stay free behind each region. */
  protected readonly guard: number = 0;
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
   * Returns the device's view of a range.
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
    const end = at + size + this.guard;
    if (end > this.memory.length) {
      throw new VireoError("OUT_OF_MEMORY", "No room in test memory", {
        seen: size,
        expected: `at most ${Math.max(0, this.memory.length - at - this.guard)}`,
      });
    }
    this.#used = end;
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

/** A mistake that {@linkcode BouncingDma} saw, the driver's or the device's. */
export interface BounceMistake {
  /** Kind of the mistake. */
  readonly what:
    | "unshared range that was not shared"
    | "shared range twice"
    | "shared freed memory"
    | "freed range that was shared"
    | "device wrote to a range that was not shared"
    | "driver wrote to freed memory"
    | "device wrote to freed memory"
    | "wrote behind a region";
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

function isFilled(bytes: Uint8Array, value: number): boolean {
  const { buffer, byteOffset, length } = bytes;
  const head = -byteOffset & 3;
  if (length < head + 4) return isFilledByBytes(bytes, value);
  // By words: this looks at every page that a test shares or frees, and took a third of some tests.
  const words = new Int32Array(buffer, byteOffset + head, (length - head) >> 2);
  const word = Math.imul(value, 0x01010101);
  for (let i = 0; i < words.length; i++) if (words[i] !== word) return false;
  return isFilledByBytes(bytes.subarray(0, head), value) &&
    isFilledByBytes(bytes.subarray(head + words.byteLength), value);
}

function isFilledByBytes(bytes: Uint8Array, value: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== value) return false;
  return true;
}

/**
 * A machine that is not coherent: the device sees its own copy of every buffer, filled at `share` and
 * copied back at `unshare`; what is not the device's, and what is not yet the driver's, is poison. A
 * driver that forgets to share, or reads before it unshares, sees {@linkcode POISON}.
 *
 * It also sees who writes where he must not: memory that is freed is never used again and keeps
 * {@linkcode FREED}, and behind each region lies {@linkcode GUARD}.
 *
 * @example
 * ```ts
 * import { BouncingDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new BouncingDma();
 * const region = dma.alloc(4);
 * region.bytes[0] = 7;
 * // The device reads only what was shared.
 * const address = region.share(0, 4, "to-device");
 * assertEquals(dma.deviceBytes(address, 1)[0], 7);
 * region.unshare(0, 4, "to-device");
 * region[Symbol.dispose]();
 * assertEquals(dma.inspect(), []);
 * ```
 */
export class BouncingDma extends TestDma {
  /** Mistakes of the driver or the device; {@linkcode BouncingDma.inspect} looks for more. */
  readonly mistakes: BounceMistake[] = [];
  /** Bytes of guard on either side of what is shared. */
  protected override readonly guard: number = GUARD_BYTES;
  /** Looks at each region that there was. */
  readonly #inspections: (() => void)[] = [];

  /** Looks at all memory once more; returns all mistakes. */
  inspect(): readonly BounceMistake[] {
    for (const look of this.#inspections) look();
    return this.mistakes;
  }

  /** Makes a region whose device side is a copy. */
  protected override region(
    address: number,
    device: Uint8Array,
    options: DmaOptions,
    dispose: () => void,
  ): DmaRegion {
    const { length } = device;
    const note = (what: BounceMistake["what"], offset = 0): void =>
      void this.mistakes.push({ what, address: address + offset });
    const behind = this.deviceBytes(address + length, GUARD_BYTES).fill(GUARD);
    const bytes = options.coherent ? device : new Uint8Array(length);
    if (!options.coherent) device.fill(POISON);
    /** Shared ranges: offset to length. */
    const shared = new Map<number, number>();
    let freed = false;
    let told = false;
    const free = (): void => {
      if (freed) return;
      if (shared.size > 0) note("freed range that was shared", [...shared.keys()][0]);
      else if (!options.coherent && !isFilled(device, POISON)) {
        note("device wrote to a range that was not shared");
      }
      device.fill(FREED);
      bytes.fill(FREED);
      freed = true;
      dispose();
    };
    this.#inspections.push(() => {
      const count = this.mistakes.length;
      if (told) return;
      if (!isFilled(behind, GUARD)) note("wrote behind a region", length);
      if (freed && !isFilled(device, FREED)) note("device wrote to freed memory");
      else if (freed && !isFilled(bytes, FREED)) note("driver wrote to freed memory");
      told = this.mistakes.length > count;
    });
    if (options.coherent) {
      return {
        address,
        bytes,
        share: (offset) => address + offset,
        unshare() {},
        [Symbol.dispose]: free,
      };
    }
    return {
      address,
      bytes,
      share: (offset: number, count: number, direction: DmaDirection) => {
        if (freed) {
          note("shared freed memory", offset);
          return address + offset;
        }
        const twice = overlaps(shared, offset, count);
        if (twice) note("shared range twice", offset);
        shared.set(offset, count);
        const view = device.subarray(offset, offset + count);
        if (!twice && !isFilled(view, POISON)) {
          note("device wrote to a range that was not shared", offset);
        }
        if (direction === "from-device") {
          bytes.fill(POISON, offset, offset + count);
          view.fill(POISON);
        } else view.set(bytes.subarray(offset, offset + count));
        return address + offset;
      },
      unshare: (offset: number, count: number, direction: DmaDirection) => {
        if (shared.get(offset) !== count) note("unshared range that was not shared", offset);
        shared.delete(offset);
        if (freed) return;
        const view = device.subarray(offset, offset + count);
        if (direction !== "to-device") bytes.set(view, offset);
        view.fill(POISON);
      },
      [Symbol.dispose]: free,
    };
  }
}
