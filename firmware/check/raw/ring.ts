import type { Arena } from "./arena.ts";
import type { Parts } from "./device.ts";
import { DESC } from "./registers.ts";

/** A descriptor as the driver writes it, whatever it says. */
export interface RawDescriptor {
  /** Address; an offset in the arena has {@linkcode Arena.address} added by the caller. */
  readonly address: number | bigint;
  /** Length in bytes. */
  readonly length: number;
  /** NEXT, WRITE and INDIRECT. */
  readonly flags: number;
  /** Split rings: the next descriptor. */
  readonly next?: number;
}

/** A used buffer as the device reports it. */
export interface RawUsed {
  /** Id of the buffer. */
  readonly id: number;
  /** Bytes that the device says it wrote. */
  readonly length: number;
}

/** A ring as bytes, of either kind. */
export interface RawRing {
  /** Index of the queue. */
  readonly queue: number;
  /** Descriptors. */
  readonly size: number;
  /** Where its parts are. */
  readonly parts: Parts;
  /**
   * Makes descriptors available as one buffer, in the order of the list; NEXT is the list's own.
   *
   * @returns The buffer's id.
   */
  add(chain: readonly RawDescriptor[]): number;
  /** Takes the entries that were used since the last call. */
  used(): RawUsed[];
  /** How many buffers were used since the ring was made, without taking them. */
  usedCount(): number;
  /** Whether the device wants no notifications. */
  readonly quiet: boolean;
  /** Asks the device to interrupt, or not to. */
  interrupts(on: boolean): void;
  /** Asks never to be interrupted, with EVENT_IDX or without. */
  silence(): void;
  /** With EVENT_IDX: asks to be interrupted when so many more buffers were used. */
  event(after: number): void;
}

/** A split ring (virtio 1.4 §2.7). */
export class RawSplit implements RawRing {
  readonly queue: number;
  readonly size: number;
  readonly parts: Parts;
  /** The arena that it lies in. */
  readonly arena: Arena;
  #next = 0;
  #available = 0;
  #seen = 0;

  /** Writes an empty ring; on legacy devices its used ring starts a page. */
  constructor(arena: Arena, queue: number, size: number) {
    this.arena = arena;
    this.queue = queue;
    this.size = size;
    const avail = 16 * size;
    const used = Math.ceil((avail + 6 + 2 * size) / 4096) * 4096;
    const length = used + 6 + 8 * size;
    const desc = arena.take(length, 4096);
    arena.fill(desc, length, 0);
    this.parts = { desc, driver: desc + avail, device: desc + used };
    arena.lend(this.parts.device, 6 + 8 * size);
  }

  /** Writes one descriptor at an index of a table, of the ring by default. */
  descriptor(
    index: number,
    { address, length, flags, next = 0 }: RawDescriptor,
    table?: number,
  ): void {
    const at = (table ?? this.parts.desc) + 16 * index;
    this.arena.putAddress(at, address);
    this.arena.put32(at + 8, length);
    this.arena.put16(at + 12, flags);
    this.arena.put16(at + 14, next);
  }

  add(chain: readonly RawDescriptor[]): number {
    const head = this.#next;
    chain.forEach((desc, i) => {
      const index = (head + i) % this.size;
      const next = i + 1 < chain.length ? (index + 1) % this.size : 0;
      this.descriptor(index, { next, ...desc });
    });
    this.#next = (head + chain.length) % this.size;
    this.available(head);
    return head;
  }

