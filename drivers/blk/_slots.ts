import {
  BLK_APPEND_SECTOR_SIZE,
  BLK_REQ,
  BlkRequestType,
  type Dma,
  type DmaDirection,
  type DmaRegion,
  setU64,
} from "@vireo/hal";
import { SgList } from "../virtqueue/virtqueue.ts";
import type { LentMemory } from "./requests.ts";

/** Bytes of a slot's header cell: the header, then what the device writes besides data, padded. */
const CELL = 32;
/** Where the device writes: the status, which an append has behind its sector. */
const TAIL = BLK_REQ.SIZE;
/** Bytes of data buffers that a disk has before it needs more: most are idle, or answer one request at a time. */
const FIRST_BYTES = 64 << 10;
const NO_BYTES = new Uint8Array(0);
/** Status byte before the device wrote it: not a status of virtio. */
const STATUS_UNWRITTEN = 0xff;

/**
 * Memory for requests, used again and again: a header, a status byte and a data buffer for each slot.
 *
 * A slot's memory is the device's from {@linkcode Slots.give} to {@linkcode Slots.take}. At first the lowest
 * slots alone may have buffers: {@linkcode Slots.grow} gives all of them new ones.
 */
export class Slots implements Disposable {
  /** How many slots there are. */
  readonly count: number;
  /** Bytes of each slot's data buffer. */
  readonly bytes: number;
  /** Most slots in a row that one request may have: their buffers are one. */
  readonly maxSpan: number;
  /** How many slots, from the first one, have buffers. */
  ready: number;
  /** The data buffers of the slots that are ready; slot `i` starts at `i * bytes`. */
  data: Uint8Array;
  /** Data bytes of each slot's request. */
  readonly lengths: Uint32Array;
  /** Whether the device has the slot: 1 or 0. */
  readonly given: Uint8Array;
  readonly #dma: Dma;
  readonly #control: DmaRegion;
  #region: DmaRegion;
  /** The buffers before {@linkcode Slots.grow}, until the device has none of them. */
  #before: DmaRegion | undefined;
  /** 1 for each slot whose last request has its buffer in the region before. */
  readonly #old: Uint8Array;
  /** How many of those the device has. */
  #oldGiven = 0;
  readonly #view: DataView;
  readonly #types: Uint8Array;
  /** Each slot's data as of its last length, so that requests of one size make no views. */
  readonly #views: Uint8Array[];
  /** The caller's memory that a slot's request has instead of its buffer, and where in the request's data it begins. */
  readonly #lent: (LentMemory | undefined)[];
  readonly #lentAt: Float64Array;
  readonly #segment: number;
  readonly #chain: SgList;

  /**
   * Allocates the slots.
   *
   * @param segment Most bytes of one element of a chain.
   * @param maxBytes Most bytes of a request over several slots.
   * @param lazy Whether only some slots have buffers at first.
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room.
   */
  constructor(
    dma: Dma,
    count: number,
    bytes: number,
    segment: number,
    maxBytes: number = bytes,
    lazy = false,
  ) {
    this.count = count;
    this.ready = lazy ? Math.min(count, Math.max(1, Math.floor(FIRST_BYTES / bytes))) : count;
    this.#dma = dma;
    this.maxSpan = Math.max(1, Math.min(count, Math.floor(maxBytes / bytes)));
    this.bytes = bytes;
    this.#segment = segment;
    this.#control = dma.alloc(count * CELL, { align: CELL });
    try {
      this.#region = dma.alloc(this.ready * bytes, { align: 4096 });
    } catch (error) {
      this.#control[Symbol.dispose]();
      throw error;
    }
    const { buffer, byteOffset, byteLength } = this.#control.bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.data = this.#region.bytes;
    this.#views = new Array(count).fill(NO_BYTES);
    this.lengths = new Uint32Array(count);
    this.given = new Uint8Array(count);
    this.#old = new Uint8Array(count);
    this.#lent = new Array(count).fill(undefined);
    this.#lentAt = new Float64Array(count);
    this.#types = new Uint8Array(count);
    this.#chain = new SgList(Math.ceil(this.maxSpan * bytes / segment) + 2);
  }

