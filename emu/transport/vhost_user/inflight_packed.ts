import { DescFlag, PACKED_DESC, PackedDescFlag } from "@vireo/hal";
import { INFLIGHT_PACKED as PACKED, INFLIGHT_PACKED_ENTRY as ENTRY } from "@vireo/hal/vhost-user";
import type { GuestMemory } from "../../memory.ts";
import { RingChain } from "../../ring/chain.ts";
import { appendTable } from "../../ring/packed_table.ts";
import type { HeldChain, PackedPosition } from "../../ring/position.ts";
import {
  readCount,
  type RecoverableLog,
  type Views,
  writeCount,
  writeHeader,
  written,
  wrong,
} from "./inflight_log.ts";

const { AVAIL, USED } = PackedDescFlag;
const AVAIL_USED = AVAIL | USED;
/** Wrap counter of a place, and the place itself. */
const [WRAP, PLACE] = [0x8000, 0x7fff];
/** No entry. */
const NONE = 0xffff;

/** The notes of a packed queue: copies of descriptors, since the ring's are overwritten out of order. */
export class PackedLog implements RecoverableLog<PackedPosition> {
  readonly #views: Views;
  readonly #size: number;
  readonly #memory: GuestMemory;
  readonly #words32: Uint32Array;
  /** Byte offset of the ring in guest memory. */
  readonly #ring: number;
  /** The lists as they are here: those in the memory are claims. */
  readonly #next: Uint16Array;
  readonly #last: Uint16Array;
  readonly #counts: Uint16Array;
  /** By buffer id: the entry of its first descriptor. */
  readonly #entries: Uint16Array = new Uint16Array(0x1_0000).fill(NONE);
  /** First entries of chains with used entries that are not published. */
  readonly #batch: number[] = [];
  #free = 0;
  #room: number;
  #counter = 1;

  constructor(views: Views, size: number, memory: GuestMemory, ring: number) {
    this.#views = views;
    this.#size = size;
    this.#memory = memory;
    this.#words32 = memory.words32;
    this.#ring = ring;
    this.#next = Uint16Array.from({ length: size }, (_, i) => i + 1);
    this.#last = new Uint16Array(size);
    this.#counts = new Uint16Array(size);
    this.#room = size;
  }

