import {
  BLK_REQ,
  BlkRequestType,
  type Dma,
  type DmaDirection,
  type DmaRegion,
  hi32,
  lo32,
} from "@vireo/hal";
import { SgList } from "../virtqueue/virtqueue.ts";

/** Bytes of a slot's header cell: the header, then the status byte, padded. */
const CELL = 32;
const STATUS = BLK_REQ.SIZE;
/** Status byte before the device wrote it: not a status of virtio. */
const STATUS_UNWRITTEN = 0xff;

/**
 * Memory for requests, made once: a header, a status byte and a data buffer for each slot.
 *
 * A slot's memory is the device's from {@linkcode Slots.give} to {@linkcode Slots.take}.
 */
export class Slots implements Disposable {
  /** How many slots there are. */
  readonly count: number;
  /** Bytes of each slot's data buffer. */
  readonly bytes: number;
  /** Most slots in a row that one request may have: their buffers are one. */
  readonly maxSpan: number;
  /** All data buffers; slot `i` starts at `i * bytes`. */
  readonly data: Uint8Array;
  /** Data bytes of each slot's request. */
  readonly lengths: Uint32Array;
  /** Whether the device has the slot: 1 or 0. */
  readonly given: Uint8Array;
  readonly #control: DmaRegion;
  readonly #region: DmaRegion;
  readonly #view: DataView;
  readonly #types: Uint8Array;
  /** Each slot's data as of its last length, so that requests of one size make no views. */
  readonly #views: Uint8Array[];
  readonly #segment: number;
  readonly #chain: SgList;

  /**
   * Allocates the slots.
   *
   * @param segment Most bytes of one element of a chain.
   * @param maxBytes Most bytes of a request over several slots.
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room.
   */
  constructor(dma: Dma, count: number, bytes: number, segment: number, maxBytes: number = bytes) {
    this.count = count;
    this.maxSpan = Math.max(1, Math.min(count, Math.floor(maxBytes / bytes)));
    this.bytes = bytes;
    this.#segment = segment;
    this.#control = dma.alloc(count * CELL, { align: CELL });
    try {
      this.#region = dma.alloc(count * bytes, { align: 4096 });
    } catch (error) {
      this.#control[Symbol.dispose]();
      throw error;
    }
    const { buffer, byteOffset, byteLength } = this.#control.bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.data = this.#region.bytes;
    this.#views = new Array(count).fill(new Uint8Array(0));
    this.lengths = new Uint32Array(count);
    this.given = new Uint8Array(count);
    this.#types = new Uint8Array(count);
    this.#chain = new SgList(Math.ceil(this.maxSpan * bytes / segment) + 2);
  }

  /** Elements of the chain of a request with so many data bytes. */
  elements(length: number): number {
    return length <= this.#segment ? (length === 0 ? 2 : 3) : Math.ceil(length / this.#segment) + 2;
  }

  /** Writes a request's header (virtio 1.4 §5.2.6). */
  prepare(slot: number, type: number, sector: number, length: number): void {
    const at = slot * CELL;
    const view = this.#view;
    view.setUint32(at, type, true);
    view.setUint32(at + BLK_REQ.reserved.offset, 0, true);
    view.setUint32(at + BLK_REQ.sector.offset, lo32(sector), true);
    view.setUint32(at + BLK_REQ.sector.offset + 4, hi32(sector), true);
    this.#types[slot] = type;
    this.lengths[slot] = length;
  }

  /** Gives the slot to the device; returns the chain to add, valid until the next call. */
  give(slot: number): SgList {
    const cell = slot * CELL;
    const length = this.lengths[slot]!;
    this.#view.setUint8(cell + STATUS, STATUS_UNWRITTEN);
    this.given[slot] = 1;
    const chain = this.#chain.clear();
    chain.addReadable(this.#control.share(cell, BLK_REQ.SIZE, "to-device"), BLK_REQ.SIZE);
    if (length > 0) {
      const direction = dataDirection(this.#types[slot]!);
      let address = this.#region.share(slot * this.bytes, length, direction);
      for (let left = length; left > 0;) {
        const n = left < this.#segment ? left : this.#segment;
        if (direction === "to-device") chain.addReadable(address, n);
        else chain.addWritable(address, n);
        address += n;
        left -= n;
      }
    }
    // Both ways, so that a device that writes no status leaves ours to be seen.
    chain.addWritable(this.#control.share(cell + STATUS, 1, "both"), 1);
    return chain;
  }

  /** Takes the slot back from the device; returns the status byte. */
  take(slot: number): number {
    const cell = slot * CELL;
    const length = this.lengths[slot]!;
    this.given[slot] = 0;
    this.#control.unshare(cell, BLK_REQ.SIZE, "to-device");
    if (length > 0) {
      this.#region.unshare(slot * this.bytes, length, dataDirection(this.#types[slot]!));
    }
    this.#control.unshare(cell + STATUS, 1, "both");
    return this.#view.getUint8(cell + STATUS);
  }

  /** Data of a slot was copied to its caller, or from it. */
  copied(bytes: number): void {
    this.#region.copied?.(bytes);
  }

  /** The data of a slot's request. */
  view(slot: number): Uint8Array {
    const length = this.lengths[slot]!;
    const view = this.#views[slot]!;
    if (view.length === length) return view;
    const at = slot * this.bytes;
    return this.#views[slot] = this.data.subarray(at, at + length);
  }

  /** The request type of a slot. */
  type(slot: number): number {
    return this.#types[slot]!;
  }

  /** Frees the memory; the device must not have any slot. */
  [Symbol.dispose](): void {
    this.#control[Symbol.dispose]();
    this.#region[Symbol.dispose]();
  }
}

/** The side that writes the data of a request. */
function dataDirection(type: number): DmaDirection {
  return type === BlkRequestType.IN || type === BlkRequestType.GET_ID ||
      type === BlkRequestType.GET_LIFETIME
    ? "from-device"
    : "to-device";
}

/** Whether the device writes the data of a request. */
export function isInput(type: number): boolean {
  return dataDirection(type) === "from-device";
}
