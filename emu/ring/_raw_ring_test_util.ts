import { assert, assertEquals } from "@std/assert";
import { GuestMemory } from "../memory.ts";
import type { InflightLog } from "./inflight.ts";
import type { RunningQueue } from "./queue_config.ts";
import { SplitQueue } from "./split.ts";

/** Where things are in the test's memory; every number here is typed again from virtio 1.4 §2.7. */
export const BASE = 0x4000_0000;

/** How to make a {@linkcode RawRing}. */
interface RawRingOptions {
  readonly size?: number;
  readonly indirect?: boolean;
  readonly eventIdx?: boolean;
  readonly inOrder?: boolean;
  readonly batchUsed?: boolean;
  readonly notifyOnEmpty?: boolean;
  /** Index of both rings at the start. */
  readonly start?: number;
  readonly memory?: GuestMemory;
  /** Offset of the descriptors in memory; 4096 by default. The other parts are behind them. */
  readonly desc?: number;
  /** Makes what the queue notes in, from the ring before it has a queue. */
  readonly inflight?: (ring: RawRing) => InflightLog;
}

/** A split ring written byte by byte, and the queue under test that looks at it. */
export class RawRing {
  readonly size: number;
  readonly memory: GuestMemory;
  readonly view: DataView;
  readonly queue: SplitQueue;
  readonly faults: string[] = [];
  interrupts = 0;
  /** Offsets of the parts in memory. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** First byte that is not ring. */
  readonly free: number;
  #avail: number;

  constructor(options: RawRingOptions = {}) {
    const { size = 16, start = 0 } = options;
    this.size = size;
    this.memory = options.memory ?? new GuestMemory(1 << 20, BASE);
    this.view = new DataView(this.memory.bytes.buffer);
    this.desc = options.desc ?? 4096;
    this.avail = this.desc + 16 * size;
    this.used = this.avail + 6 + 2 * size + (4 - (6 + 2 * size) % 4) % 4;
    this.free = this.used + 6 + 8 * size + 16;
    this.queue = new SplitQueue({
      index: 3,
      geometry: {
        size,
        desc: BASE + this.desc,
        avail: BASE + this.avail,
        used: BASE + this.used,
      },
      memory: this.memory,
      indirect: options.indirect ?? true,
      eventIdx: options.eventIdx ?? false,
      inOrder: options.inOrder ?? false,
      batchUsed: options.batchUsed,
      ...(options.notifyOnEmpty === undefined ? {} : { notifyOnEmpty: options.notifyOnEmpty }),
      inflight: options.inflight?.(this),
      interrupt: () => this.interrupts++,
      fault: (reason) => {
        this.faults.push(reason);
        this.queue.stop();
      },
    });
    this.#avail = start;
    if (start !== 0) {
      this.view.setUint16(this.avail + 2, start, true);
      this.view.setUint16(this.used + 2, start, true);
      this.queue.resume({ lastAvail: start, usedIndex: start, signalled: start, held: [] });
    }
  }

  /** Writes a descriptor of the table, or of a table at another offset. */
  put(
    i: number,
    addr: number,
    len: number,
    flags: number,
    next = 0,
    table: number = this.desc,
  ): void {
    const at = table + 16 * i;
    this.view.setBigUint64(at, BigInt(addr), true);
    this.view.setUint32(at + 8, len, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  /** Makes heads available and moves the index once. */
  offer(...heads: number[]): void {
    for (const head of heads) {
      this.view.setUint16(this.avail + 4 + 2 * (this.#avail % this.size), head, true);
      this.#avail = (this.#avail + 1) % 65536;
    }
    this.view.setUint16(this.avail + 2, this.#avail, true);
  }

  /** Moves the available index by any step. */
  jump(by: number): void {
    this.#avail = (this.#avail + by) % 65536;
    this.view.setUint16(this.avail + 2, this.#avail, true);
  }

  set availFlags(value: number) {
    this.view.setUint16(this.avail, value, true);
  }

  set usedEvent(value: number) {
    this.view.setUint16(this.avail + 4 + 2 * this.size, value, true);
  }

  get usedFlags(): number {
    return this.view.getUint16(this.used, true);
  }

  get usedIndex(): number {
    return this.view.getUint16(this.used + 2, true);
  }

  get availEvent(): number {
    return this.view.getUint16(this.used + 4 + 8 * this.size, true);
  }

  /** Id and length of a used entry. */
  usedEntry(i: number): [number, number] {
    const at = this.used + 4 + 8 * (i % this.size);
    return [this.view.getUint32(at, true), this.view.getUint32(at + 4, true)];
  }

  /** Pops, answers and signals all there is; returns the heads. */
  serve(written = 0): number[] {
    const heads: number[] = [];
    for (let chain = this.queue.pop(); chain !== undefined; chain = this.queue.pop()) {
      heads.push(chain.head);
      this.queue.push(chain, written);
    }
    this.queue.signal();
    return heads;
  }
}

/** Lets the other side act right after the next atomic store of the side under test, as on another processor. */
export function afterNextStore(act: () => void): void {
  const { store } = Atomics;
  Atomics.store = ((...args: Parameters<typeof store>) => {
    Atomics.store = store;
    store(...args);
    act();
  }) as typeof store;
}

/** Checks that a queue which resumes with a chain held has that again, and nothing behind it; none once it stopped. */
export function checkHeldAgain(resume: () => RunningQueue, head: number): void {
  for (const stopped of [false, true]) {
    const queue = resume();
    assert(queue.hasAvailable());
    if (stopped) queue.stop();
    assertEquals(
      [queue.hasAvailable(), queue.pop()?.head],
      stopped ? [false, undefined] : [true, head],
    );
    assert(!queue.hasAvailable());
  }
}
