import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import {
  INFLIGHT_PACKED,
  INFLIGHT_PACKED_ENTRY,
  INFLIGHT_SPLIT,
  INFLIGHT_SPLIT_ENTRY,
} from "@vireo/hal/vhost-user";
import fc from "fast-check";
import type { Chain } from "../device.ts";
import { GuestMemory } from "../memory.ts";
import { BASE as SPLIT_BASE, RawRing } from "./_raw_ring_test_util.ts";
import { AVAIL, BASE, INDIRECT, RawPackedRing, USED, WRITE } from "./_raw_packed_test_util.ts";
import type { InflightLog } from "./inflight.ts";
import { inflightSize } from "../transport/vhost_user/inflight.ts";
import { readCount, views, writeCount } from "../transport/vhost_user/inflight_log.ts";
import { PackedLog } from "../transport/vhost_user/inflight_packed.ts";
import { SplitLog } from "../transport/vhost_user/inflight_split.ts";

const SIZE = 8;
/** Bytes of guest memory, of which rings and tables are in the first 8 KiB. */
const MEMORY = 0x8000;
const LOG_BYTES = inflightSize(1, SIZE);

/** What a device does next: take so many, return the one at a place of those it has, publish. */
interface Act {
  readonly take: number;
  readonly push: readonly number[];
  readonly signal: boolean;
}
const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.record({
    take: fc.nat(5),
    push: fc.array(fc.nat(7), { maxLength: 4 }),
    signal: fc.boolean(),
  }),
  { maxLength: 24 },
);

/** The memories at a moment at which a back end may be killed, and what it had taken by then. */
interface Moment {
  readonly guest: Uint8Array<ArrayBuffer>;
  readonly log: ArrayBuffer;
  readonly taken: readonly number[];
}

/** Keeps the memories before and after each note. */
class Killer implements InflightLog {
  readonly moments: Moment[] = [];
  readonly takenSoFar: number[] = [];
  /** In the order of their used entries. */
  readonly usedSoFar: number[] = [];
  readonly #log: InflightLog;
  readonly #memory: GuestMemory;
  readonly #bytes: ArrayBuffer;

  constructor(log: InflightLog, memory: GuestMemory, bytes: ArrayBuffer) {
    this.#log = log;
    this.#memory = memory;
    this.#bytes = bytes;
  }

  taken(id: number, start: number, descriptors: number): void {
    this.#keep();
    this.#log.taken(id, start, descriptors);
    this.takenSoFar.push(id);
    this.#keep();
  }

  used(id: number): void {
    this.#log.used(id);
    this.usedSoFar.push(id);
    this.#keep();
  }

  publishing(position: number): void {
    this.#log.publishing?.(position);
    this.#keep();
  }

  published(position: number): void {
    this.#keep();
    this.#log.published(position);
    this.#keep();
  }

  #keep(): void {
    this.moments.push({
      guest: this.#memory.bytes.slice(0, 0x2000),
      log: this.#bytes.slice(0),
      taken: [...this.takenSoFar],
    });
  }
}

/** Lets a device do what a plan says. */
function play(
  queue: { pop(): Chain | undefined; push(chain: Chain): void; signal(): void },
  plan: readonly Act[],
  drive: () => void,
): void {
  const held: Chain[] = [];
  for (const { take, push, signal } of plan) {
    drive();
    for (let i = 0; i < take; i++) {
      const chain = queue.pop();
      if (chain !== undefined) held.push(chain);
    }
    for (const at of push) {
      const [chain] = held.splice(at % Math.max(held.length, 1), 1);
      if (chain !== undefined) queue.push(chain);
    }
    if (signal) queue.signal();
  }
}

function memoryOf(bytes: Uint8Array): GuestMemory {
  const memory = new GuestMemory(MEMORY, BASE);
  memory.bytes.set(bytes);
  return memory;
}

const START = { lastAvail: 0, usedIndex: 0, signalled: 0, held: [] };
const splitLog = (bytes: ArrayBuffer) => ({ memory, used }: RawRing) =>
  new SplitLog(views(bytes, 0, LOG_BYTES), SIZE, memory.words16, used / 2 + 1);

