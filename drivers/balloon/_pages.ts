import { BALLOON_PAGE_SIZE, type Dma, type DmaRegion, VireoError } from "@vireo/hal";

/** Pages of one block of memory; all before `held` are in the balloon. */
interface Block {
  readonly region: DmaRegion;
  readonly pages: number;
  held: number;
}

/** The memory that a balloon took, in blocks; the last pages taken are the first given back. */
export class Pages {
  readonly #dma: Dma;
  readonly #blocks: Block[] = [];
  #held = 0;

  constructor(dma: Dma) {
    this.#dma = dma;
  }

  /** Pages taken. */
  get held(): number {
    return this.#held;
  }

  /**
   * Takes memory for the balloon: as many pages as asked for, or fewer if memory is short.
   *
   * @returns Their page numbers; empty if there is no memory left.
   */
  take(count: number): number[] {
    for (let pages = count; pages >= 1; pages >>= 1) {
      try {
        // Coherent: the device has it as it is, without being shared, and nothing of it is copied.
        const size = pages * BALLOON_PAGE_SIZE;
        const region = this.#dma.alloc(size, { align: BALLOON_PAGE_SIZE, coherent: true });
        this.#blocks.push({ region, pages, held: pages });
        this.#held += pages;
        const first = region.address / BALLOON_PAGE_SIZE;
        return Array.from({ length: pages }, (_, i) => first + i);
      } catch (error) {
        if (!(error instanceof VireoError) || error.code !== "OUT_OF_MEMORY") throw error;
      }
    }
    return [];
  }

  /** The page numbers that would be given back next, at most `count`, of one block. */
  last(count: number): number[] {
    const block = this.#blocks.at(-1);
    if (block === undefined) return [];
    const pages = Math.min(count, block.held);
    const first = block.region.address / BALLOON_PAGE_SIZE + block.held - pages;
    return Array.from({ length: pages }, (_, i) => first + i);
  }

  /** Gives back pages that `last` named, once the device knows. */
  give(count: number, fill: number): void {
    const block = this.#blocks.at(-1)!;
    const start = (block.held - count) * BALLOON_PAGE_SIZE;
    const bytes = block.region.bytes.subarray(start, start + count * BALLOON_PAGE_SIZE);
    if (fill !== 0) words(bytes).fill(fill);
    block.held -= count;
    this.#held -= count;
    if (block.held > 0) return;
    this.#blocks.pop();
    block.region[Symbol.dispose]();
  }

  /** Frees all; only after the device was reset. */
  clear(): void {
    for (const { region } of this.#blocks.splice(0)) region[Symbol.dispose]();
    this.#held = 0;
  }
}

/** Whole pages as 32-bit words. */
function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}
