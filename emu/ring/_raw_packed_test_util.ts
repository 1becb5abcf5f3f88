import { GuestMemory } from "../memory.ts";
import type { InflightLog } from "./inflight.ts";
import { PackedQueue } from "./packed.ts";

/** Where things are in the test's memory; every number here is typed again from virtio 1.4 §2.8. */
export const BASE = 0x4000_0000;
export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
export const AVAIL = 0x80;
export const USED = 0x8000;

/** How to make a {@linkcode RawPackedRing}. */
interface RawPackedOptions {
  readonly size?: number;
  readonly indirect?: boolean;
  readonly eventIdx?: boolean;
  readonly inOrder?: boolean;
  readonly batchUsed?: boolean;
  /** Place and wrap counter of both sides at the start; 0 and 1 by default. */
  readonly start?: number;
  readonly wrap?: 0 | 1;
  readonly memory?: GuestMemory;
  /** Offset of the descriptors in memory; 4096 by default. The other parts are behind them. */
  readonly desc?: number;
  /** Makes what the queue notes in, from the ring before it has a queue. */
  readonly inflight?: (ring: RawPackedRing) => InflightLog;
}

/** A used descriptor as the driver sees it; no length without the WRITE flag. */
type RawUsed = readonly [id: number, length: number | undefined];

/** A packed ring written byte by byte, and the queue under test that looks at it. */
export class RawPackedRing {
  readonly size: number;
  readonly memory: GuestMemory;
  readonly view: DataView;
  readonly queue: PackedQueue;
  readonly faults: string[] = [];
  interrupts = 0;
  /** Offsets of the parts in memory. */
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Where the driver writes next, and where it looks for used descriptors. */
  next: number;
  wrap: 0 | 1;
  used: number;
  usedWrap: 0 | 1;
  /** Descriptors of what is in flight, in the order in which it was offered. */
  readonly #inFlight = new Map<number, number>();
  readonly #inOrder: boolean;

  constructor(options: RawPackedOptions = {}) {
    const { size = 16, start = 0, wrap = 1 } = options;
    this.size = size;
    this.memory = options.memory ?? new GuestMemory(1 << 20, BASE);
    this.view = new DataView(this.memory.bytes.buffer);
    this.desc = options.desc ?? 4096;
    this.driver = this.desc + 16 * size;
    this.device = this.driver + 4;
    this.#inOrder = options.inOrder ?? false;
    this.queue = new PackedQueue({
      index: 3,
      geometry: {
        size,
        desc: BASE + this.desc,
        avail: BASE + this.driver,
        used: BASE + this.device,
      },
      memory: this.memory,
      indirect: options.indirect ?? true,
      eventIdx: options.eventIdx ?? false,
      inOrder: options.inOrder ?? false,
      batchUsed: options.batchUsed,
      inflight: options.inflight?.(this),
      interrupt: () => this.interrupts++,
      fault: (reason) => {
        this.faults.push(reason);
        this.queue.stop();
      },
    });
    this.next = this.used = start;
    this.wrap = this.usedWrap = wrap;
    if (start === 0 && wrap === 1) return;
    // As the ring is after earlier rounds: every descriptor used, those before `start` in this one.
    for (let i = 0; i < size; i++) {
      const last = i < start ? wrap : 1 - wrap;
      this.put(i, 0, 0, 0, last === 1 ? AVAIL | USED : 0);
    }
    const at = start | wrap << 15;
    this.queue.resume({
      ring: "packed",
      next: at,
      used: at,
      fresh: 0,
      first: 0,
      held: [],
      completed: [],
    });
  }

  /** Writes a descriptor of the ring, or of a table at another offset. */
  put(
    i: number,
    addr: number,
    len: number,
    id: number,
    flags: number,
    table: number = this.desc,
  ): void {
    const at = table + 16 * i;
    this.view.setBigUint64(at, BigInt(addr), true);
    this.view.setUint32(at + 8, len, true);
    this.view.setUint16(at + 12, id, true);
    this.view.setUint16(at + 14, flags, true);
  }

  /** Makes a list available under an id: address, length and flags (NEXT is added) of each element. */
  offer(id: number, ...elements: (readonly [number, number, number])[]): void {
    elements.forEach(([addr, len, flags], i) => {
      const more = i + 1 < elements.length ? NEXT : 0;
      this.put(this.next, addr, len, id, flags | more | (this.wrap === 1 ? AVAIL : USED));
      if (++this.next < this.size) return;
      this.next = 0;
      this.wrap = this.wrap === 1 ? 0 : 1;
    });
    this.#inFlight.set(id, elements.length);
  }

  /** Flags of a descriptor of the ring. */
  flags(i: number): number {
    return this.view.getUint16(this.desc + 16 * i + 14, true);
  }

  /** Takes all used descriptors; with IN_ORDER one stands for those before it too. */
  take(): RawUsed[] {
    const taken: RawUsed[] = [];
    for (;;) {
      const flags = this.flags(this.used);
      if (this.#inFlight.size === 0) return taken;
      if ((flags & (AVAIL | USED)) !== (this.usedWrap === 1 ? AVAIL | USED : 0)) return taken;
      const at = this.desc + 16 * this.used;
      const id = this.view.getUint16(at + 12, true);
      taken.push([id, (flags & WRITE) === 0 ? undefined : this.view.getUint32(at + 8, true)]);
      if (!this.#inFlight.has(id)) throw new Error(`id ${id} is not in flight`);
      for (const [other, count] of [...this.#inFlight]) {
        if (!this.#inOrder && other !== id) continue;
        this.#inFlight.delete(other);
        this.used += count;
        if (this.used >= this.size) {
          this.used -= this.size;
          this.usedWrap = this.usedWrap === 1 ? 0 : 1;
        }
        if (other === id) break;
      }
    }
  }

  /** Writes the driver event suppression structure. */
  ask(mode: number, place = 0, wrap = 0): void {
    this.view.setUint16(this.driver, place | wrap << 15, true);
    this.view.setUint16(this.driver + 2, mode, true);
  }

  /** The device event suppression structure: mode, place, wrap counter. */
  get asked(): [number, number, number] {
    const place = this.view.getUint16(this.device, true);
    return [this.view.getUint16(this.device + 2, true), place % 32768, place >> 15];
  }

  /** Pops, answers and signals all there is; returns the ids. */
  serve(written = 0): number[] {
    const ids: number[] = [];
    for (let chain = this.queue.pop(); chain !== undefined; chain = this.queue.pop()) {
      ids.push(chain.head);
      this.queue.push(chain, written);
    }
    this.queue.signal();
    return ids;
  }
}
