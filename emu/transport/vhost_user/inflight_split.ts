import { INFLIGHT_SPLIT as SPLIT, INFLIGHT_SPLIT_ENTRY as ENTRY } from "@vireo/hal/vhost-user";
import type { QueuePosition } from "../../ring/position.ts";
import {
  readCount,
  type RecoverableLog,
  type Views,
  writeCount,
  writeHeader,
  written,
  wrong,
} from "./inflight_log.ts";

/** The notes of a split queue, by head. */
export class SplitLog implements RecoverableLog<QueuePosition> {
  readonly #views: Views;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #size: number;
  /** The ring's used index. */
  readonly #ring: Uint16Array;
  readonly #usedAt: number;
  /** Heads with used entries that are not published. */
  readonly #batch: number[] = [];
  #counter = 1;

  constructor(views: Views, size: number, ring: Uint16Array, usedAt: number) {
    this.#views = views;
    this.#u8 = views.u8;
    this.#u16 = views.u16;
    this.#size = size;
    this.#ring = ring;
    this.#usedAt = usedAt;
  }

  recover(position: QueuePosition): QueuePosition {
    const u16 = this.#u16;
    if (!written(this.#views, this.#size)) {
      u16[SPLIT.used_idx.offset / 2] = position.usedIndex;
      writeHeader(this.#views, this.#size);
      return position;
    }
    const usedIndex = this.#ring[this.#usedAt]!;
    this.#finishBatch(usedIndex);
    const held: (readonly [head: number, counter: number])[] = [];
    for (let head = 0; head < this.#size; head++) {
      const at = entryAt(head);
      if (this.#u8[at] === 1) held.push([head, readCount(this.#views, at + COUNTER)]);
    }
    held.sort(([, a], [, b]) => a - b);
    this.#counter = (held.at(-1)?.[1] ?? 0) + 1;
    return {
      lastAvail: (usedIndex + held.length) & 0xffff,
      usedIndex,
      signalled: usedIndex,
      held: held.map(([head]) => head),
    };
  }

  taken(head: number): void {
    const at = entryAt(head);
    writeCount(this.#views, at + COUNTER, this.#counter++);
    this.#u8[at] = 1;
  }

  used(head: number): void {
    const last = SPLIT.last_batch_head.offset / 2;
    this.#u16[(entryAt(head) + ENTRY.next.offset) / 2] = this.#u16[last]!;
    this.#u16[last] = head;
    this.#batch.push(head);
  }

  published(usedIndex: number): void {
    for (const head of this.#batch) this.#u8[entryAt(head)] = 0;
    this.#batch.length = 0;
    this.#u16[SPLIT.used_idx.offset / 2] = usedIndex;
  }

  /** A back end that ended between the used index and its notes did not note the last batch. */
  #finishBatch(usedIndex: number): void {
    const noted = SPLIT.used_idx.offset / 2;
    const count = (usedIndex - this.#u16[noted]!) & 0xffff;
    if (count > this.#size) throw wrong(`a used index that is ${count} behind`);
    let head = this.#u16[SPLIT.last_batch_head.offset / 2]!;
    for (let i = 0; i < count; i++) {
      if (head >= this.#size) throw wrong(`head ${head}`);
      this.#u8[entryAt(head)] = 0;
      head = this.#u16[(entryAt(head) + ENTRY.next.offset) / 2]!;
    }
    this.#u16[noted] = usedIndex;
  }
}

const COUNTER = ENTRY.counter.offset;

function entryAt(head: number): number {
  return SPLIT.SIZE + head * ENTRY.SIZE;
}
