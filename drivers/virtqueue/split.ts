import {
  alignUp,
  AVAIL_NO_INTERRUPT,
  DESC,
  DescFlag,
  type Dma,
  type DmaRegion,
  isPowerOfTwo,
  loadAfterStore,
  MAX_QUEUE_SIZE,
  needEvent,
  splitRingLayout,
  USED_NO_NOTIFY,
  VireoError,
} from "@vireo/hal";
import { badShape, cannotAdd, usedIdLie, usedIndexJump } from "./_errors.ts";
import type { QueueAddresses } from "../transport/transport.ts";
import { SG_WORDS, type SgList, type Virtqueue } from "./virtqueue.ts";

/** Elements of the indirect table that each ring slot owns; longer chains are direct. */
const INDIRECT_CAPACITY = 32;
/** The longest chain in bytes (virtio 1.4 §2.7.5.1). */
const MAX_CHAIN_BYTES = 2 ** 32;
/** Words (32 bits) of one descriptor. */
const DESC_WORDS = DESC.SIZE / 4;
/** Fields of the shadow of a descriptor. */
const Shadow = { NEXT: 0, TOKEN: 1, SLOTS: 2, WRITABLE: 3, WORDS: 4 } as const;
/** End of the free list. */
const NONE = -1;

/** What a {@linkcode SplitVirtqueue} is made of. */
export interface SplitVirtqueueOptions {
  /** Index on the device. */
  readonly index: number;
  /** Name for messages. */
  readonly name: string;
  /** Ring size in descriptors: a power of two from 1 to 32768. */
  readonly size: number;
  /** Memory for the ring and the indirect tables. */
  readonly dma: Dma;
  /** One block with the used ring at this alignment (legacy); parts are packed closely without it. */
  readonly legacyAlign?: number | undefined;
  /** Whether INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether NOTIFICATION_DATA was negotiated. */
  readonly notificationData: boolean;
  /** Writes the transport's notify register; `data` is -1 without NOTIFICATION_DATA. */
  readonly notify: (index: number, data: number) => void;
  /** Name of the device, for messages. */
  readonly device?: string;
}

/**
 * The driver's side of a split virtqueue (virtio 1.4 §2.7).
 *
 * The free list, chain lengths, tokens and writable sizes live in private arrays; nothing that the
 * device can write is read back except used entries, the used index, flags and avail_event, and each
 * of those is checked.
 */
export class SplitVirtqueue implements Virtqueue {
  /** Index on the device. */
  readonly index: number;
  /** Name for messages and reports. */
  readonly name: string;
  /** Name of the device, for messages. */
  readonly device: string | undefined;
  /** Ring size in descriptors. */
  readonly size: number;
  /** Where the parts are, for the transport. */
  readonly addresses: QueueAddresses;
  /** Bytes that the device wrote to the last popped buffer, clamped to its size. */
  usedLength = 0;
  /** Free ring slots. */
  freeSlots: number;
  /** Buffers that the device has. */
  inFlight = 0;
  #broken: VireoError | undefined;

  readonly #mask: number;
  readonly #ring: DmaRegion;
  readonly #tables: DmaRegion | undefined;
  /** Descriptor words, the ring's and then the indirect tables'. */
  readonly #desc: Uint32Array;
  readonly #table: Uint32Array;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #usedEventAt: number;
  readonly #availEventAt: number;
  readonly #tableCapacity: number;
  readonly #tableAddress: number;

  /**
   * Four words a descriptor, in one array because every buffer needs them all: the next one in the free
   * list or in its chain; and of a head the driver's token (NONE if it is not in flight), its ring
   * slots, and the bytes that the device may write.
   */
  readonly #shadow: Int32Array;
  #free = 0;
  #availIndex = 0;
  #kicked = 0;
  #lastUsed = 0;
  #usedSeen = 0;
  #callbacks = true;
  #detachAt = 0;
  /**
   * So many buffers were added since the last kick that the distance may wrap at 2^16, as a device that
   * takes what it was not given yet can bring about: the next kick notifies in any case.
   */
  #overdue = false;
  readonly #eventIdx: boolean;
  readonly #notificationData: boolean;
  readonly #notify: (index: number, data: number) => void;

