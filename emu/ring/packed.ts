import {
  DescFlag,
  EVENT_SUPPRESS,
  loadAcquire,
  loadAcquire16,
  PACKED_DESC,
  PackedDescFlag,
  RING_EVENT_OFFSET,
} from "@vireo/hal";
import type { Chain } from "../device.ts";
import type { GuestMemory } from "../memory.ts";
import { type Forbidden, type RingFault, ringFault } from "./_fault.ts";
import { RingChain } from "./chain.ts";
import { Copier } from "./copier.ts";
import { addressAt, appendTable } from "./packed_table.ts";
import { EventSuppression } from "./event_suppression.ts";
import { InOrder } from "./in_order.ts";
import type { InflightLog } from "./inflight.ts";
import type { PackedPosition } from "./position.ts";
import type { RunningQueue, RunningQueueOptions } from "./queue_config.ts";

// Constants of this module: an imported name costs a load and a check on the hot path. Whole numbers stay 32
// bits wide there, by `<<`, `|` and `| 0`: of other sums V8 checks whether they overflow (packed_bench.ts).
/** Words (32 bits) of a descriptor. */
const DESC_WORDS = PACKED_DESC.SIZE / 4;
/** The same as a shift; so `|` adds the place of a word. */
const SHIFT = 2;
/** 16-bit words of a descriptor before its flags. */
const FLAGS16 = PACKED_DESC.flags.offset / 2;
/** The two flags that say which side owns a descriptor. */
const AVAIL_USED = PackedDescFlag.AVAIL | PackedDescFlag.USED;
const AVAIL = PackedDescFlag.AVAIL;
const USED = PackedDescFlag.USED;
const NEXT_OR_INDIRECT = DescFlag.NEXT | DescFlag.INDIRECT;
const WRITE = DescFlag.WRITE;
/** A value that AVAIL and USED of a descriptor cannot have. */
const NEVER = -1;
const OFFSET = RING_EVENT_OFFSET;
/** Chains are counted modulo this, a power of two, so that the count stays a small integer and never becomes an object. */
const AGES = 2 ** 30;

/** The device's side of a running packed virtqueue (virtio 1.4 §2.8), written from the specification. */
export class PackedQueue implements RunningQueue {
  // Fields that are numbers begin as one: V8 checks at each use of one that begins as undefined.

