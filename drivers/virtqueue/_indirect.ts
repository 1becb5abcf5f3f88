import { DESC, DescFlag, type Dma, type DmaRegion } from "@vireo/hal";
import { SG_WORDS } from "./virtqueue.ts";

/** The number of elements in each table; longer chains are direct. */
const CAPACITY = 32;
/** Words (32 bits) of one descriptor, split or packed. */
const DESC_WORDS = DESC.SIZE / 4;

/** The indirect tables of a ring, one for each slot (split) or buffer id (packed). */
export class IndirectTables implements Disposable {
  /** Number of elements in a table; 0 without tables. */
  readonly capacity: number;
  readonly #region: DmaRegion | undefined;
  readonly #words: Uint32Array;
  readonly #address: number;

  /**
   * Allocates the tables of a ring.
   *
   * @param size Size of the ring.
   * @param enabled Whether INDIRECT_DESC was negotiated.
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no memory left.
   */
  constructor(dma: Dma, size: number, enabled: boolean) {
    // A chain is at most as long as the ring (virtio 1.4 §2.7.5.3.1, §2.8.21), and so is a table.
    this.capacity = enabled && size > 1 ? Math.min(CAPACITY, size) : 0;
    this.#region = this.capacity === 0
      ? undefined
      : dma.alloc(size * this.capacity * DESC.SIZE, { align: 16, coherent: true });
    const bytes = this.#region?.bytes;
    this.#words = bytes === undefined
      ? new Uint32Array(0)
      : new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    this.#address = this.#region?.address ?? 0;
  }

  /** Number of ring descriptors for a chain. */
  slotsFor(elements: number): number {
    return elements > 1 && elements <= this.capacity ? 1 : elements;
  }

  /**
   * Fills a table.
   *
   * @param which The slot or id.
   * @param elements Words of an `SgList`.
   * @param count How many elements: at most the capacity.
   * @param linked Whether the descriptors have the split format, in which each names the next one, or the
   * packed format, with the flags in the upper half and an id without meaning.
   * @returns Device address of the table.
   */
  fill(which: number, elements: Uint32Array, count: number, linked: boolean): number {
    const words = this.#words;
    const first = which * this.capacity;
    let from = 0;
    let to = first * DESC_WORDS;
    for (let i = 0; i < count; i++) {
      words[to] = elements[from]!;
      words[to + 1] = elements[from + 1]!;
      words[to + 2] = elements[from + 2]!;
      const flags = elements[from + 3]!;
      if (!linked) words[to + 3] = flags << 16;
      else words[to + 3] = i + 1 < count ? flags | DescFlag.NEXT | (i + 1) << 16 : flags;
      from += SG_WORDS;
      to += DESC_WORDS;
    }
    return this.#address + first * DESC.SIZE;
  }

  /** The words of a table. */
  table(which: number): Uint32Array {
    const words = this.capacity * DESC_WORDS;
    return this.#words.subarray(which * words, (which + 1) * words);
  }

  /** Frees the tables. */
  [Symbol.dispose](): void {
    this.#region?.[Symbol.dispose]();
  }
}