  /**
   * Allocates a queue, empty, with callbacks enabled.
   *
   * @throws {VireoError} `QUEUE_SIZE` If the size is not a power of two from 1 to 32768;
   * `OUT_OF_MEMORY` If the machine has no room.
   */
  constructor(options: SplitVirtqueueOptions) {
    const { index, size, dma } = options;
    if (!Number.isInteger(size) || size > MAX_QUEUE_SIZE || !isPowerOfTwo(size)) {
      throw new VireoError("QUEUE_SIZE", "Cannot make a split virtqueue", {
        device: options.device,
        queue: index,
        seen: size,
        expected: "a power of two from 1 to 32768",
      });
    }
    this.index = index;
    this.name = options.name;
    this.size = size;
    this.#mask = size - 1;
    this.#eventIdx = options.eventIdx;
    this.#notificationData = options.notificationData;
    this.#notify = options.notify;
    this.device = options.device;
    const align = options.legacyAlign ?? 4;
    const parts = splitRingLayout(size, align);
    // The formula of virtio 1.4 §2.7.2 aligns the end too.
    const ring = dma.alloc(alignUp(parts.totalSize, align), {
      align: Math.max(align, 16),
      coherent: true,
    });
    // A chain is no longer than the ring (virtio 1.4 §2.7.5.3.1), so a table need not be either.
    this.#tableCapacity = options.indirect && size > 1 ? Math.min(INDIRECT_CAPACITY, size) : 0;
    try {
      this.#tables = this.#tableCapacity === 0
        ? undefined
        : dma.alloc(size * this.#tableCapacity * DESC.SIZE, { align: 16, coherent: true });
    } catch (error) {
      ring[Symbol.dispose]();
      throw error;
    }
    this.#ring = ring;
    this.addresses = {
      size,
      desc: ring.address,
      driver: ring.address + parts.availOffset,
      device: ring.address + parts.usedOffset,
    };
    const { buffer, byteOffset } = ring.bytes;
    this.#desc = new Uint32Array(buffer, byteOffset, size * DESC_WORDS);
    this.#avail = new Uint16Array(buffer, byteOffset + parts.availOffset, parts.availSize / 2);
    const usedAt = byteOffset + parts.usedOffset;
    this.#used16 = new Uint16Array(buffer, usedAt, parts.usedSize / 2);
    this.#used32 = new Uint32Array(buffer, usedAt, 1 + 2 * size);
    const tables = this.#tables?.bytes;
    this.#table = tables === undefined
      ? new Uint32Array(0)
      : new Uint32Array(tables.buffer, tables.byteOffset, tables.byteLength / 4);
    this.#tableAddress = this.#tables?.address ?? 0;
    this.#usedEventAt = 2 + size;
    this.#availEventAt = 2 + 4 * size;
    this.#shadow = new Int32Array(size * Shadow.WORDS);
    for (let i = 0; i < size; i++) {
      this.#shadow[i * Shadow.WORDS + Shadow.NEXT] = i + 1 < size ? i + 1 : NONE;
      this.#shadow[i * Shadow.WORDS + Shadow.TOKEN] = NONE;
    }
    this.freeSlots = size;
  }

  /** Why the queue is broken, if it is. */
  get broken(): VireoError | undefined {
    return this.#broken;
  }

  /** One for a chain that an indirect table takes, else one an element. */
  slotsFor(elements: number): number {
    return elements > 1 && elements <= this.#tableCapacity ? 1 : elements;
  }

  /** Puts a chain into the ring; the device sees it at the next kick. See {@linkcode Virtqueue.add}. */
  add(chain: SgList, token: number): boolean {
    if (this.#broken !== undefined) throw cannotAdd(this);
    const count = chain.readable + chain.writable;
    const head = this.#free;
    const { words } = chain;
    const shadow = this.#shadow;
    const at = head * Shadow.WORDS;
    let slots = 1;
    // Most chains are one element; the rest is a call, so that this stays small enough to be inlined
    // with its caller's loop (split_bench.ts).
    if (count === 1 && head !== NONE) {
      const desc = this.#desc;
      // A descriptor has as many words as its shadow.
      desc[at] = words[0]!;
      desc[at + 1] = words[1]!;
      desc[at + 2] = words[2]!;
      desc[at + 3] = words[3]!;
      this.#free = shadow[at]!;
      shadow[at + Shadow.WRITABLE] = chain.writableLength;
    } else {
      slots = this.#addMany(head, chain);
      if (slots === 0) return false;
    }
    shadow[at + Shadow.TOKEN] = token;
    shadow[at + Shadow.SLOTS] = slots;
    this.freeSlots -= slots;
    this.inFlight++;
    const index = this.#availIndex;
    this.#avail[2 + (index & this.#mask)] = head;
    this.#availIndex = (index + 1) & 0xffff;
    return true;
  }

  /** Publishes what was added, and notifies the device if it wants that (virtio 1.4 §2.7.13). */
  kick(): void {
    const next = this.#availIndex;
    const old = this.#kicked;
    const overdue = this.#overdue;
    if ((next === old && !overdue) || this.#broken !== undefined) return;
    this.#kicked = next;
    this.#overdue = false;
    // Orders descriptors and entries before the index (drv.split-ring.update-idx.1); pairs with the
    // device's load of idx. Once a kick, not once a buffer: an atomic store is half of what adding costs.
    Atomics.store(this.#avail, 1, next);
    // The store is sequentially consistent, so this load cannot pass it (drv.split-ring.notify.1).
    const wanted = this.#eventIdx
      ? needEvent(loadAfterStore(this.#used16, this.#availEventAt), next, old)
      : (loadAfterStore(this.#used16, 0) & USED_NO_NOTIFY) === 0;
    if (wanted || overdue) this.#notify(this.index, this.#notificationData ? next : -1);
  }

  /** Takes the next used buffer; see {@linkcode Virtqueue.pop}. */
  pop(): number {
    const last = this.#lastUsed;
    if (last === this.#usedSeen && !this.#look()) return NONE;
    const at = 1 + 2 * (last & this.#mask);
    const id = this.#used32[at]!;
    const length = this.#used32[at + 1]!;
    const shadow = this.#shadow;
    const head = id * Shadow.WORDS;
    const token = shadow[head + Shadow.TOKEN]!;
    if (id >= this.size || token === NONE) return this.#lie(id);
    const writable = shadow[head + Shadow.WRITABLE]! >>> 0;
    this.usedLength = length < writable ? length : writable;
    const next = this.#lastUsed = (last + 1) & 0xffff;
    const slots = shadow[head + Shadow.SLOTS]!;
    if (slots === 1) {
      shadow[head] = this.#free;
      shadow[head + Shadow.TOKEN] = NONE;
      this.#free = id;
      this.freeSlots++;
      this.inFlight--;
    } else this.#release(id);
    // While callbacks are on, the device is to interrupt for the next entry too.
    if (this.#eventIdx && this.#callbacks) {
      Atomics.store(this.#avail, this.#usedEventAt, next);
    }
    return token;
  }

  /** Whether a used buffer waits. */
  hasUsed(): boolean {
    return this.#broken === undefined && (this.#lastUsed !== this.#usedSeen || this.#look());
  }

  /** Asks for no interrupts (virtio 1.4 §2.7.7). */
  disableCallbacks(): void {
    if (!this.#callbacks || this.#broken !== undefined) return;
    this.#callbacks = false;
    // With EVENT_IDX the event index is left behind, which no coming entry passes for 2^16 entries.
    if (!this.#eventIdx) Atomics.store(this.#avail, 0, AVAIL_NO_INTERRUPT);
    else Atomics.store(this.#avail, this.#usedEventAt, (this.#lastUsed - 1) & 0xffff);
  }

  /** Asks for an interrupt at the next used buffer; false if one is there already. */
  enableCallbacks(): boolean {
    if (this.#broken !== undefined) return true;
    this.#callbacks = true;
    if (this.#eventIdx) Atomics.store(this.#avail, this.#usedEventAt, this.#lastUsed);
    else Atomics.store(this.#avail, 0, 0);
    // The store is sequentially consistent: an entry that came before it is seen here, one that comes
    // after it interrupts.
    return !this.hasUsed();
  }

  /** Asks for an interrupt when three quarters of the buffers in flight are used. */
  enableCallbacksDelayed(): boolean {
    if (!this.#eventIdx || this.#broken !== undefined) return this.enableCallbacks();
    this.#callbacks = true;
    const wait = (this.inFlight * 3) >>> 2;
    Atomics.store(this.#avail, this.#usedEventAt, (this.#lastUsed + wait) & 0xffff);
    this.#look();
    return this.#broken !== undefined || ((this.#usedSeen - this.#lastUsed) & 0xffff) <= wait;
  }

  /** Takes back one buffer after a reset; -1 if there is none left. */
  detachUnused(): number {
    // Goes on where the last call stopped: taking all back is one walk over the ring.
    while (this.inFlight > 0) {
      const head = this.#detachAt;
      this.#detachAt = (head + 1) & this.#mask;
      const token = this.#shadow[head * Shadow.WORDS + Shadow.TOKEN]!;
      if (token === NONE) continue;
      this.#release(head);
      return token;
    }
    return NONE;
  }

  /** Marks the queue broken; the first reason stays. */
  break(reason: VireoError): void {
    this.#broken ??= reason;
    // So that pop() asks #look(), which finds nothing any more.
    this.#usedSeen = this.#lastUsed;
  }

  /** Frees the ring; the device must not use it any more. */
  [Symbol.dispose](): void {
    this.break(
      new VireoError("DEVICE_STATE", "Virtqueue was deleted", {
        device: this.device,
        queue: this.index,
      }),
    );
    this.#tables?.[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
  }

  /** Reads the used index; false if there is nothing new or it cannot be true. */
  #look(): boolean {
    // Pairs with the device's store of idx: entries up to it are visible after this load.
    const seen = Atomics.load(this.#used16, 1);
    const fresh = (seen - this.#lastUsed) & 0xffff;
    if (fresh === 0 || this.#broken !== undefined) return false;
    if (fresh > this.inFlight) {
      this.break(usedIndexJump(this, seen, fresh, this.inFlight));
      return false;
    }
    // Between two looks at most `size` buffers are added, so that the distance is seen before it wraps.
    if (((this.#availIndex - this.#kicked) & 0xffff) >= MAX_QUEUE_SIZE) this.#overdue = true;
    this.#usedSeen = seen;
    return true;
  }

  #release(head: number): void {
    const shadow = this.#shadow;
    const at = head * Shadow.WORDS;
    const slots = shadow[at + Shadow.SLOTS]!;
    let tail = at;
    for (let i = 1; i < slots; i++) tail = shadow[tail]! * Shadow.WORDS;
    shadow[tail] = this.#free;
    shadow[at + Shadow.TOKEN] = NONE;
    this.#free = head;
    this.freeSlots += slots;
    this.inFlight--;
  }

  /** Adds a chain of any length; returns its slots, or 0 if there is not enough room now. */
  #addMany(head: number, chain: SgList): number {
    const { words, count, writableLength } = chain;
    if (count === 0 || count > this.size) throw badShape(this, count, `1 to ${this.size} elements`);
    let total = 0;
    for (let at = 2; at < count * SG_WORDS; at += SG_WORDS) total += words[at]!;
    // drv.split-ring.desc-table.1
    if (total > MAX_CHAIN_BYTES) throw badShape(this, total, "at most 2^32 bytes");
    const slots = this.slotsFor(count);
    if (slots > this.freeSlots) return 0;
    if (count > 1 && slots === 1) this.#addIndirect(head, words, count);
    else this.#addDirect(head, words, count);
    this.#shadow[head * Shadow.WORDS + Shadow.WRITABLE] = Math.min(writableLength, 0xffffffff);
    return slots;
  }

  /** One descriptor that refers to the slot's own table. */
  #addIndirect(head: number, words: Uint32Array, count: number): void {
    const table = this.#table;
    const first = head * this.#tableCapacity;
    let from = 0;
    let to = first * DESC_WORDS;
    for (let i = 0; i < count; i++) {
      table[to] = words[from]!;
      table[to + 1] = words[from + 1]!;
      table[to + 2] = words[from + 2]!;
      table[to + 3] = words[from + 3]! | (i + 1 < count ? DescFlag.NEXT | (i + 1) << 16 : 0);
      from += SG_WORDS;
      to += DESC_WORDS;
    }
    const address = this.#tableAddress + first * DESC.SIZE;
    const desc = this.#desc;
    const at = head * DESC_WORDS;
    desc[at] = address;
    desc[at + 1] = address / 2 ** 32;
    desc[at + 2] = count * DESC.SIZE;
    desc[at + 3] = DescFlag.INDIRECT;
    this.#free = this.#shadow[at]!;
  }

  /** A descriptor for each element, in the order of the free list. */
  #addDirect(head: number, words: Uint32Array, count: number): void {
    const desc = this.#desc;
    let slot = head;
    let from = 0;
    for (let i = 0; i < count; i++, from += SG_WORDS) {
      const at = slot * DESC_WORDS;
      const next = this.#shadow[at]!;
      desc[at] = words[from]!;
      desc[at + 1] = words[from + 1]!;
      desc[at + 2] = words[from + 2]!;
      desc[at + 3] = words[from + 3]! | (i + 1 < count ? DescFlag.NEXT | next << 16 : 0);
      slot = next;
    }
    this.#free = slot;
  }

  /** Breaks the queue for a used entry that cannot be true. */
  #lie(id: number): number {
    this.break(usedIdLie(this, this.#lastUsed, id));
    return NONE;
  }
}
