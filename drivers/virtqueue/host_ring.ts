import {
  alignUp,
  AVAIL_NO_INTERRUPT,
  DESC,
  DescFlag,
  type DmaRegion,
  loadAcquire16,
  loadAfterStore,
  needEvent,
  splitRingLayout,
  USED_NO_NOTIFY,
  VireoError,
} from "@vireo/hal";
import { deleted } from "./_errors.ts";
import type { QueueAddresses } from "./virtqueue.ts";
import type { SgList, Virtqueue } from "./virtqueue.ts";
import type { SplitVirtqueueOptions } from "./split.ts";

/** Words (32 bits) of a descriptor. */
const DESC_WORDS = DESC.SIZE / 4;
const NONE = -1;

/**
 * The device's side of a split virtqueue, played by a driver (Linux's `vringh.c`): the other side makes its
 * buffers available, and the driver takes and returns them. The ring lies in the driver's memory.
 *
 * The ring checks everything that the other side wrote: an index that jumps, or an impossible head or chain,
 * breaks the ring with `CHAIN_SHAPE`. It has no indirect tables, so INDIRECT_DESC must not be negotiated.
 */
export class HostRing implements Virtqueue {
  /** Index on the device. */
  readonly index: number;
  /** Name for messages and reports. */
  readonly name: string;
  /** Name of the device, for messages. */
  readonly device: string | undefined;
  /** Reads the device's status, for messages. */
  readonly status: (() => number) | undefined;
  /** Says what the machine knows of why the device does not answer. */
  readonly diagnose: (() => VireoError | undefined) | undefined;
  /** Ring size in descriptors. */
  readonly size: number;
  /** Where the parts are, for the transport. */
  readonly addresses: QueueAddresses;
  /** Nothing is added to such a ring. */
  readonly freeSlots = 0;
  /** The elements of the chain that was popped last: address and length in bytes. */
  readonly elements: { address: number; length: number }[] = [];
  /** Number of slots of the other side: the size without the chains that the driver holds. */
  inFlight: number;
  /** Has no meaning on such a ring. */
  readonly usedLength = 0;
  #callbacks = true;
  /** Whether kicks wait, while the device is suspended. */
  held = false;
  #broken: VireoError | undefined;
  readonly #ring: DmaRegion;
  readonly #mask: number;
  readonly #desc: Uint32Array;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  /** By head: 1 while the driver holds its chain. */
  readonly #held: Uint8Array;
  readonly #eventIdx: boolean;
  readonly #notify: (index: number, data: number) => void;
  #lastAvail = 0;
  #usedIndex = 0;
  #told = 0;

  /**
   * Allocates the ring, empty.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room.
   */
  constructor(options: SplitVirtqueueOptions) {
    const { size } = options;
    this.index = options.index;
    this.name = options.name;
    this.device = options.device;
    this.status = options.status;
    this.diagnose = options.diagnose;
    this.size = size;
    this.inFlight = size;
    this.#mask = size - 1;
    this.#eventIdx = options.eventIdx;
    this.#notify = options.notify;
    const align = options.legacyAlign ?? 4;
    const parts = splitRingLayout(size, align);
    const ring = options.dma.alloc(alignUp(parts.totalSize, align), {
      align: Math.max(align, 16),
      coherent: true,
    });
    this.#ring = ring;
    const { address } = ring;
    const [driver, device] = [address + parts.availOffset, address + parts.usedOffset];
    this.addresses = { size, desc: address, driver, device };
    const { buffer, byteOffset } = ring.bytes;
    this.#desc = new Uint32Array(buffer, byteOffset, size * DESC_WORDS);
    this.#avail = new Uint16Array(buffer, byteOffset + parts.availOffset, parts.availSize / 2);
    this.#used16 = new Uint16Array(buffer, byteOffset + parts.usedOffset, parts.usedSize / 2);
    this.#used32 = new Uint32Array(buffer, byteOffset + parts.usedOffset, 1 + 2 * size);
    this.#held = new Uint8Array(size);
  }