  /** Gives all slots buffers in one range. What the device has stays where it is; without room nothing changes. */
  grow(): void {
    if (this.ready === this.count) return;
    let region: DmaRegion;
    try {
      region = this.#dma.alloc(this.count * this.bytes, { align: 4096 });
    } catch {
      return;
    }
    for (let slot = 0; slot < this.ready; slot++) {
      if (this.given[slot] === 0) continue;
      this.view(slot);
      this.#old[slot] = 1;
      this.#oldGiven++;
    }
    this.#before = this.#region;
    this.#region = region;
    this.data = region.bytes;
    for (let slot = 0; slot < this.ready; slot++) {
      if (this.#old[slot] === 0) this.#views[slot] = NO_BYTES;
    }
    this.ready = this.count;
  }

  /** Elements of the chain of a request with so many data bytes. */
  elements(length: number): number {
    return Math.ceil(length / this.#segment) + 2;
  }

  /** Writes a request's header (virtio 1.4 §5.2.6), whose reserved word is 0 from the start. */
  prepare(slot: number, type: number, sector: number, length: number): void {
    const at = slot * CELL;
    const view = this.#view;
    view.setUint32(at, type, true);
    setU64(view, at + BLK_REQ.sector.offset, sector);
    this.#types[slot] = type;
    this.lengths[slot] = length;
  }

  /**
   * Gives the slot to the device.
   *
   * @param lent The caller's memory, which the device writes instead of the slot's buffer.
   * @param offset Where in that memory the slot's part begins.
   * @returns The chain to add, valid until the next call.
   */
  give(slot: number, lent?: LentMemory, offset = 0): SgList {
    const cell = slot * CELL;
    const length = this.lengths[slot]!;
    const last = tailLength(this.#types[slot]!) - 1;
    this.#view.setUint8(cell + TAIL + last, STATUS_UNWRITTEN);
    this.given[slot] = 1;
    if (this.#before !== undefined) this.#leaveOld(slot);
    const chain = this.#chain.clear();
    chain.addReadable(this.#control.share(cell, BLK_REQ.SIZE, "to-device"), BLK_REQ.SIZE);
    if (length > 0) {
      const direction = dataDirection(this.#types[slot]!);
      this.#lent[slot] = lent;
      this.#lentAt[slot] = offset;
      let address = lent === undefined
        ? this.#region.share(slot * this.bytes, length, direction)
        : lent.give(offset, length);
      for (let left = length; left > 0;) {
        const n = Math.min(left, this.#segment);
        if (direction === "to-device") chain.addReadable(address, n);
        else chain.addWritable(address, n);
        address += n;
        left -= n;
      }
    }
    // Both ways, so that a device that writes no status leaves ours to be seen.
    chain.addWritable(this.#control.share(cell + TAIL, last + 1, "both"), last + 1);
    return chain;
  }

  /** Lets the slot's buffer in the region before go, and that region if it was the last one. */
  #leaveOld(slot: number): void {
    if (this.#old[slot] === 1) {
      this.#old[slot] = 0;
      this.#views[slot] = NO_BYTES;
    }
    if (this.#oldGiven > 0) return;
    this.#before![Symbol.dispose]();
    this.#before = undefined;
    for (let i = 0; i < this.count; i++) {
      if (this.#old[i] === 1) this.#views[i] = NO_BYTES;
    }
    this.#old.fill(0);
  }

  /** Takes the slot back from the device; returns the status byte. */
  take(slot: number): number {
    const cell = slot * CELL;
    const length = this.lengths[slot]!;
    this.given[slot] = 0;
    this.#control.unshare(cell, BLK_REQ.SIZE, "to-device");
    const old = this.#old[slot] === 1;
    if (old) this.#oldGiven--;
    const lent = this.#lent[slot];
    if (lent !== undefined) {
      this.#lent[slot] = undefined;
      lent.take(this.#lentAt[slot]!, length);
    } else if (length > 0) {
      const region = old ? this.#before! : this.#region;
      region.unshare(slot * this.bytes, length, dataDirection(this.#types[slot]!));
    }
    const last = tailLength(this.#types[slot]!) - 1;
    this.#control.unshare(cell + TAIL, last + 1, "both");
    return this.#view.getUint8(cell + TAIL + last);
  }

  /** Copies what the device wrote before the status of an append that was taken back: a sector of 64 bits. */
  appended(slot: number): Uint8Array {
    const at = slot * CELL + TAIL;
    return this.#control.bytes.slice(at, at + BLK_APPEND_SECTOR_SIZE);
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
    this.#before?.[Symbol.dispose]();
  }
}

/** Bytes of what the device writes besides data. */
function tailLength(type: number): number {
  return type === BlkRequestType.ZONE_APPEND ? BLK_APPEND_SECTOR_SIZE + 1 : 1;
}

/** The side that writes the data of a request. */
function dataDirection(type: number): DmaDirection {
  return type === BlkRequestType.IN || type === BlkRequestType.GET_ID ||
      type === BlkRequestType.GET_LIFETIME || type === BlkRequestType.ZONE_REPORT
    ? "from-device"
    : "to-device";
}

/** Whether the device writes the data of a request. */
export function isInput(type: number): boolean {
  return dataDirection(type) === "from-device";
}
