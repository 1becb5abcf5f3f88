import {
  DescFlag,
  type DmaRegion,
  EVENT_SUPPRESS,
  loadAcquire,
  loadAfterStore,
  MAX_QUEUE_SIZE,
  needPackedEvent,
  PACKED_DESC,
  PackedDescFlag,
  RING_EVENT_WRAP,
  RingEvent,
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
} from "./_errors.ts";
import { IndirectTables } from "./_indirect.ts";
import { inspectPacked } from "./_inspect.ts";
import type { RingInspection } from "./inspection.ts";
import type { QueueAddresses } from "./virtqueue.ts";
import { SG_WORDS, type SgList, type Virtqueue, type VirtqueueOptions } from "./virtqueue.ts";

// Constants of this module: an imported name costs a load and a check on the hot path. Whole numbers stay 32
// bits wide there, by `<<`, `|` and `| 0`: of other sums V8 checks whether they overflow (bench/packed_bench.ts).
/** Words (32 bits) of a descriptor. */
const DESC_WORDS = PACKED_DESC.SIZE / 4;
/** Words of a descriptor, and of the shadow of an id, as a shift; so `|` adds the place of a word. */
const SHIFT = 2;
const AVAIL = PackedDescFlag.AVAIL;
/** The two flags that say which side owns a descriptor. */
const AVAIL_USED = PackedDescFlag.AVAIL | PackedDescFlag.USED;
const { ENABLE, DISABLE, DESC } = RingEvent;
/** Fields of the shadow of a buffer id. */
const Shadow = { NEXT: 0, TOKEN: 1, SLOTS: 2, WRITABLE: 3, WORDS: 4 } as const;
/** The bits that a token may have. */
const TOKEN_BITS = MAX_TOKEN;
/** No id, no token. */
const NONE = -1;
/** A value that AVAIL and USED of a descriptor cannot have. */
const NEVER = -1;

/**
 * The driver's side of a packed virtqueue (virtio 1.4 §2.8).
 *
 * Free ids, chain lengths, tokens and writable sizes live in a private array. Of the memory that the device
 * can write, the queue reads only used descriptors, each of which it checks, and the device's event
 * suppression structure.
 *
 * As in Linux, the length of a used descriptor counts even without its WRITE flag: against virtio 1.4
 * §2.8.4, QEMU never sets that flag.
 *
 * @example
 * ```ts
 * import { PackedVirtqueue, SgList } from "@vireo/drivers/core";
 * import { TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new PackedVirtqueue({
 *   index: 0,
 *   name: "requests",
 *   size: 7,
 *   dma: new TestDma(),
 *   indirect: false,
 *   eventIdx: false,
 *   notificationData: false,
 *   notify: () => {},
 * });
 * const chain = new SgList(2).addReadable(0x1000, 16).addWritable(0x2000, 64);
 * assertEquals([queue.add(chain, 7), queue.freeSlots, queue.inFlight], [true, 5, 1]);
 * ```
 */
export class PackedVirtqueue implements Virtqueue {
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

  readonly #ring: DmaRegion;
  readonly #tables: IndirectTables;
  /** Signed: the queue loads and stores id and flags of a descriptor as one word. */
  readonly #words: Int32Array;
  /** The driver's event suppression structure, and the device's: place, flags. */
  readonly #ask16: Uint16Array;
  readonly #asked16: Uint16Array;

  /**
   * Four words a buffer id, in one array because every buffer needs them all: the next free id, or
   * under IN_ORDER the id that was added after; the driver's token (NONE if it is not in flight), its
   * ring slots, and the bytes that the device may write.
   */
  readonly #shadow: Int32Array;
  #free = 0;
  /** Place of the next descriptor to make available, and AVAIL and USED that make it so. */
  #next = 0;
  #available: number = AVAIL;
  /** Descriptors written since the last kick; index and value of the word that publishes them. */
  #pending = 0;
  #firstAt = 0;
  #first = 0;
  /** Place of the next used descriptor, and what its AVAIL and USED are then; NEVER once broken. */
  #used = 0;
  #usedFlags: number = AVAIL_USED;
  #callbacks = true;
  #mode: number = ENABLE;
  #detachAt = 0;
  /** IN_ORDER: first and last id in flight, and the last id of the batch of one used descriptor. */
  #oldest = NONE;
  #newest = NONE;
  #batchEnd = NONE;
  #batchLength = 0;
  readonly #inOrder: boolean;
  readonly #eventIdx: boolean;
  readonly #notificationData: boolean;
  readonly #notify: (index: number, data: number) => void;

