import {
  alignUp,
  AVAIL_NO_INTERRUPT,
  DESC,
  DescFlag,
  type DmaRegion,
  isPowerOfTwo,
  loadAcquire16,
  loadAfterStore,
  MAX_QUEUE_SIZE,
  needEvent,
  splitRingLayout,
  USED_NO_NOTIFY,
  type VireoError,
} from "@vireo/hal";
import {
  badSize,
  badToken,
  cannotAdd,
  checkChain,
  deleted,
  MAX_TOKEN,
  usedIdLie,
  usedIndexJump,
} from "./_errors.ts";
import { IndirectTables } from "./_indirect.ts";
import { inspectSplit } from "./_inspect.ts";
import type { RingInspection } from "./inspection.ts";
import type { QueueAddresses } from "./virtqueue.ts";
import { SG_WORDS, type SgList, type Virtqueue, type VirtqueueOptions } from "./virtqueue.ts";

// Constants of this module: an imported name costs a load and a check on the hot path. Whole numbers stay 32
// bits wide there, by `<<`, `|` and `| 0`: of other sums V8 checks whether they overflow (bench/split_bench.ts).
/** Words (32 bits) of one descriptor. */
const DESC_WORDS = DESC.SIZE / 4;
/** Words of a descriptor, and of its shadow, as a shift; so `|` adds the place of a word. */
const SHIFT = 2;
/** Fields of the shadow of a descriptor. */
const Shadow = { NEXT: 0, TOKEN: 1, SLOTS: 2, WRITABLE: 3, WORDS: 4 } as const;
/** The bits that a token may have. */
const TOKEN_BITS = MAX_TOKEN;
/** End of the free list. */
const NONE = -1;

/** Options of {@linkcode SplitVirtqueue}. */
export interface SplitVirtqueueOptions extends VirtqueueOptions {
  /** One block with the used ring at this alignment (legacy); parts are packed closely without it. */
  readonly legacyAlign?: number | undefined;
}

/**
 * The driver's side of a split virtqueue (virtio 1.4 §2.7).
 *
 * The free list, chain lengths, tokens and writable sizes live in private arrays. Of the memory that the
 * device can write, the queue reads only used entries, the used index, flags and avail_event, and it checks
 * each of them.
 *
 * @example
 * ```ts
 * import { SgList, SplitVirtqueue } from "@vireo/drivers/core";
 * import { TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new TestDma();
 * let kicks = 0;
 * using queue = new SplitVirtqueue({
 *   index: 0,
 *   name: "requests",
 *   size: 4,
 *   dma,
 *   indirect: false,
 *   eventIdx: false,
 *   notificationData: false,
 *   notify: () => kicks++,
 * });
 * queue.add(new SgList(1).addWritable(0x1000, 64), 7);
 * queue.kick();
 * // No device is there, so nothing comes back.
 * assertEquals([kicks, queue.inFlight, queue.pop()], [1, 1, -1]);
 * assertEquals([queue.detachUnused(), queue.inFlight], [7, 0]);
 * ```
 */
export class SplitVirtqueue implements Virtqueue {
  // Fields that are numbers begin as one: V8 checks at each use of one that begins as undefined.

  /** Index on the device. */
  readonly index: number = 0;
  /** Name for messages and reports. */
  readonly name: string;
  /** Name of the device, for messages. */
  readonly device: string | undefined;
  /** Reads the device's status, for messages. */
  readonly status: (() => number) | undefined;
  /** Says what the machine knows of why the device does not answer. */
  readonly diagnose: (() => VireoError | undefined) | undefined;
  /** Ring size in descriptors. */
  readonly size: number = 0;
  /** The addresses of the parts, for the transport. */
  readonly addresses: QueueAddresses;
  /** Bytes that the device wrote to the last popped buffer, clamped to its size. */
  usedLength = 0;
  /** Free ring slots. */
  freeSlots: number = 0;
  /** Number of buffers that the device holds. */
  inFlight = 0;
  /** Whether kicks wait, while the device is suspended. */
  held = false;
  #broken: VireoError | undefined;