for (const inOrder of [false, true]) {
  const name = inOrder ? "split, in order" : "split";
  Deno.test(`inflight: whenever a back end is killed, the next one takes what it had, ${name}`, () => {
    fc.assert(
      fc.property(acts, (plan) => {
        const bytes = new ArrayBuffer(LOG_BYTES);
        let killer!: Killer;
        const ring = new RawRing({
          size: SIZE,
          memory: new GuestMemory(MEMORY, BASE),
          inOrder,
          inflight: (self) => {
            const log = splitLog(bytes)(self);
            log.recover(START);
            return killer = new Killer(log, self.memory, bytes);
          },
        });
        // Heads that the driver has: it makes them available again once they are used.
        const free = Array.from({ length: SIZE }, (_, i) => i);
        let seen = 0;
        play(ring.queue, plan, () => {
          for (; seen !== ring.usedIndex; seen++) free.push(ring.usedEntry(seen)[0]);
          for (const head of free.splice(0)) {
            ring.put(head, SPLIT_BASE + 0x4000 + head, 1, WRITE);
            ring.offer(head);
          }
        });
        assertEquals(ring.faults, []);
        for (const { guest, log, taken } of killer.moments) {
          const memory = memoryOf(guest);
          let from = START as ReturnType<SplitLog["recover"]>;
          const next = new RawRing({
            size: SIZE,
            memory,
            inOrder,
            inflight: (self) => {
              const again = splitLog(log)(self);
              from = again.recover(START);
              return again;
            },
          });
          next.queue.resume(from);
          // The used index says how many of them the driver sees.
          const used = killer.usedSoFar.slice(0, next.usedIndex);
          assertEquals(from.held, without(taken, used));
          const heads = next.serve();
          assertEquals([heads.slice(0, from.held.length), next.faults], [[...from.held], []]);
        }
      }),
      { numRuns: 25 },
    );
  });
}

/** The next place of a packed ring, with its wrap counter. */
function after(place: number): number {
  return (place + 1) % 0x8000 < SIZE ? place + 1 : 0x8000 - (place & 0x8000);
}

/** What was taken and not returned, in the order in which it was taken. */
function without(taken: readonly number[], used: readonly number[]): number[] {
  const left = [...taken];
  for (const id of used) left.splice(left.indexOf(id), 1);
  return left;
}

const PACKED_START = {
  ring: "packed",
  next: 0x8000,
  used: 0x8000,
  fresh: 0,
  first: 0,
  held: [],
  completed: [],
} as const;
const packedLog = (bytes: ArrayBuffer) => ({ memory, desc }: RawPackedRing) =>
  new PackedLog(views(bytes, 0, LOG_BYTES), SIZE, memory, desc);

