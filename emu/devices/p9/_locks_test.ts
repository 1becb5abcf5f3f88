import { assertEquals, assertThrows } from "@std/assert";
import { P9Errno, P9LockType } from "@vireo/hal";
import { type LockRange, LockTable, MAX_LOCKS } from "./_locks.ts";
import { P9Refusal } from "./export.ts";

const { READ, WRITE, UNLOCK } = P9LockType;
const FILE = 7n;
const FID = 5;

/** A range of process 1 of a client, unless it says otherwise; an end of 0 is that of the file. */
function range(type: number, start: number, end: number, more: Partial<LockRange> = {}): LockRange {
  return { type, start, length: end === 0 ? 0 : end - start, process: 1, client: "a", ...more };
}

const free = (): void => {};
const take = (table: LockTable, lock: LockRange, fid = FID, file = FILE): boolean =>
  table.lock(file, fid, lock, free);
/** Type, first byte and end of each lock of the file. */
const held = (table: LockTable): unknown[] =>
  (table.snapshot().find(([file]) => file === FILE)?.[1] ?? [])
    .map(({ type, start, end }) => [type, start, end]);

Deno.test("9p locks: an owner changes the part of its lock that a range covers", () => {
  for (
    const [type, start, end, left] of [
      [UNLOCK, 10, 20, []],
      [UNLOCK, 0, 0, []],
      [UNLOCK, 5, 10, [[WRITE, 10, 20]]],
      [UNLOCK, 20, 30, [[WRITE, 10, 20]]],
      [UNLOCK, 9, 11, [[WRITE, 11, 20]]],
      [UNLOCK, 10, 15, [[WRITE, 15, 20]]],
      [UNLOCK, 15, 20, [[WRITE, 10, 15]]],
      [UNLOCK, 19, 0, [[WRITE, 10, 19]]],
      [UNLOCK, 12, 15, [[WRITE, 10, 12], [WRITE, 15, 20]]],
      [READ, 12, 15, [[WRITE, 10, 12], [WRITE, 15, 20], [READ, 12, 15]]],
      [READ, 0, 12, [[WRITE, 12, 20], [READ, 0, 12]]],
      [WRITE, 10, 20, [[WRITE, 10, 20]]],
      [WRITE, 20, 21, [[WRITE, 10, 20], [WRITE, 20, 21]]],
    ] as const
  ) {
    const table = new LockTable();
    take(table, range(WRITE, 10, 20));
    assertEquals(take(table, range(type, start, end)), true);
    assertEquals([held(table), table.count], [left, left.length], `${type} ${start} ${end}`);
    // Of another file they are others.
    assertEquals(take(table, range(WRITE, 0, 0), FID, 8n), true);
    assertEquals([held(table), table.count], [left, left.length + 1]);
  }
});

Deno.test("9p locks: one of another owner is in the way where both have a byte and one of them writes", () => {
  const other = { process: 2 };
  for (
    const [type, start, end, owner, free] of [
      [WRITE, 10, 20, {}, true],
      [WRITE, 10, 20, other, false],
      [WRITE, 10, 20, { client: "b" }, false],
      [READ, 19, 30, other, false],
      [READ, 20, 30, other, true],
      [READ, 0, 10, other, true],
      [READ, 0, 11, other, false],
      [READ, 0, 0, other, false],
      [UNLOCK, 0, 0, other, true],
      [READ, 40, 50, other, true],
      [WRITE, 40, 50, other, false],
      [WRITE, 49, 0, other, false],
      [WRITE, 50, 0, other, true],
    ] as const
  ) {
    const table = new LockTable();
    take(table, range(WRITE, 10, 20));
    take(table, range(READ, 40, 50));
    const name = Deno.inspect({ type, start, end, owner });
    const asked = range(type, start, end, owner);
    let steps = 0;
    const found = table.find(FILE, asked, (count) => steps += count);
    if (type !== UNLOCK) assertEquals(found === undefined, free, name);
    assertEquals(steps, 2, "it looks at each lock");
    assertEquals(take(table, asked), free, name);
    const kept = [[WRITE, 10, 20], [READ, 40, 50]];
    if (!free || type === UNLOCK) assertEquals(held(table), kept, name);
    assertEquals(table.find(8n, asked, () => {}), undefined);
  }
});

Deno.test("9p locks: what is in the way is named with its owner, and with 0 bytes if it has no end", () => {
  const table = new LockTable();
  const lock = range(WRITE, 10, 20, { client: "b" });
  take(table, lock);
  take(table, range(READ, 30, 0));
  assertEquals(table.find(FILE, range(READ, 0, 0), free), lock);
  assertEquals(
    table.find(FILE, range(WRITE, 50, 60, { process: 2 }), free),
    range(READ, 30, 0),
  );
});

Deno.test("9p locks: there are 1024 at most, also where giving one back makes two of it", () => {
  const table = new LockTable();
  const all = Array.from({ length: MAX_LOCKS - 1 }, (_, i) => {
    return { type: WRITE, start: 10 * i, end: 10 * i + 5, process: 1, client: "a", fid: FID };
  });
  table.restore([[FILE, all]]);
  assertEquals(take(table, range(WRITE, 10 * MAX_LOCKS, 0)), true);
  const before = held(table);
  for (const more of [range(READ, 5, 6), range(UNLOCK, 2, 3)]) {
    const error = assertThrows(() => take(table, more), P9Refusal);
    assertEquals([error.errno, table.count], [P9Errno.ENOMEM, MAX_LOCKS]);
  }
  assertEquals(held(table), before);
  // What takes the place of another needs none.
  assertEquals(take(table, range(READ, 0, 5)), true);
  assertEquals(table.count, MAX_LOCKS);
  table.clear();
  assertEquals([table.count, held(table)], [0, []]);
});

Deno.test("9p locks: a range ends at the largest safe integer, or without a length at the end of the file", () => {
  const table = new LockTable();
  const last = Number.MAX_SAFE_INTEGER;
  assertEquals(take(table, range(WRITE, last - 1, last)), true);
  const error = assertThrows(() => take(table, { ...range(WRITE, last, 0), length: 1 }), P9Refusal);
  assertEquals([error.errno, held(table)], [P9Errno.EINVAL, [[WRITE, last - 1, last]]]);
});

Deno.test("9p locks: a fid gives back its own locks, and a table is restored as it was", () => {
  const table = new LockTable();
  take(table, range(WRITE, 0, 10), 1);
  take(table, range(WRITE, 10, 20), 2);
  take(table, range(WRITE, 0, 10), 1, 8n);
  const saved = structuredClone(table.snapshot());
  table.release(3);
  assertEquals(table.snapshot(), saved);
  table.release(1);
  assertEquals([table.count, table.snapshot().length, held(table)], [1, 1, [[WRITE, 10, 20]]]);
  // A part of a lock is its fid's.
  take(table, range(UNLOCK, 12, 14), 3);
  table.release(2);
  assertEquals([table.count, table.snapshot()], [0, []]);
  take(table, range(WRITE, 90, 99));
  table.restore(saved);
  assertEquals([table.count, table.snapshot()], [3, saved]);
});