  /**
   * Allocates a queue, empty, with callbacks enabled.
   *
   * @throws {VireoError} `QUEUE_SIZE` If the size is not from 1 to 32768; `OUT_OF_MEMORY` If the machine
   * has no room.
   */
  constructor(options: VirtqueueOptions) {
    const { index, size, dma } = options;
    if (!Number.isInteger(size) || size < 1 || size > MAX_QUEUE_SIZE) {
      throw badSize(options, "packed", "a whole number from 1 to 32768");
    }
    this.index = index;
    this.name = options.name;
    this.device = options.device;
    this.status = options.status;
    this.diagnose = options.diagnose;
    this.size = size;
    this.#inOrder = options.inOrder ?? false;
    this.#eventIdx = options.eventIdx;
    this.#notificationData = options.notificationData;
    this.#notify = options.notify;
    const descBytes = size * PACKED_DESC.SIZE;
    const ring = dma.alloc(descBytes + 2 * EVENT_SUPPRESS.SIZE, { align: 16, coherent: true });
    try {
      this.#tables = new IndirectTables(dma, size, options.indirect);
    } catch (error) {
      ring[Symbol.dispose]();
      throw error;
    }
    this.#ring = ring;
    const driver = ring.address + descBytes;
    this.addresses = { size, desc: ring.address, driver, device: driver + EVENT_SUPPRESS.SIZE };
    const { buffer, byteOffset } = ring.bytes;
    this.#words = new Int32Array(buffer, byteOffset, size * DESC_WORDS);
    this.#ask16 = new Uint16Array(buffer, byteOffset + descBytes, 2);
    this.#asked16 = new Uint16Array(buffer, byteOffset + descBytes + EVENT_SUPPRESS.SIZE, 2);
    this.#shadow = new Int32Array(size * Shadow.WORDS);
    for (let i = 0; i < size; i++) {
      this.#shadow[i * Shadow.WORDS + Shadow.NEXT] = i + 1;
      this.#shadow[i * Shadow.WORDS + Shadow.TOKEN] = NONE;
    }
    this.freeSlots = size;
    if (this.#eventIdx) this.#askHere();
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
    const { words } = chain;
    const shadow = this.#shadow;
    const id = this.#free;
    const head = id << SHIFT;
    let slots = 1;
    // As in a split queue: most chains are one element; longer ones take a call.
    if (chain.readable + chain.writable === 1 && this.freeSlots > 0) {
      this.#put(id, words[0]!, words[1]!, words[2]!, words[3]!, this.#pending === 0);
      shadow[head | Shadow.WRITABLE] = chain.writableLength;
    } else {
      slots = this.#addMany(id, chain);
      if (slots === 0) return false;
    }
    shadow[head | Shadow.TOKEN] = token;
    shadow[head | Shadow.SLOTS] = slots;
    this.#free = shadow[head]!;
    if (this.#inOrder) this.#enqueue(id);
    this.#pending = (this.#pending + slots) | 0;
    this.freeSlots = (this.freeSlots - slots) | 0;
    this.inFlight = (this.inFlight + 1) | 0;
    return true;
  }

  /** Publishes the added buffers, and notifies the device if it wants that (virtio 1.4 §2.8.21). */
  kick(): void {
    const pending = this.#pending;
    if (pending === 0 || this.#broken !== undefined || this.held) return;
    this.#pending = 0;
    // Orders all other writes before the flags of the first descriptor, at which the device stops
    // (drv.packed-ring.update-flags.1). It runs once a kick.
    Atomics.store(this.#words, this.#firstAt, this.#first);
    // The store is sequentially consistent, so this load stays behind it.
    const mode = loadAfterStore(this.#asked16, 1) & 3;
    if (mode === DISABLE) return;
    const wrap = this.#available === AVAIL ? 1 : 0;
    // DESC without the feature, and the reserved mode: an extra notification is better than a lost one.
    if (mode === DESC && this.#eventIdx) {
      const event = loadAfterStore(this.#asked16, 0);
      if (!needPackedEvent(event, this.#next, wrap, pending, this.size)) return;
    }
    this.#notify(this.index, this.#notificationData ? this.#next | wrap << 15 : -1);
  }

  /** Notifies the device of the published buffers, even if it suppressed notifications. */
  kickAgain(): void {
    // The notification names the place after the last published descriptor.
    this.kick();
    if (this.#broken !== undefined || this.held) return;
    const wrap = this.#available === AVAIL ? 1 : 0;
    this.#notify(this.index, this.#notificationData ? this.#next | wrap << 15 : -1);
  }

  /** Takes the next used buffer; see {@linkcode Virtqueue.pop}. */
  pop(): number {
    if (this.#inOrder) return this.#popInOrder();
    const at = this.#used << SHIFT;
    // Pairs with the device's store of flags: the id and the length are visible after this load.
    const word = loadAcquire(this.#words, at | 3);
    if ((word >>> 16 & AVAIL_USED) !== this.#usedFlags) return NONE;
    const id = word & 0xffff;
    const head = id << SHIFT;
    const shadow = this.#shadow;
    const token = shadow[head | Shadow.TOKEN]!;
    if (id >= this.size || token === NONE) return this.#lie(id);
    const length = this.#words[at | 2]! >>> 0;
    const writable = shadow[head | Shadow.WRITABLE]! >>> 0;
    this.usedLength = length < writable ? length : writable;
    this.#release(id, head);
    // While callbacks are enabled, the device must interrupt for the next buffer too.
    if (this.#mode === DESC) this.#askHere();
    return token;
  }

  /** Number of added descriptors that are not yet available. */
  get unkicked(): number {
    return this.#pending;
  }

  /** The place of the next used buffer, with the wrap counter above it. */
  get popped(): number {
    return this.#used | this.#usedFlags << 16;
  }

  /** Whether a used buffer waits. */
  hasUsed(): boolean {
    if (this.#batchEnd !== NONE) return this.#broken === undefined;
    const word = loadAcquire(this.#words, this.#used * DESC_WORDS + 3);
    return (word >>> 16 & AVAIL_USED) === this.#usedFlags;
  }

  /** Whether the driver asks for interrupts. */
  get callbacks(): boolean {
    return this.#callbacks;
  }

  /** Suppresses interrupts (virtio 1.4 §2.8.10). */
  disableCallbacks(): void {
    if (!this.#callbacks || this.#broken !== undefined) return;
    this.#callbacks = false;
    this.#mode = DISABLE;
    // A hint needs no order, so no atomic store.
    this.#ask16[1] = DISABLE;
  }

  /** Asks for an interrupt at the next used buffer; false if there already is one. */
  enableCallbacks(): boolean {
    if (this.#broken !== undefined) return true;
    this.#callbacks = true;
    if (this.#eventIdx) this.#askHere();
    else this.#setMode(ENABLE);
    // The store is sequentially consistent: this load sees descriptors that were used before it, and later
    // ones raise an interrupt.
    return !this.#usedNow();
  }

  /** Asks for an interrupt when three quarters of the buffers in flight are used. */
  enableCallbacksDelayed(): boolean {
    if (!this.#eventIdx || this.#broken !== undefined) return this.enableCallbacks();
    this.#callbacks = true;
    const place = this.#used + (((this.size - this.freeSlots) * 3) >>> 2);
    const wrapped = place >= this.size;
    const wrap = (this.#usedFlags === AVAIL_USED) !== wrapped;
    this.#askAt(wrapped ? place - this.size : place, wrap);
    // One place does not show which of several buffers was used last, so any use is a reason to look.
    return !this.#usedNow();
  }

  /** Takes back one buffer after a reset; -1 if none is left. */
  detachUnused(): number {
    // Continues where the last call stopped, so that taking all back is one walk over the ids.
    while (this.inFlight > 0) {
      const id = this.#detachAt;
      this.#detachAt = (id + 1) % this.size;
      const head = id * Shadow.WORDS;
      const token = this.#shadow[head + Shadow.TOKEN]!;
      if (token === NONE) continue;
      this.#release(id, head);
      return token;
    }
    return NONE;
  }

  /** Marks the queue broken; the first reason stays. */
  break(reason: VireoError): void {
    this.#broken ??= reason;
    this.#usedFlags = NEVER;
  }

  /** Shows the ring as it is now, beside what the driver knows itself. */
  inspect(): RingInspection {
    return inspectPacked(this, {
      words: this.#words,
      ask16: this.#ask16,
      asked16: this.#asked16,
      shadow: this.#shadow,
      added: this.#next,
      kicked: (this.#next - this.#pending + this.size) % this.size,
      taken: this.#used,
      usedFlags: this.#usedFlags,
      table: (id) => this.#tables.table(id),
    });
  }

  /** Frees the ring; the device must not use it any more. */
  [Symbol.dispose](): void {
    this.break(deleted(this));
    this.#tables[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
  }

  /** Writes the next descriptor. For the first one of a kick, the kick writes id and flags. */
  #put(
    id: number,
    low: number,
    high: number,
    length: number,
    flags: number,
    first: boolean,
  ): void {
    const at = this.#next << SHIFT;
    const words = this.#words;
    words[at] = low;
    words[at | 1] = high;
    words[at | 2] = length;
    flags |= this.#available;
    if (first) {
      this.#firstAt = at | 3;
      this.#first = id | flags << 16;
    } else words[at | 3] = id | flags << 16;
    const next = (this.#next + 1) | 0;
    if (next === this.size) {
      this.#next = 0;
      this.#available ^= AVAIL_USED;
    } else this.#next = next;
  }

  /** Adds a chain that is not one element with room; returns its number of slots, or 0 without enough room. */
  #addMany(id: number, chain: SgList): number {
    checkChain(this, chain);
    const { words, count } = chain;
    const slots = this.slotsFor(count);
    if (slots > this.freeSlots) return 0;
    const first = this.#pending === 0;
    if (slots === 1) {
      const table = this.#tables.fill(id, words, count, false);
      const bytes = count * PACKED_DESC.SIZE;
      this.#put(id, table, table / 2 ** 32, bytes, DescFlag.INDIRECT, first);
    } else {
      for (let i = 0; i < count; i++) {
        const from = i * SG_WORDS;
        const flags = words[from + 3]! | (i + 1 < count ? DescFlag.NEXT : 0);
        this.#put(id, words[from]!, words[from + 1]!, words[from + 2]!, flags, first && i === 0);
      }
    }
    this.#shadow[id * Shadow.WORDS + Shadow.WRITABLE] = Math.min(chain.writableLength, 0xffffffff);
    return slots;
  }

  /** Frees the id of a used buffer. */
  #release(id: number, head: number): void {
    const shadow = this.#shadow;
    const slots = shadow[head | Shadow.SLOTS]!;
    shadow[head] = this.#free;
    shadow[head | Shadow.TOKEN] = NONE;
    this.#free = id;
    this.freeSlots = (this.freeSlots + slots) | 0;
    this.inFlight = (this.inFlight - 1) | 0;
    const used = (this.#used + slots) | 0;
    if (used < this.size) this.#used = used;
    else {
      this.#used = used - this.size;
      if (this.#usedFlags !== NEVER) this.#usedFlags ^= AVAIL_USED;
    }
  }

  /** IN_ORDER: notes that an id was added after the others. */
  #enqueue(id: number): void {
    if (this.inFlight === 0) this.#oldest = id;
    else this.#shadow[this.#newest * Shadow.WORDS] = id;
    this.#newest = id;
  }

  /** IN_ORDER: the oldest buffer, if a used descriptor names it or a later one (§2.8.9). */
  #popInOrder(): number {
    const shadow = this.#shadow;
    if (this.#batchEnd === NONE) {
      if (!this.hasUsed()) return NONE;
      const at = this.#used * DESC_WORDS;
      const end = this.#words[at + 3]! & 0xffff;
      if (end >= this.size || shadow[end * Shadow.WORDS + Shadow.TOKEN] === NONE) {
        return this.#lie(end);
      }
      this.#batchEnd = end;
      this.#batchLength = this.#words[at + 2]! >>> 0;
    } else if (this.#broken !== undefined) return NONE;
    const id = this.#oldest;
    const head = id * Shadow.WORDS;
    const token = shadow[head + Shadow.TOKEN]!;
    const writable = shadow[head + Shadow.WRITABLE]! >>> 0;
    this.#oldest = shadow[head]!;
    // The buffers before the last one of a batch were written to their end.
    this.usedLength = writable;
    if (id === this.#batchEnd) {
      this.#batchEnd = NONE;
      this.usedLength = Math.min(this.#batchLength, writable);
    }
    this.#release(id, head);
    if (this.#mode === DESC) this.#askHere();
    return token;
  }

  /** As `hasUsed`, for a call right after an atomic store, behind which the load stays. */
  #usedNow(): boolean {
    if (this.#batchEnd !== NONE) return true;
    const word = loadAcquire(this.#words, this.#used * DESC_WORDS + 3);
    return (word >>> 16 & AVAIL_USED) === this.#usedFlags;
  }

  /** Asks for an interrupt when the next descriptor is used. */
  #askHere(): void {
    this.#askAt(this.#used, this.#usedFlags === AVAIL_USED);
  }

  #askAt(place: number, wrap: boolean): void {
    Atomics.store(this.#ask16, 0, wrap ? place | RING_EVENT_WRAP : place);
    // After the place that it refers to.
    if (this.#mode !== DESC) this.#setMode(DESC);
  }

  #setMode(mode: number): void {
    this.#mode = mode;
    Atomics.store(this.#ask16, 1, mode);
  }

  /** Breaks the queue because of a wrong used descriptor. */
  #lie(id: number): number {
    this.break(usedIdLie(this, this.#used, id));
    return NONE;
  }
}