for (const inOrder of [false, true]) {
  const name = inOrder ? "packed, in order" : "packed";
  Deno.test(`inflight: whenever a back end is killed, the next one takes what it had, ${name}`, () => {
    fc.assert(
      fc.property(
        acts,
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 40 }),
        (plan, sizes) => {
          const bytes = new ArrayBuffer(LOG_BYTES);
          let killer!: Killer;
          const ring = new RawPackedRing({
            size: SIZE,
            inOrder,
            inflight: (self) => {
              const log = packedLog(bytes)(self);
              log.recover(PACKED_START);
              return killer = new Killer(log, self.memory, bytes);
            },
          });
          ring.put(0, BASE + 0x4100, 2, 0, 0, 0x1800);
          ring.put(1, BASE + 0x4200, 3, 0, WRITE, 0x1800);
          // Requests of one to three elements, or with a table; the elements say which request it is.
          const counts = new Map<number, number>();
          let room = SIZE;
          let next = 0;
          /** How many were used by a moment: the driver takes them as they come. */
          const usedAt: number[] = [];
          const used: number[] = [];
          play(ring.queue, plan, () => {
            for (const [id] of ring.take()) {
              // In order one descriptor stands for those before it too, but here each has its own.
              room += counts.get(id)!;
              used.push(id);
            }
            usedAt.push(killer.moments.length);
            for (;;) {
              const count = sizes[next % sizes.length]!;
              if (count > room) return;
              const id = 100 + next++;
              room -= count;
              counts.set(id, count);
              if (count === 2) {
                room++;
                counts.set(id, 1);
                ring.offer(id, [BASE + 0x1800, 32, INDIRECT]);
              } else {
                ring.offer(
                  id,
                  ...Array.from(
                    { length: count },
                    (_, i) => [BASE + 0x4000 + i, id, WRITE] as const,
                  ),
                );
              }
            }
          });
          assertEquals(ring.faults, []);
          for (const { guest, log, taken } of killer.moments) {
            const memory = memoryOf(guest);
            let from = PACKED_START as ReturnType<PackedLog["recover"]>;
            const again = new RawPackedRing({
              size: SIZE,
              memory,
              inOrder,
              inflight: (self) => {
                const recovered = packedLog(log)(self);
                from = recovered.recover(PACKED_START);
                return recovered;
              },
            });
            again.queue.resume(from);
            const held = from.held.map(({ id }) => id);
            // What is not held of what was taken was published, which the place of the next used one says.
            const gone = taken.filter((id) => !held.includes(id));
            const places = gone.reduce((sum, id) => sum + counts.get(id)!, 0);
            const round = places % (2 * SIZE);
            const at = round % SIZE | (round < SIZE ? 0x8000 : 0);
            assertEquals(from.used, at);
            assertEquals(held, taken.filter((id) => held.includes(id)));
            for (const { id, elements } of from.held) {
              const count = counts.get(id)!;
              const direct = elements[0]![1] === id;
              assertEquals(elements.length, direct ? count : 2);
              if (!direct) assertEquals(elements, [[0x4100, 2, false], [0x4200, 3, true]]);
            }
            // None of them looks used, whatever a batch left there that was not published.
            for (let i = from.used; i !== from.next; i = after(i)) {
              const flags = again.flags(i % SIZE) & (AVAIL | USED);
              assertEquals(flags, i >= 0x8000 ? AVAIL : USED);
            }
            const ids = again.serve();
            assertEquals([ids.slice(0, held.length), again.faults], [held, []]);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
}

Deno.test("inflight: notes of any bytes are refused, or name requests of the ring", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(LOG_BYTES - 1), fc.nat(255)), { maxLength: 40 }),
      fc.boolean(),
      (changes, packed) => {
        const bytes = new ArrayBuffer(LOG_BYTES);
        const all = new Uint8Array(bytes);
        const header = new DataView(bytes);
        if (packed) {
          packedLog(bytes)(new RawPackedRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) }))
            .recover(PACKED_START);
        } else {splitLog(bytes)(new RawRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) }))
            .recover(START);}
        for (const [at, value] of changes) all[at] = value;
        header.setUint16(8, 1, true);
        header.setUint16(10, SIZE, true);
        try {
          if (packed) {
            const ring = new RawPackedRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) });
            const from = packedLog(bytes)(ring).recover(PACKED_START);
            assert(from.held.length <= SIZE);
            ring.queue.resume(from);
            ring.serve();
          } else {
            const ring = new RawRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) });
            const from = splitLog(bytes)(ring).recover(START);
            assert(from.held.every((head) => head < SIZE));
            ring.queue.resume(from);
            ring.serve();
          }
        } catch (error) {
          assert(error instanceof VireoError || error instanceof RangeError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("inflight: what a second back end takes is younger than what the first one left to it", () => {
  const split = new ArrayBuffer(LOG_BYTES);
  const ring = new RawRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) });
  const next = (): readonly [SplitLog, readonly number[]] => {
    const log = splitLog(split)(ring);
    return [log, log.recover(START).held as readonly number[]];
  };
  next()[0].taken(5);
  const [second, left] = next();
  second.taken(2);
  assertEquals([left, next()[1]], [[5], [5, 2]]);

  const packed = new ArrayBuffer(LOG_BYTES);
  const other = new RawPackedRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) });
  for (const id of [10, 11, 12]) other.offer(id, [BASE + 0x4000, 1, WRITE]);
  const again = (): readonly [PackedLog, readonly number[]] => {
    const log = packedLog(packed)(other);
    return [log, log.recover(PACKED_START).held.map(({ id }) => id)];
  };
  const [first] = again();
  first.taken(10, 0, 1);
  first.taken(11, 1, 1);
  // The first one's entry is free again, and will be taken next.
  first.used(10);
  first.publishing(0x8001);
  first.published();
  const [later, kept] = again();
  later.taken(12, 2, 1);
  assertEquals([kept, again()[1]], [[11], [11, 12]]);
});

Deno.test("inflight: entries behind those of the queue, of a larger one before it, are not looked at", () => {
  const bytes = inflightSize(1, 2 * SIZE);
  const memory = new GuestMemory(MEMORY, BASE);
  const split = views(new ArrayBuffer(bytes), 0, bytes);
  const ring = new RawRing({ size: SIZE, memory });
  const splitOf = (): SplitLog => new SplitLog(split, SIZE, memory.words16, ring.used / 2 + 1);
  splitOf().recover(START);
  split.u8[INFLIGHT_SPLIT.SIZE + SIZE * INFLIGHT_SPLIT_ENTRY.SIZE] = 1;
  assertEquals(splitOf().recover(START).held, []);

  const packed = views(new ArrayBuffer(bytes), 0, bytes);
  const { desc } = new RawPackedRing({ size: SIZE, memory });
  const packedOf = (): PackedLog => new PackedLog(packed, SIZE, memory, desc);
  packedOf().recover(PACKED_START);
  packed.u8[INFLIGHT_PACKED.SIZE + SIZE * INFLIGHT_PACKED_ENTRY.SIZE] = 1;
  assertEquals(packedOf().recover(PACKED_START).held, []);
});

