import {
  AVAIL_NO_INTERRUPT,
  DESC,
  DescFlag,
  loadAcquire16,
  loadAfterStore,
  needEvent,
  splitRingLayout,
  USED_NO_NOTIFY,
} from "@vireo/hal";
import type { Chain } from "../device.ts";
import type { GuestMemory } from "../memory.ts";
import { type RingFault, ringFault } from "./_fault.ts";
import { RingChain } from "./chain.ts";
import { Copier } from "./copier.ts";
import { InOrder } from "./in_order.ts";
import type { InflightLog } from "./inflight.ts";
import type { QueuePosition } from "./position.ts";
import type { QueueGeometry, RunningQueue, RunningQueueOptions } from "./queue_config.ts";

// Constants of this module: an imported name costs a load and a check on the hot path. Whole numbers stay 32
// bits wide there, by `<<`, `|` and `| 0`: of other sums V8 checks whether they overflow (split_bench.ts).
/** Words (32 bits) of a descriptor. */
const DESC_WORDS = DESC.SIZE / 4;
/** The same as a shift; so `|` adds the place of a word. */
const SHIFT = 2;
/** A descriptor with one of these flags is not a whole chain. */
const NEXT_OR_INDIRECT = DescFlag.NEXT | DescFlag.INDIRECT;
const WRITE = DescFlag.WRITE;

/** The longest chain in bytes (virtio 1.4 §2.7.5.1). */
const MAX_CHAIN_BYTES = 2 ** 32;

/**
 * Returns why a split queue cannot run with a geometry; undefined if it can.
 *
 * The parts must lie in guest memory, aligned to 16, 2 and 4 (virtio 1.4 §2.7).
 */
export function checkGeometry(geometry: QueueGeometry, memory: GuestMemory): string | undefined {
  const { size, desc, avail, used } = geometry;
  if (size === 0 || (size & (size - 1)) !== 0) return `queue size ${size} is not a power of two`;
  const layout = splitRingLayout(size);
  for (
    const [name, address, length, align] of [
      ["descriptor table", desc, layout.descSize, 16],
      ["available ring", avail, layout.availSize, 2],
      ["used ring", used, layout.usedSize, 4],
    ] as const
  ) {
    if (address % align !== 0) return `${name} at 0x${address.toString(16)} is not aligned`;
    if (!memory.contains(address, length)) {
      return `${name} at 0x${address.toString(16)} is outside guest memory`;
    }
  }
  return undefined;
}

/** The device's side of a running split virtqueue (virtio 1.4 §2.7), written from the specification. */
export class SplitQueue implements RunningQueue {
  // Fields that are numbers begin as one: V8 checks at each use of one that begins as undefined.