  recover(position: PackedPosition): PackedPosition {
    if (!written(this.#views, this.#size)) {
      this.#next.forEach((next, i) => this.#write(i, ENTRY.next, next));
      this.#setPlace(position.used);
      this.#keepPlace();
      writeHeader(this.#views, this.#size);
      return position;
    }
    this.#finishBatch();
    const used = this.#header(PACKED.used_idx) |
      (this.#views.u8[PACKED.used_wrap_counter.offset] === 0 ? 0 : WRAP);
    if ((used & PLACE) >= this.#size) throw wrong(`place ${used & PLACE}`);
    const heads = this.#takeLists();
    let next = used;
    const held: HeldChain[] = [];
    for (const head of heads) {
      const descriptors = this.#counts[head]!;
      held.push(this.#chain(head, descriptors, next & PLACE));
      next = this.#after(next, descriptors);
    }
    this.#makeAvailable(used, this.#size - this.#room);
    return { ring: "packed", next, used, fresh: 0, first: 0, held, completed: [] };
  }

  taken(id: number, start: number, descriptors: number): void {
    // A driver that makes more available than it may has no notes of it.
    if (descriptors > this.#room) return;
    const { u8, u16, u32 } = this.#views;
    const words32 = this.#words32;
    const head = this.#free;
    const at = entryAt(head);
    writeCount(this.#views, at + ENTRY.counter.offset, this.#counter++);
    u8[at] = 1;
    let [entry, last, place] = [head, head, start];
    for (let i = 0; i < descriptors; i++) {
      const from = (this.#ring + place * PACKED_DESC.SIZE) / 4;
      const to = entryAt(entry);
      const idFlags = words32[from + 3]!;
      u32[(to + ENTRY.id.offset) / 4] = idFlags;
      u32[(to + ENTRY.len.offset) / 4] = words32[from + 2]!;
      u32[(to + ENTRY.addr.offset) / 4] = words32[from]!;
      u32[(to + ENTRY.addr.offset) / 4 + 1] = words32[from + 1]!;
      last = entry;
      entry = this.#next[entry]!;
      if (++place === this.#size) place = 0;
    }
    u16[(at + ENTRY.last.offset) / 2] = last;
    u16[(at + ENTRY.num.offset) / 2] = descriptors;
    this.#last[head] = last;
    this.#counts[head] = descriptors;
    this.#entries[id] = head;
    this.#free = entry;
    this.#room -= descriptors;
    // From here on it is noted: until then it is on the free list.
    u16[PACKED.free_head.offset / 2] = entry;
    u16[PACKED.old_free_head.offset / 2] = entry;
  }

  used(id: number): void {
    const entry = this.#entries[id]!;
    if (entry === NONE) return;
    this.#entries[id] = NONE;
    this.#batch.push(entry);
  }

  publishing(position: number): void {
    for (const head of this.#batch) {
      const last = this.#last[head]!;
      this.#next[last] = this.#free;
      this.#write(last, ENTRY.next, this.#free);
      this.#free = head;
      this.#room += this.#counts[head]!;
    }
    this.#views.u16[PACKED.free_head.offset / 2] = this.#free;
    this.#setPlace(position);
  }

  published(): void {
    for (const head of this.#batch) this.#views.u8[entryAt(head)] = 0;
    this.#batch.length = 0;
    this.#keepPlace();
  }

  #setPlace(position: number): void {
    this.#views.u16[PACKED.used_idx.offset / 2] = position & PLACE;
    this.#views.u8[PACKED.used_wrap_counter.offset] = position >>> 15;
  }

  /** Ends the step that was in progress. */
  #keepPlace(): void {
    const { u8, u16 } = this.#views;
    u16[PACKED.old_free_head.offset / 2] = this.#header(PACKED.free_head);
    u16[PACKED.old_used_idx.offset / 2] = this.#header(PACKED.used_idx);
    u8[PACKED.old_used_wrap_counter.offset] = u8[PACKED.used_wrap_counter.offset]!;
  }

  /** A back end that ended while it published has done so if the first descriptor's flags say it. */
  #finishBatch(): void {
    const { u8, u16 } = this.#views;
    const old = this.#header(PACKED.old_used_idx);
    if (old >= this.#size) throw wrong(`place ${old}`);
    const available = u8[PACKED.old_used_wrap_counter.offset] === 0 ? USED : AVAIL;
    const began = this.#header(PACKED.used_idx) !== old ||
      u8[PACKED.used_wrap_counter.offset] !== u8[PACKED.old_used_wrap_counter.offset];
    if (began && (this.#flagsAt(old) & AVAIL_USED) !== available) this.#keepPlace();
    u16[PACKED.free_head.offset / 2] = this.#header(PACKED.old_free_head);
    u16[PACKED.used_idx.offset / 2] = this.#header(PACKED.old_used_idx);
    u8[PACKED.used_wrap_counter.offset] = u8[PACKED.old_used_wrap_counter.offset]!;
  }

  /** Takes over the lists. @returns First entries of what is in flight, oldest first. */
  #takeLists(): number[] {
    const { u8 } = this.#views;
    const seen = new Uint8Array(this.#size);
    const visit = (entry: number): void => {
      if (entry >= this.#size || seen[entry] !== 0) throw wrong(`entry ${entry} twice or nowhere`);
      seen[entry] = 1;
      this.#next[entry] = this.#read(entry, ENTRY.next);
    };
    this.#free = this.#header(PACKED.free_head);
    for (let entry = this.#free; entry !== this.#size; entry = this.#next[entry]!) {
      visit(entry);
      u8[entryAt(entry)] = 0;
    }
    const heads: number[] = [];
    for (let head = 0; head < this.#size; head++) if (u8[entryAt(head)] === 1) heads.push(head);
    const age = (head: number): number =>
      readCount(this.#views, entryAt(head) + ENTRY.counter.offset);
    heads.sort((a, b) => age(a) - age(b));
    for (const head of heads) {
      const count = this.#read(head, ENTRY.num);
      if (count < 1 || count > this.#size) throw wrong(`a request of ${count} descriptors`);
      let entry = head;
      for (let i = 1;; i++) {
        visit(entry);
        if (i === count) break;
        entry = this.#next[entry]!;
      }
      this.#last[head] = entry;
      this.#counts[head] = count;
      this.#entries[this.#id(head)] = head;
    }
    this.#room = this.#size - heads.reduce((sum, head) => sum + this.#counts[head]!, 0);
    const newest = heads.at(-1);
    this.#counter = newest === undefined ? 1 : age(newest) + 1;
    return heads;
  }

  /** The id of a chain, which is in its last descriptor. */
  #id(head: number): number {
    return this.#read(this.#last[head]!, ENTRY.id);
  }

  #chain(head: number, descriptors: number, start: number): HeldChain {
    const chain = new RingChain(this, this.#memory);
    chain.clear();
    const { u32 } = this.#views;
    let entry = head;
    for (let i = 0; i < descriptors; i++) {
      const at = entryAt(entry);
      const address = u32[(at + ENTRY.addr.offset) / 4]! +
        u32[(at + ENTRY.addr.offset) / 4 + 1]! * 0x1_0000_0000;
      const length = u32[(at + ENTRY.len.offset) / 4]!;
      const flags = this.#read(entry, ENTRY.flags);
      const problem = (flags & DescFlag.INDIRECT) === 0
        ? chain.tryAppend(address, length, flags)
        : appendTable(chain, this.#memory, this.#size, address, length);
      if (problem !== undefined) throw wrong(problem);
      entry = this.#next[entry]!;
    }
    return { id: this.#id(head), start, descriptors, elements: chain.elements() };
  }

  /**
   * Makes descriptors that are the device's look so: a batch that was not published may have left used ones,
   * which the driver would see behind the next one that is.
   */
  #makeAvailable(used: number, count: number): void {
    const { words16 } = this.#memory;
    let at = used;
    for (let i = 0; i < count; i++) {
      const word = this.#flagsWord(at & PLACE);
      words16[word] = words16[word]! & ~AVAIL_USED | ((at & WRAP) === 0 ? USED : AVAIL);
      at = this.#after(at, 1);
    }
  }

  #after(position: number, count: number): number {
    const place = (position & PLACE) + count;
    return place < this.#size ? position + count : (position & WRAP ^ WRAP) | place - this.#size;
  }

  #flagsWord(place: number): number {
    return (this.#ring + place * PACKED_DESC.SIZE + PACKED_DESC.flags.offset) / 2;
  }

  #flagsAt(place: number): number {
    return this.#memory.words16[this.#flagsWord(place)]!;
  }

  #header({ offset }: { readonly offset: number }): number {
    return this.#views.u16[offset / 2]!;
  }

  #read(entry: number, { offset }: { readonly offset: number }): number {
    return this.#views.u16[(entryAt(entry) + offset) / 2]!;
  }

  #write(entry: number, { offset }: { readonly offset: number }, value: number): void {
    this.#views.u16[(entryAt(entry) + offset) / 2] = value;
  }
}

function entryAt(entry: number): number {
  return PACKED.SIZE + entry * ENTRY.SIZE;
}