  /** Puts a head into the available ring and moves its index on. */
  available(head: number, step = 1): void {
    const { driver } = this.parts;
    this.arena.put16(driver + 4 + 2 * (this.#available % this.size), head);
    this.#available = (this.#available + step) & 0xffff;
    this.arena.put16(driver + 2, this.#available);
  }

  used(): RawUsed[] {
    const found: RawUsed[] = [];
    const { device } = this.parts;
    const end = this.arena.get16(device + 2);
    for (; this.#seen !== end && found.length <= this.size; this.#seen = this.#seen + 1 & 0xffff) {
      const at = device + 4 + 8 * (this.#seen % this.size);
      found.push({ id: this.arena.get32(at), length: this.arena.get32(at + 4) });
    }
    return found;
  }

  usedCount(): number {
    return this.arena.get16(this.parts.device + 2);
  }

  /** `used.flags`. */
  get usedFlags(): number {
    return this.arena.get16(this.parts.device);
  }

  get quiet(): boolean {
    return this.usedFlags !== 0;
  }

  interrupts(on: boolean): void {
    this.arena.put16(this.parts.driver, on ? 0 : 1);
  }

  silence(): void {
    this.interrupts(false);
    this.event(0x4000);
  }

  /** Writes `avail.flags`. */
  flags(value: number): void {
    this.arena.put16(this.parts.driver, value);
  }

  event(after: number): void {
    this.arena.put16(this.parts.driver + 4 + 2 * this.size, this.usedCount() + after & 0xffff);
  }
}

/** A packed ring (virtio 1.4 §2.8). */
export class RawPacked implements RawRing {
  readonly queue: number;
  readonly size: number;
  readonly parts: Parts;
  /** The arena that it lies in. */
  readonly arena: Arena;
  #at = 0;
  #wrap = true;
  #usedAt = 0;
  #usedWrap = true;
  #usedCount = 0;
  #id = 0;
  readonly #lengths = new Map<number, number>();

  /** Writes an empty ring. */
  constructor(arena: Arena, queue: number, size: number) {
    this.arena = arena;
    this.queue = queue;
    this.size = size;
    const desc = arena.take(16 * size, 4096);
    const driver = arena.take(4, 4);
    const device = arena.take(4, 4);
    arena.fill(desc, 16 * size, 0);
    arena.fill(driver, 4, 0);
    arena.fill(device, 4, 0);
    this.parts = { desc, driver, device };
    arena.lend(device, 4);
    arena.lend(desc, 16 * size);
  }

  add(chain: readonly RawDescriptor[]): number {
    const id = this.#id++ & 0x7fff;
    this.write(chain, id);
    return id;
  }

  /** Writes a list of descriptors, the first one's flags last; `available` false leaves it unavailable. */
  write(chain: readonly RawDescriptor[], id: number, available = true): void {
    const start = { at: this.#at, flags: 0 };
    chain.forEach(({ address, length, flags }, i) => {
      const at = this.parts.desc + 16 * this.#at;
      const word = flags | (this.#wrap === available ? DESC.AVAIL : DESC.USED);
      this.arena.putAddress(at, address);
      this.arena.put32(at + 8, length);
      this.arena.put16(at + 12, id);
      if (i === 0) start.flags = word;
      else this.arena.put16(at + 14, word);
      if (++this.#at === this.size) {
        this.#at = 0;
        this.#wrap = !this.#wrap;
      }
    });
    this.arena.put16(this.parts.desc + 16 * start.at + 14, start.flags);
    this.#lengths.set(id, chain.length);
  }

  used(): RawUsed[] {
    const found = this.#fresh();
    for (const { id } of found) {
      this.#step(this.#lengths.get(id) ?? 1);
      this.#lengths.delete(id);
    }
    this.#usedCount += found.length;
    return found;
  }

  usedCount(): number {
    return this.#usedCount + this.#fresh().length;
  }

  #fresh(): RawUsed[] {
    const found: RawUsed[] = [];
    let [at, wrap] = [this.#usedAt, this.#usedWrap];
    while (found.length < this.#lengths.size) {
      const place = this.parts.desc + 16 * at;
      const flags = this.arena.get16(place + 14);
      const both = DESC.AVAIL | DESC.USED;
      if ((flags & both) !== (wrap ? both : 0)) break;
      const id = this.arena.get16(place + 12);
      found.push({ id, length: this.arena.get32(place + 8) });
      at += this.#lengths.get(id) ?? 1;
      if (at >= this.size) [at, wrap] = [at - this.size, !wrap];
    }
    return found;
  }

  #step(count: number): void {
    this.#usedAt += count;
    if (this.#usedAt < this.size) return;
    this.#usedAt -= this.size;
    this.#usedWrap = !this.#usedWrap;
  }

  get quiet(): boolean {
    return (this.arena.get16(this.parts.device + 2) & 3) === 1;
  }

  interrupts(on: boolean): void {
    this.arena.put16(this.parts.driver + 2, on ? 0 : 1);
  }

  silence(): void {
    this.interrupts(false);
  }

  event(after: number): void {
    // The buffers of checks that ask for events have one descriptor each.
    const place = this.#usedAt + after;
    const wrap = place < this.size ? this.#usedWrap : !this.#usedWrap;
    this.arena.put16(this.parts.driver, place % this.size | (wrap ? 0x8000 : 0));
    this.arena.put16(this.parts.driver + 2, 2);
  }
}