  readonly #mask: number = 0;
  readonly #ring: DmaRegion;
  readonly #tables: IndirectTables;
  readonly #desc: Uint32Array;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #usedEventAt: number = 0;
  readonly #availEventAt: number = 0;

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
   * Whether so many buffers were added since the last kick that the distance may wrap at 2^16, which a device
   * can cause by taking buffers before they are available. The next kick then notifies in any case.
   */
  #overdue = false;
  /** IN_ORDER: slot of the oldest buffer in flight, and the last of the batch of a used entry. */
  #oldest = 0;
  #batchEnd = NONE;
  #batchLength = 0;
  readonly #inOrder: boolean;
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
      throw badSize(options, "split", "a power of two from 1 to 32768");
    }
    this.index = index;
    this.name = options.name;
    this.size = size;
    this.#mask = size - 1;
    this.#inOrder = options.inOrder ?? false;
    this.#eventIdx = options.eventIdx;
    this.#notificationData = options.notificationData;
    this.#notify = options.notify;
    this.device = options.device;
    this.status = options.status;
    this.diagnose = options.diagnose;
    const align = options.legacyAlign ?? 4;
    const parts = splitRingLayout(size, align);
    // The formula of virtio 1.4 §2.7.2 aligns the end too.
    const ring = dma.alloc(alignUp(parts.totalSize, align), {
      align: Math.max(align, 16),
      coherent: true,
    });
    try {
      this.#tables = new IndirectTables(dma, size, options.indirect);
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
      again: () => this.#makeAvailableAgain(),
    };
    const { buffer, byteOffset } = ring.bytes;
    this.#desc = new Uint32Array(buffer, byteOffset, size * DESC_WORDS);
    this.#avail = new Uint16Array(buffer, byteOffset + parts.availOffset, parts.availSize / 2);
    const usedAt = byteOffset + parts.usedOffset;
    this.#used16 = new Uint16Array(buffer, usedAt, parts.usedSize / 2);
    this.#used32 = new Uint32Array(buffer, usedAt, 1 + 2 * size);
    this.#usedEventAt = 2 + size;
    this.#availEventAt = 2 + 4 * size;
    this.#shadow = new Int32Array(size * Shadow.WORDS);
    for (let i = 0; i < size; i++) {
      this.#shadow[i * Shadow.WORDS + Shadow.NEXT] = (i + 1) & this.#mask;
      this.#shadow[i * Shadow.WORDS + Shadow.TOKEN] = NONE;
    }
    this.freeSlots = size;
  }

  /** Why the queue is broken, if it is. */
  get broken(): VireoError | undefined {
    return this.#broken;
  }

  /** One for a chain in an indirect table, otherwise one an element. */
  slotsFor(elements: number): number {
    return this.#tables.slotsFor(elements);
  }

  /** Puts a chain into the ring; the device sees it at the next kick. See {@linkcode Virtqueue.add}. */
  add(chain: SgList, token: number): boolean {
    if (this.#broken !== undefined) throw cannotAdd(this);
    if ((token & TOKEN_BITS) !== token) throw badToken(token);
    const count = chain.readable + chain.writable;
    const head = this.#free;
    const { words } = chain;
    const shadow = this.#shadow;
    const at = head << SHIFT;
    let slots = 1;
    // Most chains are one element. Longer ones take a call, so that this stays small enough to be inlined
    // into the caller's loop (bench/split_bench.ts).
    if (count === 1 && this.freeSlots > 0) {
      const desc = this.#desc;
      // A descriptor has as many words as its shadow.
      desc[at] = words[0]!;
      desc[at | 1] = words[1]!;
      desc[at | 2] = words[2]!;
      desc[at | 3] = words[3]!;
      this.#free = shadow[at]!;
      shadow[at | Shadow.WRITABLE] = chain.writableLength;
    } else {
      slots = this.#addMany(head, chain);
      if (slots === 0) return false;
    }
    shadow[at | Shadow.TOKEN] = token;
    shadow[at | Shadow.SLOTS] = slots;
    this.freeSlots = (this.freeSlots - slots) | 0;
    this.inFlight = (this.inFlight + 1) | 0;
    const index = this.#availIndex;
    this.#avail[((index & this.#mask) + 2) | 0] = head;
    this.#availIndex = (index + 1) & 0xffff;
    return true;
  }

  /** Publishes the added buffers, and notifies the device if it wants that (virtio 1.4 §2.7.13). */
  kick(): void {
    const next = this.#availIndex;
    const old = this.#kicked;
    const overdue = this.#overdue;
    if ((next === old && !overdue) || this.#broken !== undefined || this.held) return;
    this.#kicked = next;
    this.#overdue = false;
    // Orders descriptors and entries before the index (drv.split-ring.update-idx.1); pairs with the
    // device's load of idx. It runs once a kick, because an atomic store is half of the cost of adding.
    Atomics.store(this.#avail, 1, next);
    // The store is sequentially consistent, so this load stays behind it (drv.split-ring.notify.1).
    const wanted = this.#eventIdx
      ? needEvent(loadAfterStore(this.#used16, this.#availEventAt), next, old)
      : (loadAfterStore(this.#used16, 0) & USED_NO_NOTIFY) === 0;
    if (wanted || overdue) this.#notify(this.index, this.#notificationData ? next : -1);
  }

  /** Notifies the device of the published buffers, even if it suppressed notifications. */
  kickAgain(): void {
    if (this.#broken === undefined && !this.held) {
      this.#notify(this.index, this.#notificationData ? this.#kicked : -1);
    }
  }

  /** Takes the next used buffer; see {@linkcode Virtqueue.pop}. */
  pop(): number {
    const last = this.#lastUsed;
    if (last === this.#usedSeen && !this.#look()) return NONE;
    if (this.#inOrder) return this.#popInOrder();
    const at = (last & this.#mask) << 1;
    const id = this.#used32[(at + 1) | 0]!;
    const length = this.#used32[(at + 2) | 0]!;
    const shadow = this.#shadow;
    const head = id << SHIFT;
    const token = shadow[head | Shadow.TOKEN]!;
    if (id > this.#mask || token === NONE) return this.#lie(id);
    const writable = shadow[head | Shadow.WRITABLE]! >>> 0;
    this.usedLength = length < writable ? length : writable;
    const next = this.#lastUsed = (last + 1) & 0xffff;
    const slots = shadow[head | Shadow.SLOTS]!;
    if (slots === 1) {
      shadow[head] = this.#free;
      shadow[head | Shadow.TOKEN] = NONE;
      this.#free = id;
      this.freeSlots = (this.freeSlots + 1) | 0;
      this.inFlight = (this.inFlight - 1) | 0;
    } else this.#release(id);
    // While callbacks are enabled, the device must interrupt for the next entry too.
    if (this.#eventIdx && this.#callbacks) {
      Atomics.store(this.#avail, this.#usedEventAt, next);
    }
    return token;
  }

  /** Number of added buffers that are not yet available. */
  get unkicked(): number {
    return (this.#availIndex - this.#kicked) & 0xffff;
  }

  /** The place of the next used buffer. */
  get popped(): number {
    return this.#lastUsed;
  }

  /** Whether a used buffer waits. */
  hasUsed(): boolean {
    return this.#broken === undefined && (this.#lastUsed !== this.#usedSeen || this.#look());
  }

  /** Whether the driver asks for interrupts. */
  get callbacks(): boolean {
    return this.#callbacks;
  }

  /** Suppresses interrupts (virtio 1.4 §2.7.7). */
  disableCallbacks(): void {
    if (!this.#callbacks || this.#broken !== undefined) return;
    this.#callbacks = false;
    // A hint needs no order, so no atomic store. With EVENT_IDX the event index is left behind, which no coming
    // entry passes for 2^16 entries.
    if (!this.#eventIdx) this.#avail[0] = AVAIL_NO_INTERRUPT;
    else this.#avail[this.#usedEventAt] = this.#lastUsed - 1;
  }

  /** Asks for an interrupt at the next used buffer; false if there already is one. */
  enableCallbacks(): boolean {
    if (this.#broken !== undefined) return true;
    this.#callbacks = true;
    if (this.#eventIdx) Atomics.store(this.#avail, this.#usedEventAt, this.#lastUsed);
    else Atomics.store(this.#avail, 0, 0);
    // The store is sequentially consistent: this load sees entries from before it, and later ones raise an
    // interrupt.
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

  /** Takes back one buffer after a reset; -1 if none is left. */
  detachUnused(): number {
    // Continues where the last call stopped, so that taking all back is one walk over the ring.
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
    // Makes pop() call #look(), which then finds nothing.
    this.#usedSeen = this.#lastUsed;
  }

  /** Shows the ring as it is now, beside what the driver knows itself. */
  inspect(): RingInspection {
    return inspectSplit(this, {
      desc: this.#desc,
      avail: this.#avail,
      used16: this.#used16,
      used32: this.#used32,
      shadow: this.#shadow,
      added: this.#availIndex,
      kicked: this.#kicked,
      taken: this.#lastUsed,
      eventIdx: this.#eventIdx,
      table: (head) => this.#tables.table(head),
    });
  }

  /** Frees the ring; the device must not use it any more. */
  [Symbol.dispose](): void {
    this.break(deleted(this));
    this.#tables[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
  }

  /** Reads the used index; false if it is unchanged or wrong. */
  /**
   * Has the entries from the used index on be all buffers in flight, in their order: of a buffer that others
   * overtook, the entry may have been overwritten.
   */
  #makeAvailableAgain(): number | undefined {
    if (this.#broken !== undefined) return undefined;
    const used = Atomics.load(this.#used16, 1);
    const waiting = (used - this.#lastUsed) & 0xffff;
    if (waiting > this.inFlight) return undefined;
    const shadow = this.#shadow;
    const held = new Set<number>();
    for (let head = 0; head < this.size; head++) {
      if (shadow[head * Shadow.WORDS + Shadow.TOKEN] !== NONE) held.add(head);
    }
    // Chains that are used and not popped yet are done.
    for (let i = 0; i < waiting; i++) {
      if (!held.delete(this.#used32[1 + 2 * ((this.#lastUsed + i) & this.#mask)]!)) {
        return undefined;
      }
    }
    const count = (this.#availIndex - used) & 0xffff;
    if (held.size !== count) return undefined;
    const order: number[] = [];
    for (let i = 1; i <= this.size && held.size > 0; i++) {
      const head = this.#avail[2 + ((this.#availIndex - i) & this.#mask)]!;
      if (held.delete(head)) order.push(head);
    }
    order.push(...held);
    for (const [i, head] of order.entries()) {
      this.#avail[2 + ((this.#availIndex - 1 - i) & this.#mask)] = head;
    }
    return used;
  }

  #look(): boolean {
    // Pairs with the device's store of idx: entries up to it are visible after this load.
    const seen = loadAcquire16(this.#used16, 1);
    const fresh = (seen - this.#lastUsed) & 0xffff;
    if (fresh === 0 || this.#broken !== undefined) return false;
    if (fresh > this.inFlight) {
      this.break(usedIndexJump(this, seen, fresh, this.inFlight));
      return false;
    }
    // At most `size` buffers are added between two looks, so the distance cannot wrap unseen.
    if (((this.#availIndex - this.#kicked) & 0xffff) >= MAX_QUEUE_SIZE) this.#overdue = true;
    this.#usedSeen = seen;
    return true;
  }

  #release(head: number): void {
    const shadow = this.#shadow;
    const at = head * Shadow.WORDS;
    const slots = shadow[at + Shadow.SLOTS]!;
    shadow[at + Shadow.TOKEN] = NONE;
    this.freeSlots += slots;
    this.inFlight--;
    // Under IN_ORDER slots are taken round the ring, in the order of the table (virtio 1.4 §2.7.9).
    if (this.#inOrder) return;
    let tail = at;
    for (let i = 1; i < slots; i++) tail = shadow[tail]! * Shadow.WORDS;
    shadow[tail] = this.#free;
    this.#free = head;
  }

  /** Adds a chain that is not one element with room; returns its number of slots, or 0 without enough room. */
  #addMany(head: number, chain: SgList): number {
    checkChain(this, chain);
    const { words, count, writableLength } = chain;
    const slots = this.slotsFor(count);
    if (slots > this.freeSlots) return 0;
    if (slots === 1) this.#addIndirect(head, words, count);
    else this.#addDirect(head, words, count);
    this.#shadow[head * Shadow.WORDS + Shadow.WRITABLE] = Math.min(writableLength, 0xffffffff);
    return slots;
  }

  /** One descriptor that refers to the slot's own table. */
  #addIndirect(head: number, words: Uint32Array, count: number): void {
    const address = this.#tables.fill(head, words, count, true);
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

  /** IN_ORDER: the oldest buffer; a used entry names it or a later one (virtio 1.4 §2.7.9). */
  #popInOrder(): number {
    const shadow = this.#shadow;
    const last = this.#lastUsed;
    if (this.#batchEnd === NONE) {
      const at = 1 + 2 * (last & this.#mask);
      const end = this.#used32[at]!;
      if (end >= this.size || shadow[end * Shadow.WORDS + Shadow.TOKEN] === NONE) {
        return this.#lie(end);
      }
      this.#batchEnd = end;
      this.#batchLength = this.#used32[at + 1]!;
    }
    const id = this.#oldest;
    const head = id * Shadow.WORDS;
    const token = shadow[head + Shadow.TOKEN]!;
    const writable = shadow[head + Shadow.WRITABLE]! >>> 0;
    // The buffers before the last one of a batch were written to their end.
    this.usedLength = writable;
    const next = this.#lastUsed = (last + 1) & 0xffff;
    if (id === this.#batchEnd) {
      this.#batchEnd = NONE;
      this.usedLength = Math.min(this.#batchLength, writable);
    } else if (next === this.#usedSeen && !this.#look()) {
      // The index covers fewer buffers than the entry.
      return this.#lie(this.#batchEnd);
    }
    this.#oldest = (id + shadow[head + Shadow.SLOTS]!) & this.#mask;
    this.#release(id);
    if (this.#eventIdx && this.#callbacks) Atomics.store(this.#avail, this.#usedEventAt, next);
    return token;
  }

  /** Breaks the queue because of a wrong used entry. */
  #lie(id: number): number {
    this.break(usedIdLie(this, this.#lastUsed, id));
    return NONE;
  }
}
