import { DescFlag, EVENT_SUPPRESS, PACKED_DESC, PackedDescFlag, RingEvent } from "@vireo/hal";
import type { RequestStep } from "./request.ts";
import { ARENA, type Place, Ring } from "./ring.ts";

const { AVAIL, USED } = PackedDescFlag;

/** A place in the ring, and the wrap counter there. */
interface Cursor {
  readonly at: number;
  readonly wrap: boolean;
}

/** A request that the device has. */
interface InFlight {
  readonly descriptors: number;
  readonly writable: readonly Place[];
}

/** A packed ring, written byte by byte (virtio 1.4 §2.8). */
export class PackedRing extends Ring {
  readonly parts: { readonly desc: number; readonly driver: number; readonly device: number };
  readonly #driver: number;
  #next: Cursor = { at: 0, wrap: true };
  /** Where the next used descriptor is, of those not seen. */
  #used: Cursor = { at: 0, wrap: true };
  #usedCount = 0;
  readonly #inFlight = new Map<number, InFlight>();

  constructor(memory: Uint8Array, area: number, size: number) {
    super(memory, area, size);
    const bytes = size * PACKED_DESC.SIZE;
    memory.fill(0, area, area + bytes + 2 * EVENT_SUPPRESS.SIZE);
    this.#driver = area + bytes;
    const driver = ARENA + this.#driver;
    this.parts = { desc: ARENA + area, driver, device: driver + EVENT_SUPPRESS.SIZE };
  }

  offer(step: RequestStep, places: readonly Place[], indirect: boolean, eventIdx: boolean): void {
    const { table, area } = this;
    const all = this.describe(step, places);
    const count = indirect ? 1 : all.length;
    let taken = count;
    for (const { descriptors } of this.#inFlight.values()) taken += descriptors;
    // A driver does not write over what the device has.
    if (taken > this.size) return;
    const id = this.added & 0x7fff;
    const flags = DescFlag.INDIRECT;
    const ring = indirect ? [{ address: ARENA + table, length: 16 * all.length, flags }] : all;
    if (indirect) {
      // Of a table's flags only WRITE means anything (§2.8.7).
      all.forEach((desc, i) => this.put(table + 16 * i, desc, 0, desc.flags & ~DescFlag.NEXT));
    }
    const start = this.#next;
    let first = 0;
    for (const [i, desc] of ring.entries()) {
      const { at, wrap } = this.#next;
      // A head or an index that cannot be is one of the wrong round here: nothing is made available.
      const right = step.wrong !== "head" && step.wrong !== "jump";
      const word = desc.flags | (wrap === right ? AVAIL : USED);
      if (i === 0) first = word;
      this.put(area + 16 * at, desc, id, i === 0 ? this.#notYet(at) : word);
      this.#next = this.#step(this.#next, 1);
    }
    // The flags of the first one make all of them available.
    this.view.setUint16(area + 16 * start.at + 14, first, true);
    this.#inFlight.set(id, { descriptors: count, writable: places.filter(({ write }) => write) });
    this.added++;
    const event = eventIdx && step.event !== undefined;
    const mode = step.quiet ? RingEvent.DISABLE : event ? RingEvent.DESC : RingEvent.ENABLE;
    const place = this.#step(this.#used, step.event ?? 0);
    this.view.setUint16(this.#driver, place.at | (place.wrap ? 0x8000 : 0), true);
    this.view.setUint16(this.#driver + 2, mode, true);
  }

  used(): number {
    return this.#usedCount + this.#fresh().length;
  }

  observe(): [string, string][] {
    const fresh = this.#fresh();
    const seen: [string, string][] = [["used.idx", String(this.#usedCount + fresh.length)]];
    for (const { id, length, write } of fresh) {
      const data = this.data(this.#inFlight.get(id)?.writable ?? []);
      seen.push(["used.id", String(id)], ["used.len", String(length)], ["data", data]);
      seen.push(["used.write", String(write)]);
    }
    return seen;
  }

  advance(): void {
    const fresh = this.#fresh();
    for (const { id, cursor } of fresh) {
      this.#inFlight.delete(id);
      this.#used = cursor;
    }
    this.#usedCount += fresh.length;
  }

  /** Used descriptors since it was advanced, and where the next one is after each. */
  #fresh(): { id: number; length: number; write: boolean; cursor: Cursor }[] {
    const fresh: { id: number; length: number; write: boolean; cursor: Cursor }[] = [];
    let cursor = this.#used;
    const left = new Map(this.#inFlight);
    while (left.size > 0) {
      const at = this.area + 16 * cursor.at;
      const flags = this.view.getUint16(at + 14, true);
      if ((flags & (AVAIL | USED)) !== (cursor.wrap ? AVAIL | USED : 0)) break;
      const id = this.view.getUint16(at + 12, true);
      const buffer = left.get(id);
      cursor = this.#step(cursor, buffer?.descriptors ?? 1);
      const write = (flags & DescFlag.WRITE) !== 0;
      fresh.push({ id, length: this.view.getUint32(at + 8, true), write, cursor });
      // An id that the device does not have ends the walk: where the next one is cannot be known.
      if (!left.delete(id)) break;
    }
    return fresh;
  }

  /** Flags that make nothing available. */
  #notYet(at: number): number {
    return this.view.getUint16(this.area + 16 * at + 14, true);
  }

  #step({ at, wrap }: Cursor, count: number): Cursor {
    const next = at + count;
    return { at: next % this.size, wrap: Math.floor(next / this.size) % 2 === 0 ? wrap : !wrap };
  }
}