  /** Number of returned chains that the next kick publishes. */
  get unkicked(): number {
    return (this.#usedIndex - this.#told) & 0xffff;
  }

  /** The place of the next chain. */
  get popped(): number {
    return this.#lastAvail;
  }

  /** Why the ring is broken, if it is. */
  get broken(): VireoError | undefined {
    return this.#broken;
  }

  /** Nothing is added to such a ring. */
  slotsFor(elements: number): number {
    return elements;
  }

  /** Cannot add: the other side owns the buffers. @throws {TypeError} Always. */
  add(_chain: SgList, _token: number): boolean {
    throw new TypeError(`Cannot add to '${this.name}': only the other side adds buffers to it`);
  }

  /** Takes the next chain that the other side made available: its head, or -1. */
  pop(): number {
    if (!this.hasUsed()) return NONE;
    const head = this.#avail[2 + (this.#lastAvail & this.#mask)]!;
    if (head >= this.size) return this.#lie(head, `a head below ${this.size}`);
    if (this.#held[head] === 1) return this.#lie(head, "a head that the driver does not have");
    if (!this.#walk(head)) return NONE;
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    this.#held[head] = 1;
    this.inFlight--;
    return head;
  }

  /**
   * Returns a chain; the other side sees it at the next {@linkcode HostRing.kick}.
   *
   * @throws {RangeError} If the driver does not hold it.
   */
  giveBack(head: number, written = 0): void {
    if (this.#held[head] !== 1) {
      throw new RangeError(`Cannot return chain ${head}: the driver must hold it`);
    }
    this.#held[head] = 0;
    this.inFlight++;
    const at = 1 + 2 * (this.#usedIndex & this.#mask);
    this.#used32[at] = head;
    this.#used32[at + 1] = written;
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
  }

  /** Publishes the returned chains, and notifies the other side unless it suppressed that. */
  kick(): void {
    const [next, old] = [this.#usedIndex, this.#told];
    if (next === old || this.#broken !== undefined || this.held) return;
    this.#told = next;
    Atomics.store(this.#used16, 1, next);
    // The store is sequentially consistent, so this load stays behind it.
    const wanted = this.#eventIdx
      ? needEvent(loadAfterStore(this.#avail, 2 + this.size), next, old)
      : (loadAfterStore(this.#avail, 0) & AVAIL_NO_INTERRUPT) === 0;
    if (wanted) this.#notify(this.index, NONE);
  }

  /** Notifies the other side, even if it suppressed notifications. */
  kickAgain(): void {
    if (this.#broken === undefined && !this.held) this.#notify(this.index, NONE);
  }

  /** Whether a chain waits to be taken. */
  hasUsed(): boolean {
    if (this.#broken !== undefined) return false;
    const fresh = (loadAcquire16(this.#avail, 1) - this.#lastAvail) & 0xffff;
    if (fresh <= this.size) return fresh > 0;
    this.#lie(fresh, `at most ${this.size} new chains`);
    return false;
  }

  /** Whether the driver asks for notifications of new buffers. */
  get callbacks(): boolean {
    return this.#callbacks;
  }

  /** Suppresses notifications of new buffers; a hint. */
  disableCallbacks(): void {
    this.#callbacks = false;
    if (this.#eventIdx || this.#broken !== undefined) return;
    Atomics.store(this.#used16, 0, USED_NO_NOTIFY);
  }

  /** Asks for a notification of the next buffer; false if one is already available. */
  enableCallbacks(): boolean {
    if (this.#broken !== undefined) return true;
    this.#callbacks = true;
    if (this.#eventIdx) Atomics.store(this.#used16, 2 + 4 * this.size, this.#lastAvail);
    else Atomics.store(this.#used16, 0, 0);
    return !this.hasUsed();
  }

  /** As {@linkcode HostRing.enableCallbacks}: the number of coming buffers is unknown. */
  enableCallbacksDelayed(): boolean {
    return this.enableCallbacks();
  }

  /** Forgets a chain that the driver holds; -1 if it holds none. */
  detachUnused(): number {
    const head = this.#held.indexOf(1);
    if (head < 0) return NONE;
    this.#held[head] = 0;
    this.inFlight++;
    return head;
  }

  /** Marks the ring broken; the first reason stays. */
  break(reason: VireoError): void {
    this.#broken ??= reason;
  }

  /** Frees the ring; the device must not use it any more. */
  [Symbol.dispose](): void {
    this.break(deleted(this));
    this.#ring[Symbol.dispose]();
  }

  /** Reads the elements of a chain; false if the chain is not valid. */
  #walk(head: number): boolean {
    this.elements.length = 0;
    const desc = this.#desc;
    for (let slot = head;;) {
      const at = slot * DESC_WORDS;
      const word = desc[at + 3]!;
      const flags = word & 0xffff;
      if ((flags & (DescFlag.WRITE | DescFlag.INDIRECT)) !== 0) {
        return this.#lie(flags, "descriptors to read, and no tables") !== NONE;
      }
      const address = desc[at]! + desc[at + 1]! * 2 ** 32;
      this.elements.push({ address, length: desc[at + 2]! });
      if ((flags & DescFlag.NEXT) === 0) return true;
      slot = word >>> 16;
      if (slot >= this.size) return this.#lie(slot, `a descriptor below ${this.size}`) !== NONE;
      if (this.elements.length === this.size) {
        return this.#lie(this.size + 1, `a chain of at most ${this.size}`) !== NONE;
      }
    }
  }

  #lie(seen: number, expected: string): number {
    this.break(
      new VireoError("CHAIN_SHAPE", "Cannot use the other side's buffers", {
        device: this.device,
        queue: this.index,
        index: this.#lastAvail,
        seen,
        expected,
      }),
    );
    return NONE;
  }
}