  /** Index of the queue on its device. */
  readonly index: number = 0;
  /** Size in descriptors. */
  readonly size: number = 0;
  readonly #options: RunningQueueOptions;
  readonly #fault: RingFault;
  readonly #memory: GuestMemory;
  readonly #copier: Copier;
  // Views of the parts alone: a place in memory may have more than 32 bits, one in a part has not.
  readonly #desc: Uint32Array;
  readonly #avail: Uint16Array;
  /** Flags, index and avail_event. */
  readonly #used: Uint16Array;
  /** Behind the flags and the index: pairs of a head and a length. */
  readonly #entries: Uint32Array;
  readonly #mask: number = 0;
  readonly #eventIdx: boolean;
  /** By head: 1 while the device model has its chain. */
  readonly #held: Uint8Array;
  readonly #order: InOrder | undefined;
  readonly #inflight: InflightLog | undefined;
  readonly #freeHead = (head: number): void => {
    this.#held[head] = 0;
    this.#inflight?.used(head);
  };
  /** All chain objects so far, at most as many as the queue has entries. */
  readonly #chains: RingChain[] = [];
  /** The free ones, except the last one used: that is next, because it is still in the cache. */
  readonly #pool: RingChain[] = [];
  #spare: RingChain | undefined;
  #lastAvail = 0;
  #availSeen = 0;
  #usedIndex = 0;
  #signalled = 0;
  #notifyOn = true;
  #stopped = false;
  /** Heads that the device held at the snapshot. */
  #again: number[] = [];

  /** Starts a queue whose geometry {@linkcode checkGeometry} accepted. */
  constructor(options: RunningQueueOptions) {
    const { geometry, memory } = options;
    this.index = options.index;
    this.size = geometry.size;
    this.#options = options;
    this.#fault = ringFault(options);
    this.#memory = memory;
    this.#copier = new Copier(memory);
    this.#mask = geometry.size - 1;
    const { buffer } = memory.bytes;
    const layout = splitRingLayout(geometry.size);
    const descAt = memory.offset(geometry.desc, layout.descSize);
    this.#desc = new Uint32Array(buffer, descAt, layout.descSize / 4);
    const availAt = memory.offset(geometry.avail, layout.availSize);
    this.#avail = new Uint16Array(buffer, availAt, layout.availSize / 2);
    const usedAt = memory.offset(geometry.used, layout.usedSize);
    this.#used = new Uint16Array(buffer, usedAt, layout.usedSize / 2);
    this.#entries = new Uint32Array(buffer, usedAt + 4, 2 * geometry.size);
    this.#eventIdx = options.eventIdx;
    this.#inflight = options.inflight;
    this.#held = new Uint8Array(geometry.size);
    this.#order = options.inOrder ? new InOrder(this.size, options.batchUsed) : undefined;
  }

  /** Whether a chain is available; false once the queue stopped. */
  hasAvailable(): boolean {
    return this.#lastAvail !== this.#availSeen || this.#again.length > 0 || this.#look();
  }

  /** Takes the next available chain, fully checked; a malformed chain is a fault and gives undefined. */
  pop(): Chain | undefined {
    const last = this.#lastAvail;
    // One check serves most calls: it also fails on a stopped queue and on one with chains to take again.
    if (last === this.#availSeen) {
      if (this.#again.length > 0) return this.#takeAgain();
      if (!this.#look()) return undefined;
    }
    const head = this.#avail[((last & this.#mask) + 2) | 0]!;
    const words = this.#desc;
    const first = head << SHIFT;
    // Most chains are one descriptor below 4 GiB. They are handled here, because a call and floating point
    // would double the cost (split_bench.ts). #walk takes all others, and the malformed ones.
    if (head <= this.#mask && this.#held[head] === 0 && words[first | 1] === 0) {
      const flags = words[first | 3]!;
      const bytes = words[first | 2]!;
      const memory = this.#memory;
      const offset = words[first]! - memory.base;
      if ((flags & NEXT_OR_INDIRECT) === 0 && offset >= 0 && offset + bytes <= memory.size) {
        const chain = this.#spare ?? this.#newChain();
        this.#spare = undefined;
        this.#held[head] = 1;
        chain.head = head;
        chain.takenAt = last;
        chain.single(offset, bytes, (flags & WRITE) !== 0);
        this.#lastAvail = (last + 1) & 0xffff;
        this.#inflight?.taken(head, 0, 0);
        return chain;
      }
    }
    return this.#takeWalked(head, last);
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
    // The rare case is a call, so that the rest stays small enough to be inlined (split_bench.ts).
    if (this.#order !== undefined && this.#waits(this.#order, own, written)) return;
    this.#held[own.head] = 0;
    this.#inflight?.used(own.head);
    this.#use(own.head, written, 1);
  }

  /** Notes a chain that must wait for older ones. The oldest waits only for chains that may share its entry. */
  #waits(order: InOrder, chain: RingChain, written: number): boolean {
    if (chain.takenAt === this.#usedIndex && !order.batch) return false;
    const full = written === chain.writableLength;
    order.complete(chain.takenAt & this.#mask, chain.head, 1, written, full);
    return true;
  }

  /** Returns several chains; the driver sees all of them at once. */
  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    // Nothing is visible before the index moves, which signal() does once.
    for (let i = 0; i < chains.length; i++) this.push(chains[i]!, written[i]!);
  }

  /** Publishes the pushed chains, and interrupts the driver unless it suppressed that. */
  signal(): void {
    if (this.#stopped) return;
    if (this.#order !== undefined) this.#useInOrder(this.#order);
    const next = this.#usedIndex;
    if (next === this.#signalled) return;
    // Orders the used entries before the index (dev.split-ring.used-ring.1).
    Atomics.store(this.#used, 1, next);
    this.#inflight?.published(next);
    const old = this.#signalled;
    this.#signalled = next;
    // The store above is sequentially consistent: this load cannot pass it, so no interrupt is lost.
    const wanted = this.#eventIdx
      ? needEvent(loadAfterStore(this.#avail, 2 + this.size), next, old)
      : (loadAfterStore(this.#avail, 0) & AVAIL_NO_INTERRUPT) === 0;
    if (wanted || (this.#options.notifyOnEmpty === true && this.#isEmpty())) {
      this.#options.interrupt();
    }
  }

  /** Asks the driver to send or to omit notifications of new buffers. */
  setNotify(enabled: boolean): void {
    if (this.#stopped || this.#notifyOn === enabled) return;
    this.#notifyOn = enabled;
    if (!this.#eventIdx) {
      Atomics.store(this.#used, 0, enabled ? 0 : USED_NO_NOTIFY);
    } else if (enabled) {
      Atomics.store(this.#used, 2 + 4 * this.size, this.#lastAvail);
    }
  }

  /** Stops the queue for good: `pop` returns nothing, and `push` does nothing. */
  stop(): void {
    this.#stopped = true;
    this.#availSeen = this.#lastAvail;
    this.#again = [];
  }

  /**
   * Returns what is wrong with the position in a notification's data; undefined if it may be right.
   *
   * @param position The available index that the driver claims.
   */
  notificationProblem(position: number): string | undefined {
    const index = Atomics.load(this.#avail, 1);
    // A late notification names an index behind.
    if (((index - position) & 0xffff) < 0x8000) return undefined;
    return `index ${position} is ahead of the available index ${index}`;
  }

  /** The queue's position. */
  position(): QueuePosition {
    const age = (chain: RingChain): number => (this.#lastAvail - chain.takenAt) & 0xffff;
    const held = this.#chains.filter((chain) => chain.held);
    held.sort((a, b) => age(b) - age(a));
    return {
      lastAvail: this.#lastAvail,
      usedIndex: this.#usedIndex,
      signalled: this.#signalled,
      held: [...held.map(({ head }) => head), ...this.#again],
      ...(this.#order === undefined ? {} : { completed: this.#order.waiting() }),
    };
  }

  /**
   * Continues from a position. `pop` first returns the held chains again, in order. The next
   * {@linkcode SplitQueue.signal} publishes chains that were pushed but not yet signalled.
   */
  resume(position: QueuePosition): void {
    this.#lastAvail = this.#availSeen = position.lastAvail;
    this.#usedIndex = position.usedIndex;
    this.#signalled = position.signalled;
    this.#again = [...position.held];
    for (const { at, id, places, written, full } of position.completed ?? []) {
      this.#order?.complete(at & this.#mask, id & this.#mask, places, written, full);
      this.#held[id & this.#mask] = 1;
    }
  }

  #takeAgain(): RingChain | undefined {
    // As if the device had taken them last; under IN_ORDER they are the incomplete ones, oldest first.
    let at = (this.#lastAvail - this.#again.length) & 0xffff;
    if (this.#order !== undefined) {
      at = this.#usedIndex;
      while (at !== this.#lastAvail && (this.#order.has(at & this.#mask) || this.#isTaken(at))) {
        at = (at + 1) & 0xffff;
      }
    }
    return this.#walk(this.#again.shift()!, at);
  }

  #isTaken(at: number): boolean {
    return this.#chains.some((chain) => chain.held && chain.takenAt === at);
  }

  /** Writes a used entry, which may stand for several chains. */
  #use(head: number, written: number, chains: number): void {
    const index = this.#usedIndex;
    const at = (index & this.#mask) << 1;
    const entries = this.#entries;
    entries[at] = head;
    entries[at | 1] = written | 0;
    this.#usedIndex = (index + chains) & 0xffff;
  }

  #useInOrder(order: InOrder): void {
    for (;;) {
      const chains = order.take(this.#usedIndex & this.#mask, this.#freeHead);
      if (chains === 0) return;
      this.#use(order.id, order.written, chains);
    }
  }

  #isEmpty(): boolean {
    return this.#lastAvail === loadAcquire16(this.#avail, 1);
  }

  /** Looks for new entries; if there are none, tells the driver where the device is. */
  #look(): boolean {
    if (this.#stopped) return false;
    // Pairs with the driver's store of idx: entries up to it are visible after this load.
    let seen = loadAcquire16(this.#avail, 1);
    if (seen === this.#lastAvail && this.#eventIdx && this.#notifyOn) {
      const at = 2 + 4 * this.size;
      if (this.#used[at] !== this.#lastAvail) {
        Atomics.store(this.#used, at, this.#lastAvail);
        // The load finds an entry that the driver added before it saw the store; it notifies of later ones.
        seen = loadAcquire16(this.#avail, 1);
      }
    }
    const fresh = (seen - this.#lastAvail) & 0xffff;
    if (fresh === 0) return false;
    if (fresh > this.size) {
      this.#fault(`available index jumped by ${fresh}, queue size is ${this.size}`, [
        "2.7.6",
        "drv.split-ring.avail-ring.1",
      ]);
      return false;
    }
    this.#availSeen = seen;
    return true;
  }

  /** Takes a chain by a walk, as most are not. */
  #takeWalked(head: number, last: number): RingChain | undefined {
    const chain = this.#walk(head, last);
    if (chain === undefined) return undefined;
    this.#lastAvail = (last + 1) & 0xffff;
    this.#inflight?.taken(head, 0, 0);
    return chain;
  }

  /** Walks the chain of a head that the driver made available at an index. */
  #walk(head: number, takenAt: number): RingChain | undefined {
    if (head > this.#mask) {
      return this.#fault(`available entry names descriptor ${head}`, "2.7.6");
    }
    if (this.#held[head] !== 0) {
      return this.#fault(`descriptor ${head} was made available twice`, "2.7.13", head);
    }
    const chain = this.#newChain();
    chain.head = head;
    chain.takenAt = takenAt;
    let words = this.#desc;
    const memory = this.#memory;
    chain.clear();
    /** Where the table begins in the words. */
    let table = 0;
    let length = this.size;
    let inTable = false;
    let writable = false;
    let total = 0;
    let index = head;
    let elements = 0;
    for (;;) {
      const at = table + index * DESC_WORDS;
      const hi = words[at + 1]!;
      const address = hi === 0 ? words[at]! : hi * 0x1_0000_0000 + words[at]!;
      const bytes = words[at + 2]!;
      const flagsNext = words[at + 3]!;
      const flags = flagsNext & 0xffff;
      if ((flags & DescFlag.INDIRECT) !== 0) {
        if (!this.#options.indirect) {
          return this.#fault("INDIRECT was not negotiated", [
            "2.7.5.3.1",
            "drv.split-ring.indirect.1",
          ], index);
        }
        if (inTable) {
          return this.#fault("an indirect table refers to another", [
            "2.7.5.3.1",
            "drv.split-ring.indirect.2",
          ], index);
        }
        if ((flags & DescFlag.NEXT) !== 0) {
          return this.#fault("INDIRECT and NEXT in one descriptor", [
            "2.7.5.3.1",
            "drv.split-ring.indirect.4",
          ], index);
        }
        if (bytes === 0 || bytes % DESC.SIZE !== 0) {
          return this.#fault(
            `an indirect table of ${bytes} bytes is not whole descriptors`,
            "2.7.5.3",
            index,
            address,
          );
        }
        const at = memory.offset(address, bytes);
        if (address % 4 !== 0 || at < 0) {
          const place = `0x${address.toString(16)}`;
          const what = `an indirect table at ${place} is misaligned or outside guest memory`;
          return this.#fault(what, "2.7.5.3", index, address);
        }
        words = memory.words32;
        table = at / 4;
        length = bytes / DESC.SIZE;
        inTable = true;
        index = 0;
        continue;
      }
      if (++elements > this.size) {
        return this.#fault("a chain is longer than the queue", [
          "2.7.5.3.1",
          "drv.split-ring.indirect.3",
        ], head);
      }
      if ((flags & WRITE) !== 0) writable = true;
      else if (writable) {
        return this.#fault(
          "a readable element follows a writable one",
          ["2.7.4.2", "drv.split-ring.framing.1"],
          index,
          address,
        );
      }
      const offset = memory.offset(address, bytes);
      if (offset < 0) {
        const what = `element at 0x${
          address.toString(16)
        }, ${bytes} bytes, is outside guest memory`;
        return this.#fault(what, "2.7.5", index, address);
      }
      total += bytes;
      if (total > MAX_CHAIN_BYTES) {
        return this.#fault("a chain has over 2^32 bytes", [
          "2.7.5.2",
          "drv.split-ring.desc-table.1",
        ], head);
      }
      chain.append(offset, bytes, writable);
      if ((flags & DescFlag.NEXT) === 0) break;
      const next = flagsNext >>> 16;
      if (next >= length) {
        return this.#fault(`next names descriptor ${next} of ${length}`, "2.7.5", index);
      }
      index = next;
    }
    chain.finish();
    this.#held[head] = 1;
    return chain;
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
