import type { Dma, DmaDirection, DmaOptions, DmaRegion, MemoryWindow } from "@vireo/hal";

/** Memory at an address. */
type Region = Pick<DmaRegion, "address" | "bytes">;

/** Memory whose regions can be found by the addresses that devices see. */
export class TracedDma implements Dma {
  readonly access: Dma["access"];
  readonly #dma: Dma;
  /** By ascending address. */
  readonly #regions: Region[] = [];

  constructor(dma: Dma) {
    this.#dma = dma;
    this.access = dma.access;
  }

  alloc(size: number, options?: DmaOptions): DmaRegion {
    const region = this.#dma.alloc(size, options);
    const forget = this.#keep(region);
    return {
      address: region.address,
      get bytes() {
        return region.bytes;
      },
      share: (offset: number, length: number, direction: DmaDirection) =>
        region.share(offset, length, direction),
      unshare: (offset: number, length: number, direction: DmaDirection) =>
        region.unshare(offset, length, direction),
      [Symbol.dispose]: () => {
        forget();
        region[Symbol.dispose]();
      },
    };
  }

  /** A window of a device's memory, whose contents can be found until it is closed. */
  window(address: number, window: MemoryWindow): MemoryWindow {
    const { bytes } = window;
    const forget = this.#keep({ address, bytes });
    return {
      bytes,
      [Symbol.dispose]: () => {
        forget();
        window[Symbol.dispose]();
      },
    };
  }

  #keep(region: Region): () => void {
    this.#regions.splice(this.#place(region.address), 0, region);
    return () => {
      const at = this.#regions.indexOf(region);
      if (at >= 0) this.#regions.splice(at, 1);
    };
  }

  /** The driver's view of what a device sees at an address; undefined if no region has it whole. */
  find(address: number, length: number): Uint8Array | undefined {
    const region = this.#regions[this.#place(address + 1) - 1];
    if (region === undefined) return undefined;
    const at = address - region.address;
    return at + length <= region.bytes.length ? region.bytes.subarray(at, at + length) : undefined;
  }

  /** How many regions begin before an address. */
  #place(address: number): number {
    let [low, high] = [0, this.#regions.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#regions[middle]!.address < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Memory of one device, of which each copy is told. */
export class CountedDma implements Dma {
  readonly access: Dma["access"];
  /** The memory, of all devices. */
  readonly memory: TracedDma;
  readonly #copied: (bytes: number) => void;

  constructor(memory: TracedDma, copied: (bytes: number) => void) {
    this.memory = memory;
    this.access = memory.access;
    this.#copied = copied;
  }

  alloc(size: number, options?: DmaOptions): DmaRegion {
    return Object.assign(this.memory.alloc(size, options), { copied: this.#copied });
  }
}
