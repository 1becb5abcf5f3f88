import {
  alignUp,
  type Dma,
  type DmaRegion,
  ETH_HDR_SIZE,
  type VireoError,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import { atTurnEnd, unattended } from "../virtqueue/unattended.ts";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";
import type { NetStats } from "./frame.ts";

/** Largest slot in bytes; longer frames take several. */
const MAX_SLOT = 4096;
const NONE = -1;

/** How a {@linkcode TxQueue} is laid out. */
export interface TxLayout {
  /** Size of the device's header in bytes. */
  readonly headerSize: number;
  /** Largest packet without Ethernet header in bytes. */
  readonly mtu: number;
  /** Whether the header needs a descriptor of its own (legacy without ANY_LAYOUT). */
  readonly splitHeader: boolean;
  /** Longest frame in bytes. */
  readonly maxFrame: number;
}

/**
 * The batch interface of one transmit queue: reserve a slot, fill it, submit it, kick once, reclaim.
 * Nothing is allocated a frame.
 *
 * A slot belongs to the caller between `reserve` and `submit`, and to the device between `submit`
 * and the `reclaim` that found it used. After the device was recovered get the queue again.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { netDriver } from "@vireo/drivers/net";
 * import { HostPeer, Hub } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { NetDevice } from "@vireo/emu/net";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * using peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
 * const device = new NetDevice({ backend: hub.port() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(netDriver);
 * await bus.addPlatform(machine);
 * const queue = bus.get(netDriver)!.tx();
 * // Two frames to everybody, and one kick for both.
 * for (let i = 0; i < 2; i++) {
 *   const slot = queue.reserve();
 *   queue.frames[slot]!.fill(0xff, 0, 60);
 *   queue.submit(slot, 60);
 * }
 * queue.kick();
 * assertEquals([queue.reclaim(), peer.stats.received], [2, 2]);
 * ```
 */
export class TxQueue {
  /** The bytes of each slot, behind the header: write the frame there. */
  readonly frames: readonly Uint8Array[];
  /** Longest frame that fits into one slot, in bytes. */
  readonly slotSize: number;
  readonly #queue: Virtqueue;
  readonly #region: DmaRegion;
  readonly #stride: number;
  readonly #layout: TxLayout;
  readonly #stats: NetStats;
  readonly #free: Uint16Array;
  #freeCount: number;
  /** The slot after this one in a frame of several, or NONE. */
  readonly #next: Int32Array;
  /** Bytes of the slot that the device has, with the header. */
  readonly #shared: Uint32Array;
  /** 1 if the header in the slot is not all zeroes. */
  readonly #dirty: Uint8Array;
  readonly #chain: SgList;
  #kickDue = false;
  #closed: Error | undefined;
  /** The kick at the end of the turn. */
  readonly #kickLater = (): void => {
    if (!this.#kickDue || this.#queue.broken !== undefined) return;
    unattended(this.#queue.device ?? "", this.#kickNow, this.#unreachable);
  };
  readonly #kickNow = (): void => this.kick();
  readonly #unreachable = (error: VireoError): void => this.#queue.break(error);

  /** Takes its memory from `dma`; the queue stays the caller's. */
  constructor(queue: Virtqueue, dma: Dma, layout: TxLayout, stats: NetStats) {
    const { headerSize, mtu, splitHeader } = layout;
    this.#queue = queue;
    this.#layout = layout;
    this.#stats = stats;
    this.#stride = Math.min(alignUp(headerSize + ETH_HDR_SIZE + VLAN_TAG_SIZE + mtu, 64), MAX_SLOT);
    this.slotSize = this.#stride - headerSize;
    const count = Math.max(1, Math.floor(queue.size / queue.slotsFor(splitHeader ? 2 : 1)));
    this.#region = dma.alloc(count * this.#stride, { align: 64 });
    this.frames = Array.from({ length: count }, (_, slot) => {
      const start = slot * this.#stride + headerSize;
      return this.#region.bytes.subarray(start, start + this.slotSize);
    });
    this.#free = Uint16Array.from({ length: count }, (_, slot) => count - 1 - slot);
    this.#freeCount = count;
    this.#next = new Int32Array(count).fill(NONE);
    this.#shared = new Uint32Array(count);
    this.#dirty = new Uint8Array(count);
    this.#chain = new SgList(Math.ceil(layout.maxFrame / this.slotSize) + 2);
    queue.disableCallbacks();
  }

  /** How many slots are free now, without looking at what the device used. */
  get free(): number {
    return this.#freeCount;
  }

  /** The virtqueue below it. */
  get queue(): Virtqueue {
    return this.#queue;
  }

  /**
   * Takes a free slot, reclaiming if there is none.
   *
   * @returns An index into {@linkcode TxQueue.frames}, or -1 if the device has them all.
   */
  reserve(): number {
    if (this.#freeCount === 0 && this.reclaim() === 0) return NONE;
    return this.#free[--this.#freeCount]!;
  }

  /** Gives a reserved slot back without sending it. */
  release(slot: number): void {
    this.#free[this.#freeCount++] = slot;
  }

  /**
   * Makes the frame in a reserved slot available to the device; `kick` tells it.
   *
   * @param slot From {@linkcode TxQueue.reserve}.
   * @param length Length of the frame in bytes, 14 up to the slot's size.
   * @throws {RangeError} If the length is out of range; the slot stays reserved.
   * @throws {VireoError} `QUEUE_BROKEN` If the queue is broken; `DEVICE_STATE` If it is not in use.
   */
  submit(slot: number, length: number): void {
    if (this.#closed !== undefined) throw this.#closed;
    if (!(length >= ETH_HDR_SIZE && length <= this.slotSize)) {
      throw new RangeError(
        `Cannot send a frame of ${length} bytes: expected ${ETH_HDR_SIZE} to ${this.slotSize}`,
      );
    }
    this.#writeHeader(slot, undefined);
    this.#chain.clear();
    this.#append(slot, length, true);
    this.#add(slot);
    this.#stats.txFrames++;
    this.#stats.txBytes += length;
  }

  /**
   * Takes no more frames, or takes them again; what the device has goes on. `Net.setPairs` does it.
   *
   * @param reason What `submit` and `copyIn` throw; undefined opens it.
   */
  close(reason: Error | undefined): void {
    this.#closed = reason;
  }

  /** Tells the device of everything that was submitted. */
  kick(): void {
    this.#kickDue = false;
    this.#queue.kick();
  }

  /** Kicks once at the end of this turn of the event loop. */
  kickSoon(): void {
    if (this.#kickDue) return;
    this.#kickDue = true;
    atTurnEnd(this.#kickLater);
  }

  /**
   * Takes back the slots of frames that the device used.
   *
   * @returns How many frames those were.
   */
  reclaim(): number {
    let count = 0;
    for (let token = this.#queue.pop(); token >= 0; token = this.#queue.pop()) {
      this.#takeBack(token);
      count++;
    }
    return count;
  }

  /**
   * Copies a frame of any length into slots and makes it available.
   *
   * @param header The device's header, or undefined if it is all zeroes.
   * @returns False if there is not enough room now.
   * @throws {RangeError} If the frame is longer than the queue could ever take.
   * @throws {VireoError} `QUEUE_BROKEN` If the queue is broken; `DEVICE_STATE` If it is not in use.
   */
  copyIn(frame: Uint8Array, header: Uint8Array | undefined): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    const count = Math.ceil(frame.length / this.slotSize);
    const extra = this.#layout.splitHeader ? 1 : 0;
    // No chain is longer than the queue, not even in an indirect table (virtio 1.4 §2.7.5.3.1).
    const most = Math.min(this.frames.length, this.#queue.size - extra);
    if (count > most) {
      throw new RangeError(
        `Cannot send a frame of ${frame.length} bytes on this queue: expected at most ` +
          `${most * this.slotSize}`,
      );
    }
    // Every element of a long frame may take a place of the ring: it waits until all of them are free.
    const places = this.#queue.slotsFor(count + extra);
    if (this.#freeCount < count || this.#queue.freeSlots < places) this.reclaim();
    if (this.#freeCount < count || this.#queue.freeSlots < places) return false;
    const first = this.#free[this.#freeCount - 1]!;
    this.#writeHeader(first, header);
    this.#chain.clear();
    let before = NONE;
    for (let i = 0; i < count; i++) {
      const slot = this.#free[--this.#freeCount]!;
      const at = i * this.slotSize;
      const size = Math.min(this.slotSize, frame.length - at);
      this.frames[slot]!.set(count === 1 ? frame : frame.subarray(at, at + size));
      this.#append(slot, size, i === 0);
      if (before !== NONE) this.#next[before] = slot;
      before = slot;
    }
    this.#region.copied?.(frame.length);
    this.#add(first);
    this.#stats.txFrames++;
    this.#stats.txBytes += frame.length;
    return true;
  }

  /** Takes the slots back and frees the memory; only after the device was reset. */
  dispose(): void {
    this.#kickDue = false;
    const queue = this.#queue;
    for (let slot = queue.detachUnused(); slot >= 0; slot = queue.detachUnused()) {
      this.#takeBack(slot);
    }
    this.#region[Symbol.dispose]();
  }

  #writeHeader(slot: number, header: Uint8Array | undefined): void {
    const start = slot * this.#stride;
    if (header !== undefined) {
      this.#region.bytes.set(header.subarray(0, this.#layout.headerSize), start);
      this.#dirty[slot] = 1;
    } else if (this.#dirty[slot] === 1) {
      this.#region.bytes.fill(0, start, start + this.#layout.headerSize);
      this.#dirty[slot] = 0;
    }
  }

  /** Shares a slot and appends it to the chain; only the first one has a header. */
  #append(slot: number, length: number, first: boolean): void {
    const { headerSize, splitHeader } = this.#layout;
    const start = slot * this.#stride;
    const total = headerSize + length;
    const address = this.#region.share(start, total, "to-device");
    this.#shared[slot] = total;
    if (!first) {
      this.#chain.addReadable(address + headerSize, length);
    } else if (splitHeader) {
      this.#chain.addReadable(address, headerSize);
      this.#chain.addReadable(address + headerSize, length);
    } else {
      this.#chain.addReadable(address, total);
    }
  }

  #add(first: number): void {
    let added = false;
    try {
      added = this.#queue.add(this.#chain, first);
    } finally {
      if (!added) this.#takeBack(first);
    }
    // The slots are counted so that there is always room for their descriptors.
    if (!added) throw new RangeError(`Cannot submit slot ${first}: it must be reserved`);
  }

  #takeBack(token: number): void {
    for (let slot = token; slot !== NONE;) {
      const next = this.#next[slot]!;
      this.#next[slot] = NONE;
      this.#region.unshare(slot * this.#stride, this.#shared[slot]!, "to-device");
      this.#free[this.#freeCount++] = slot;
      slot = next;
    }
  }
}
