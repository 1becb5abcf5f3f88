import { AVAIL_NO_INTERRUPT, DescFlag, splitRingLayout } from "@vireo/hal";
import type { RequestStep } from "./request.ts";
import { ARENA, CHAIN, type Place, Ring } from "./ring.ts";

/** A split ring, written byte by byte. */
export class SplitRing extends Ring {
  readonly parts: { readonly desc: number; readonly driver: number; readonly device: number };
  readonly #avail: number;
  readonly #used: number;
  /** Used entries looked at. */
  #seen = 0;
  /** Places of each chain that the device writes, by head. */
  readonly #writable = new Map<number, readonly Place[]>();

  constructor(memory: Uint8Array, area: number, size: number) {
    super(memory, area, size);
    const layout = splitRingLayout(size);
    memory.fill(0, area, area + layout.totalSize);
    this.#avail = area + layout.availOffset;
    this.#used = area + layout.usedOffset;
    this.parts = { desc: ARENA + area, driver: ARENA + this.#avail, device: ARENA + this.#used };
  }

  offer(step: RequestStep, places: readonly Place[], indirect: boolean): void {
    const { size, area, table, slot } = this;
    const first = slot * CHAIN % size;
    this.describe(step, places).forEach((desc, i) => {
      const index = (n: number): number => indirect ? n : (first + n) % size;
      const more = (desc.flags & DescFlag.NEXT) !== 0;
      const next = !more ? 0 : i + 1 === places.length ? index(0) : index(i + 1);
      this.put(indirect ? table + 16 * i : area + 16 * index(i), desc, desc.flags, next);
    });
    if (indirect) {
      const flags = DescFlag.INDIRECT;
      const desc = { address: ARENA + table, length: 16 * places.length, flags };
      this.put(area + 16 * first, desc, flags, 0);
    }
    this.#writable.set(first, places.filter(({ write }) => write));
    const head = step.wrong === "head" ? size + 5 : first;
    this.view.setUint16(this.#avail + 4 + 2 * (this.added % size), head, true);
    this.added = (this.added + (step.wrong === "jump" ? size + 3 : 1)) & 0xffff;
    this.view.setUint16(this.#avail + 2, this.added, true);
    this.view.setUint16(this.#avail, step.quiet ? AVAIL_NO_INTERRUPT : 0, true);
    if (step.event === undefined) return;
    const event = this.used() + step.event;
    this.view.setUint16(this.#avail + 4 + 2 * size, event & 0xffff, true);
  }

  used(): number {
    return this.view.getUint16(this.#used + 2, true);
  }

  observe(): [string, string][] {
    const used = this.used();
    const seen: [string, string][] = [["used.idx", String(used)]];
    const count = (used - this.#seen) & 0xffff;
    for (let i = 0; i < Math.min(count, this.size); i++) {
      const entry = this.#used + 4 + 8 * ((this.#seen + i) % this.size);
      const id = this.view.getUint32(entry, true);
      const length = this.view.getUint32(entry + 4, true);
      const data = this.data(this.#writable.get(id) ?? []);
      seen.push(["used.id", String(id)], ["used.len", String(length)], ["data", data]);
    }
    return seen;
  }

  advance(): void {
    this.#seen = this.used();
  }
}