Deno.test("inflight: a batch of a packed ring was published if its first descriptor says so, of all places or one", () => {
  for (const wrap of [1, 0] as const) {
    for (const count of [1, SIZE]) {
      for (const published of [false, true]) {
        const memory = new GuestMemory(MEMORY, BASE);
        const ring = new RawPackedRing({ size: SIZE, memory, wrap });
        ring.offer(3, ...Array.from({ length: count }, () => [BASE + 0x4000, 1, WRITE] as const));
        const bytes = new ArrayBuffer(LOG_BYTES);
        const place = wrap << 15;
        const log = packedLog(bytes)(ring);
        log.recover({ ...PACKED_START, next: place, used: place });
        log.taken(3, 0, count);
        log.used(3);
        const after = count === SIZE ? (1 - wrap) << 15 : count | place;
        log.publishing(after);
        // The back end is killed before or behind the store that the driver sees.
        if (published) ring.put(0, 0, 1, 3, wrap === 1 ? AVAIL | USED : 0);
        const { used, held } = packedLog(bytes)(ring).recover(PACKED_START);
        assertEquals([used, held.map(({ id }) => id)], published ? [after, []] : [place, [3]]);
      }
    }
  }
});

Deno.test("inflight: a count has two words, and those beside it stay", () => {
  const notes = views(new ArrayBuffer(16), 0, 16);
  for (const count of [1, 2 ** 32 + 2, Number.MAX_SAFE_INTEGER]) {
    notes.u32.fill(7);
    writeCount(notes, 4, count);
    assertEquals([...notes.u32], [7, count % 2 ** 32, Math.floor(count / 2 ** 32), 7]);
    assertEquals(readCount(notes, 4), count);
  }
});

Deno.test("inflight: a packed ring's buffers are found again wherever they lie", () => {
  const far = 2 ** 40;
  const memory = new GuestMemory(MEMORY, BASE);
  memory.setRegions([
    { address: BASE, size: MEMORY / 2, offset: 0 },
    { address: far, size: MEMORY / 2, offset: MEMORY / 2 },
  ]);
  const ring = new RawPackedRing({ size: SIZE, memory });
  ring.offer(3, [far + 64, 5, 0], [far + 128, 7, WRITE]);
  const bytes = new ArrayBuffer(LOG_BYTES);
  const log = packedLog(bytes)(ring);
  log.recover(PACKED_START);
  log.taken(3, 0, 2);
  const { held } = packedLog(bytes)(ring).recover(PACKED_START);
  const at = MEMORY / 2;
  assertEquals(held.map(({ elements }) => elements), [[[at + 64, 5, false], [at + 128, 7, true]]]);
});

Deno.test("inflight: what a driver makes available beyond its ring is in no notes of a packed one", () => {
  const memory = new GuestMemory(MEMORY, BASE);
  const ring = new RawPackedRing({ size: SIZE, memory });
  ring.offer(1, ...Array.from({ length: SIZE }, () => [BASE + 0x4000, 1, WRITE] as const));
  for (const again of [false, true]) {
    const bytes = new ArrayBuffer(LOG_BYTES);
    let log = packedLog(bytes)(ring);
    log.recover(PACKED_START);
    log.taken(1, 0, SIZE);
    if (again) {
      log = packedLog(bytes)(ring);
      log.recover(PACKED_START);
    }
    const before = bytes.slice(0);
    log.taken(2, 0, 1);
    assertEquals(bytes, before);
    // What it gives back can be noted again.
    log.used(1);
    log.publishing(0);
    log.published();
    log.taken(2, 0, SIZE);
    assertEquals(packedLog(bytes)(ring).recover(PACKED_START).held.length, 1);
  }
});

Deno.test("inflight: a place behind the last one is refused, wherever it is noted", () => {
  const { memory, desc } = new RawPackedRing({ size: SIZE, memory: new GuestMemory(MEMORY, BASE) });
  for (const fields of [["used_idx"], ["old_used_idx"], ["used_idx", "old_used_idx"]] as const) {
    for (const [place, fits] of [[SIZE - 1, true], [SIZE, false]] as const) {
      const notes = views(new ArrayBuffer(LOG_BYTES), 0, LOG_BYTES);
      const log = (): PackedLog => new PackedLog(notes, SIZE, memory, desc);
      log().recover(PACKED_START);
      for (const field of fields) notes.u16[INFLIGHT_PACKED[field].offset / 2] = place;
      if (fits) log().recover(PACKED_START);
      else assertThrows(() => log().recover(PACKED_START), VireoError, "place 8");
    }
  }
});