  /** Index of the queue on its device. */
  readonly index: number = 0;
  /** Size in descriptors. */
  readonly size: number = 0;
  readonly #options: RunningQueueOptions;
  readonly #fault: RingFault;
  readonly #memory: GuestMemory;
  readonly #copier: Copier;
  // Views of the ring alone: a place in memory may have more than 32 bits, one in the ring has not.
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  /** The same, signed: the queue loads and stores id and flags of a descriptor as one such word. */
  readonly #signed32: Int32Array;
  readonly #events: EventSuppression;
  readonly #eventIdx: boolean;
  /** By buffer id: 1 until the chain is used. */
  readonly #ids: Uint8Array = new Uint8Array(0x1_0000);
  readonly #order: InOrder | undefined;
  readonly #inflight: InflightLog | undefined;
  readonly #freeId = (id: number): void => {
    this.#ids[id] = 0;
    this.#inflight?.used(id);
  };
  /** All chain objects so far, at most as many as the queue has descriptors. */
  readonly #chains: RingChain[] = [];
  /** The free ones, except the last one used: that is next, because it is still in the cache. */
  readonly #pool: RingChain[] = [];
  #spare: RingChain | undefined;
  /** Place of the next available descriptor, and its AVAIL and USED once it is available. */
  #next = 0;
  #available: number = AVAIL;
  /** `#available`; {@linkcode NEVER} while pop must look elsewhere first. */
  #expected: number = AVAIL;
  /** Where the next used descriptor goes, and its AVAIL and USED. */
  #used = 0;
  #usedFlags: number = AVAIL_USED;
  /** Number of descriptors that the device holds. */
  #inUse = 0;
  /** Descriptors used since the last signal; index and value of the word that publishes them. */
  #fresh = 0;
  #firstAt = 0;
  #first = 0;
  #taken = 0;
  #notifyOn = true;
  #stopped = false;
  /** Chains that the device held at the snapshot. */
  #again: RingChain[] = [];

  /** Starts a queue whose geometry `checkPackedGeometry` accepted. */
  constructor(options: RunningQueueOptions) {
    const { geometry, memory } = options;
    this.index = options.index;
    this.size = geometry.size;
    this.#options = options;
    this.#fault = ringFault(options);
    this.#memory = memory;
    this.#copier = new Copier(memory);
    const { buffer } = memory.bytes;
    const bytes = PACKED_DESC.SIZE * geometry.size;
    const at = memory.offset(geometry.desc, bytes);
    this.#words16 = new Uint16Array(buffer, at, bytes / 2);
    this.#words32 = new Uint32Array(buffer, at, bytes / 4);
    this.#signed32 = new Int32Array(buffer, at, bytes / 4);
    this.#events = new EventSuppression(
      memory.words16,
      memory.offset(geometry.avail, EVENT_SUPPRESS.SIZE) / 2,
      memory.offset(geometry.used, EVENT_SUPPRESS.SIZE) / 2,
      options.eventIdx,
    );
    this.#eventIdx = options.eventIdx;
    this.#inflight = options.inflight;
    this.#order = options.inOrder ? new InOrder(this.size, options.batchUsed) : undefined;
  }

  /** Whether a chain is available; false once the queue stopped. */
  hasAvailable(): boolean {
    const word = loadAcquire(this.#signed32, this.#next << SHIFT | 3);
    return (word >>> 16 & AVAIL_USED) === this.#expected || this.#again.length > 0 || this.#look();
  }

  /** Takes the next available chain, fully checked; a malformed chain is a fault and gives undefined. */
  pop(): Chain | undefined {
    const next = this.#next;
    const at = next << SHIFT;
    // Pairs with the driver's store of flags: what it wrote before is visible after this load.
    const word = loadAcquire(this.#signed32, at | 3);
    const flags = word >>> 16;
    if ((flags & AVAIL_USED) !== this.#expected) return this.#popLate();
    const words = this.#words32;
    const id = word & 0xffff;
    const bytes = words[at | 2]!;
    const memory = this.#memory;
    const offset = words[at]! - memory.base;
    // As in a split queue: most chains are one descriptor below 4 GiB; #walk takes all others.
    if (
      (flags & NEXT_OR_INDIRECT) === 0 && words[at | 1] === 0 && this.#ids[id] === 0 &&
      this.#inUse < this.size && offset >= 0 && offset + bytes <= memory.size
    ) {
      const chain = this.#spare ?? this.#newChain();
      this.#spare = undefined;
      chain.single(offset, bytes, (flags & WRITE) !== 0);
      this.#hand(chain, id, next, 1);
      return chain;
    }
    return this.#walk();
  }

  /**
   * Returns a chain; the driver sees it after `signal`. The queue ignores a chain from before a reset and
   * a chain that was already pushed.
   *
   * @param written Bytes written from the first writable byte; the chain's own count by default.
   */
  push(chain: Chain, written: number = chain.written): void {
    const own = chain as RingChain;
    if (this.#stopped || !own.held || own.owner !== this) return;
    own.held = false;
    if (this.#spare === undefined) this.#spare = own;
    else this.#pool.push(own);
    // The rare case is a call, so that the rest stays small enough to be inlined (packed_bench.ts).
    if (this.#order !== undefined && this.#waits(this.#order, own, written)) return;
    this.#ids[own.head] = 0;
    this.#inflight?.used(own.head);
    this.#use(own.head, written, own.descriptors);
  }

  /** Notes a chain that must wait for older ones. The oldest waits only for chains that may share its entry. */
  #waits(order: InOrder, chain: RingChain, written: number): boolean {
    if (chain.start === this.#used && !order.batch) return false;
    const full = written === chain.writableLength;
    order.complete(chain.start, chain.head, chain.descriptors, written, full);
    return true;
  }

  /** Returns several chains; the driver sees all of them at once. */
  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    // The driver stops at the first chain, whose flags signal() writes (virtio 1.4 §2.8.9).
    for (let i = 0; i < chains.length; i++) this.push(chains[i]!, written[i]!);
  }

  /** Publishes the pushed chains, and interrupts the driver unless it suppressed that. */
  signal(): void {
    if (this.#stopped) return;
    if (this.#order !== undefined) this.#useInOrder(this.#order);
    const fresh = this.#fresh;
    if (fresh === 0) return;
    this.#fresh = 0;
    const wrap = this.#usedFlags === AVAIL_USED ? 1 : 0;
    this.#inflight?.publishing?.(this.#used | wrap << 15);
    // Orders the ids and lengths, and all used descriptors after the first, before its flags.
    Atomics.store(this.#signed32, this.#firstAt, this.#first);
    this.#inflight?.published(this.#used | wrap << 15);
    // The store above is sequentially consistent: later loads stay behind it, so no interrupt is lost.
    if (this.#events.interruptWanted(this.#used, wrap, fresh, this.size)) this.#options.interrupt();
  }

  /** Asks the driver to send or to omit notifications of new buffers. */
  setNotify(enabled: boolean): void {
    if (this.#stopped || this.#notifyOn === enabled) return;
    this.#notifyOn = enabled;
    if (enabled && this.#eventIdx) this.#askHere();
    else this.#events.ask(enabled);
  }

  /** Stops the queue for good: `pop` returns nothing, and `push` does nothing. */
  stop(): void {
    this.#stopped = true;
    this.#expected = NEVER;
    this.#again = [];
  }

  /**
   * Returns what is wrong with the position in a notification's data; undefined if it may be right.
   *
   * @param position Offset of the next descriptor that the driver will write, and its wrap counter in bit 15.
   */
  notificationProblem(position: number): string | undefined {
    const offset = position & OFFSET;
    if (offset >= this.size) return `offset ${offset} is outside a ring of ${this.size}`;
    const wrap = this.#available === AVAIL ? 1 : 0;
    const ahead = offset - this.#next + (position >>> 15 === wrap ? 0 : this.size);
    // A late notification names a place behind.
    if (ahead <= 0 || ahead > this.size || this.#expected === NEVER) return undefined;
    // The driver made the last descriptor before it available, in this round of the ring or the next.
    const last = (offset + this.size - 1) % this.size;
    const flags = last < this.#next ? this.#available ^ AVAIL_USED : this.#available;
    const at = 2 * last * DESC_WORDS + FLAGS16;
    if ((Atomics.load(this.#words16, at) & AVAIL_USED) === flags) return undefined;
    return `offset ${offset} is ${ahead} ahead of what is available`;
  }

  /** The queue's position. */
  position(): PackedPosition {
    const age = (chain: RingChain): number => (this.#taken - chain.takenAt + AGES) % AGES;
    const held = this.#chains.filter((chain) => chain.held);
    held.sort((a, b) => age(b) - age(a));
    return {
      ring: "packed",
      next: this.#next | (this.#available === AVAIL ? 0x8000 : 0),
      used: this.#used | (this.#usedFlags === AVAIL_USED ? 0x8000 : 0),
      fresh: this.#fresh,
      first: this.#first,
      held: held.map((chain) => ({
        id: chain.head,
        start: chain.start,
        descriptors: chain.descriptors,
        elements: chain.elements(),
      })),
      completed: this.#order?.waiting() ?? [],
    };
  }

  /**
   * Continues from a position. `pop` first returns the held chains again, in order. Their elements come
   * from the position, because used descriptors may have overwritten those in the ring.
   *
   * @throws {RangeError} If the position belongs to another ring.
   */
  resume(position: PackedPosition): void {
    const wrong = (what: string): never => {
      throw new RangeError(`Cannot resume queue ${this.index}: its position has ${what}`);
    };
    const { size } = this;
    this.#next = position.next & OFFSET;
    this.#used = position.used & OFFSET;
    if (this.#next >= size || this.#used >= size) wrong(`a place outside the ring of ${size}`);
    if (!(position.fresh >= 0 && position.fresh <= size)) {
      wrong(`${position.fresh} unpublished descriptors in a ring of ${size}`);
    }
    this.#available = (position.next & 0x8000) !== 0 ? AVAIL : USED;
    this.#usedFlags = (position.used & 0x8000) !== 0 ? AVAIL_USED : 0;
    this.#fresh = position.fresh;
    this.#first = position.first;
    const first = (this.#used - position.fresh + size) % size;
    this.#firstAt = first * DESC_WORDS + 3;
    for (const { id, start, descriptors, elements } of position.held) {
      const chain = this.#newChain();
      chain.clear();
      if (elements.length > size || start >= size) wrong("a chain of another ring");
      for (const [offset, length, writable] of elements) {
        if (offset < 0 || length < 0 || offset + length > this.#memory.bytes.length) {
          wrong("an element outside guest memory");
        }
        chain.append(offset, length, writable);
      }
      chain.finish();
      this.#note(chain, id, start, descriptors);
      this.#again.push(chain);
    }
    for (const { at, id, places, written, full } of position.completed) {
      if (this.#order === undefined || at >= size) return wrong("chains of another ring");
      this.#order.complete(at, id, places, written, full);
      this.#ids[id] = 1;
      this.#inUse += places;
    }
    if (this.#inUse > size) wrong(`${this.#inUse} descriptors in a ring of ${size}`);
    this.#expected = this.#again.length > 0 ? NEVER : this.#available;
  }

  /** Looks for a descriptor again, after it told the driver where the device is. */
  #look(): boolean {
    if (this.#stopped) return false;
    // The load finds a descriptor that the driver added before it saw the store; it notifies of later ones.
    if (this.#eventIdx && this.#notifyOn) this.#askHere();
    const at = 2 * this.#next * DESC_WORDS + FLAGS16;
    return (loadAcquire16(this.#words16, at) & AVAIL_USED) === this.#available;
  }

  /** Asks for a notification when the driver makes the next descriptor available. */
  #askHere(): void {
    this.#events.askAt(this.#next, this.#available === AVAIL ? 1 : 0);
  }

  /** Takes a chain again after a snapshot, or looks once more. */
  #popLate(): RingChain | undefined {
    if (this.#again.length > 0) return this.#takeAgain();
    return this.#look() ? this.#walk() : undefined;
  }

  #takeAgain(): RingChain {
    const chain = this.#again.shift()!;
    if (this.#again.length === 0) this.#expected = this.#available;
    return chain;
  }

  /** Writes a used descriptor. Of the first unpublished one, it leaves id and flags for `signal`. */
  #use(id: number, written: number, descriptors: number): void {
    const at = this.#used << SHIFT;
    const flags = this.#usedFlags | (written > 0 ? WRITE : 0);
    this.#signed32[at | 2] = written | 0;
    if (this.#fresh === 0) {
      this.#firstAt = at | 3;
      this.#first = id | flags << 16;
    } else this.#signed32[at | 3] = id | flags << 16;
    this.#fresh = (this.#fresh + descriptors) | 0;
    this.#inUse = (this.#inUse - descriptors) | 0;
    const used = (this.#used + descriptors) | 0;
    if (used < this.size) this.#used = used;
    else {
      this.#used = used - this.size;
      this.#usedFlags ^= AVAIL_USED;
    }
  }

  #useInOrder(order: InOrder): void {
    for (;;) {
      const descriptors = order.take(this.#used, this.#freeId);
      if (descriptors === 0) return;
      this.#use(order.id, order.written, descriptors);
    }
  }

  /** Walks the chain of any form at the next descriptor, which is available. */
  #walk(): RingChain | undefined {
    const chain = this.#newChain();
    chain.clear();
    const words = this.#words32;
    const free = this.size - this.#inUse;
    const start = this.#next;
    let place = start;
    let expected = this.#available;
    let count = 0;
    for (;;) {
      // The device holds all other descriptors, so the driver made some available twice.
      if (++count > free) {
        return this.#fault(
          "a chain is longer than the free part of the queue",
          ["2.8.17", "drv.packed-ring.sg.2"],
          start,
        );
      }
      const at = place * DESC_WORDS;
      const idFlags = words[at + 3]!;
      const flags = idFlags >>> 16;
      if ((flags & AVAIL_USED) !== expected) {
        return this.#fault(
          `descriptor ${place} of a chain is not available`,
          ["2.8.17", "drv.packed-ring.sg.6"],
          place,
        );
      }
      const address = addressAt(words, at);
      const bytes = words[at + 2]!;
      let wrong: string | undefined;
      let clause: Forbidden = "2.8.19";
      if ((flags & DescFlag.INDIRECT) === 0) {
        wrong = chain.tryAppend(address, bytes, flags);
        clause = wrong?.startsWith("a readable") ? ["2.8.17", "drv.packed-ring.sg.3"] : "2.8.17";
      } else if (!this.#options.indirect) {
        wrong = "INDIRECT was not negotiated";
        clause = ["2.8.19", "drv.packed-ring.indirect.1"];
      } else if ((flags & DescFlag.NEXT) !== 0 || count > 1) {
        wrong = "INDIRECT in a list linked by NEXT";
        clause = ["2.8.19", "drv.packed-ring.indirect.4"];
      } else wrong = appendTable(chain, this.#memory, this.size, address, bytes);
      if (wrong !== undefined) return this.#fault(wrong, clause, place, address);
      if (++place === this.size) {
        place = 0;
        expected ^= AVAIL_USED;
      }
      if ((flags & DescFlag.NEXT) !== 0) continue;
      const id = idFlags & 0xffff;
      if (this.#ids[id] !== 0) {
        return this.#fault(`buffer id ${id} was made available twice`, "2.8.16", place);
      }
      chain.finish();
      this.#hand(chain, id, start, count);
      return chain;
    }
  }

  /** Gives the device model the chain that starts at the next descriptor. */
  #hand(chain: RingChain, id: number, start: number, descriptors: number): void {
    this.#note(chain, id, start, descriptors);
    this.#inflight?.taken(id, start, descriptors);
    const next = (start + descriptors) | 0;
    if (next < this.size) this.#next = next;
    else {
      this.#next = next - this.size;
      this.#available ^= AVAIL_USED;
      this.#expected = this.#available;
    }
  }

  #note(chain: RingChain, id: number, start: number, descriptors: number): void {
    chain.head = id;
    chain.start = start;
    chain.descriptors = descriptors;
    chain.takenAt = this.#taken;
    this.#taken = (this.#taken + 1) & (AGES - 1);
    this.#ids[id] = 1;
    this.#inUse = (this.#inUse + descriptors) | 0;
  }

  /** Returns a free chain object. */
  #newChain(): RingChain {
    const free = this.#pool.pop();
    if (free !== undefined) return free;
    const chain = new RingChain(this, this.#memory, this.#options.work, this.#copier);
    this.#chains.push(chain);
    return chain;
  }
}
