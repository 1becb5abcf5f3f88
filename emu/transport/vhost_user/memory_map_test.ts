import fs from "node:fs";
import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { Libc } from "@vireo/hal/vhost-user";
import { type FrontEndRegion, MemoryMap } from "./memory_map.ts";

const PAGE = 4096;
const HUGE = 2 << 20;

/** A map of 16 MiB and files whose pages say which they are. */
class Rig implements Disposable {
  readonly libc = new Libc();
  readonly map = new MemoryMap(this.libc, 16 << 20);
  readonly #files: number[] = [];

  /** A file of pages, each of which begins with `mark` and its number. */
  file(mark: number, pages: number): number {
    const fd = this.libc.memoryFile("vireo-test", pages * PAGE);
    this.#files.push(fd);
    for (let i = 0; i < pages; i++) this.libc.writeAt(fd, Uint8Array.of(mark, i), i * PAGE);
    return fd;
  }

  /** The first two bytes at a guest address; undefined where there is no memory. */
  at(guest: number): number[] | undefined {
    const { memory } = this.map;
    const offset = memory.offset(guest, 2);
    return offset < 0 ? undefined : [...memory.bytes.subarray(offset, offset + 2)];
  }

  [Symbol.dispose](): void {
    this.map[Symbol.dispose]();
    for (const fd of this.#files) this.libc.close(fd);
    this.libc.dispose();
  }
}

const region = (
  fd: number,
  guest: number,
  pages: number,
  more: Partial<FrontEndRegion> = {},
): FrontEndRegion => ({ fd, guest, size: pages * PAGE, user: guest, offset: 0, ...more });

Deno.test("memory map: a table replaces the one before, what is in both stays where it is", () => {
  using rig = new Rig();
  const { map } = rig;
  const [a, b] = [rig.file(0xa, 4), rig.file(0xb, 8)];
  map.setTable([region(a, 0x10000, 2), region(b, 0x40000, 8)]);
  assertEquals([map.count, rig.at(0x10000), rig.at(0x11000)], [2, [0xa, 0], [0xa, 1]]);
  assertEquals([rig.at(0x47000), rig.at(0x48000), rig.at(0xf000)], [
    [0xb, 7],
    undefined,
    undefined,
  ]);
  // The largest is the first in the range.
  assertEquals([map.memory.base, map.memory.size], [0x40000, 8 * PAGE]);
  const place = map.memory.offset(0x10000, 1);
  const old = map.memory.offset(0x40000, 1);
  map.setTable([region(a, 0x10000, 2), region(a, 0x20000, 1, { offset: 3 * PAGE })]);
  assertEquals([map.memory.offset(0x10000, 1), rig.at(0x20000)], [place, [0xa, 3]]);
  // What was replaced has no address, and stays mapped until no queue runs.
  assertEquals([rig.at(0x40000), map.memory.bytes[old]], [undefined, 0xb]);
  map.release();
  assertEquals(map.memory.bytes[old], 0);
  // The same numbers of another file are another region.
  map.setTable([region(b, 0x10000, 2)]);
  assertEquals([rig.at(0x10000), map.count], [[0xb, 0], 1]);
  map.clear();
  assertEquals([rig.at(0x10000), map.count, map.memory.bytes[place]], [undefined, 0, 0]);
});

Deno.test("memory map: at most 64 regions of earlier tables stay mapped, the last ones", () => {
  using rig = new Rig();
  const { map } = rig;
  const fd = rig.file(1, 80);
  const places = Array.from({ length: 66 }, (_, i) => {
    map.setTable([region(fd, 0x10000, 1, { offset: i * PAGE })]);
    return map.memory.offset(0x10000, 1);
  });
  const mapped = places.map((place, i) => map.memory.bytes[place + 1] === i);
  // The table has one, 64 are kept, and the place of the first is free.
  assertEquals([mapped[0], map.memory.bytes[places[0]!], mapped.lastIndexOf(false)], [true, 0, -1]);
});

Deno.test("memory map: a region is removed as often as it was added", () => {
  using rig = new Rig();
  const { map } = rig;
  const fd = rig.file(7, 4);
  const one = region(fd, 0x10000, 2);
  for (let i = 0; i < 3; i++) map.add(one);
  assertEquals(map.count, 1);
  map.add(region(fd, 0x20000, 2, { offset: 2 * PAGE }));
  assertEquals([map.count, rig.at(0x20000)], [2, [7, 2]]);
  for (let left = 2; left >= 0; left--) {
    map.remove(one);
    assertEquals(rig.at(0x10000), left > 0 ? [7, 0] : undefined);
  }
  for (const other of [{ guest: 0x30000 }, { size: PAGE }, { user: 0 }]) {
    assertThrows(
      () => map.remove({ ...region(fd, 0x20000, 2), ...other }),
      VireoError,
      "expected a region that was added",
    );
  }
  // A table counts again from one.
  map.add(one);
  map.add(one);
  map.setTable([one]);
  map.remove(one);
  assertEquals(map.count, 0);
});

Deno.test("memory map: a region is in one place of its file, of the front end and of the guest", () => {
  using rig = new Rig();
  const { map } = rig;
  const fd = rig.file(9, 4);
  const taken = region(fd, 0x10000, 2, { user: 0x70000 });
  map.add(taken);
  const beside: readonly Partial<FrontEndRegion>[] = [
    { guest: 0x12000, user: 0x72000 },
    { guest: 0xf000, size: PAGE, user: 0x6f000 },
  ];
  for (const more of beside) {
    map.add({ ...taken, ...more });
    map.remove({ ...taken, ...more });
  }
  const wrong: readonly (readonly [Partial<FrontEndRegion>, string])[] = [
    [{ guest: 0x11000, user: 0x90000 }, "overlap: saw 0x11000"],
    [{ guest: 0xf000, user: 0x90000 }, "overlap: saw 0xf000"],
    [{ guest: 0x30000, user: 0x71000 }, "overlap: saw 0x30000"],
    [{ guest: 0x30000, user: 0x6f000 }, "overlap: saw 0x30000"],
    [{ offset: PAGE }, "overlap: saw 0x10000"],
    [{ guest: 1 }, "expected multiples of a page"],
    [{ size: PAGE + 1 }, "expected multiples of a page"],
    [{ offset: 2 }, "expected multiples of a page"],
    [{ size: 0 }, "expected at least a page"],
    [{ guest: 2 ** 53 - PAGE, size: PAGE }, "expected addresses up to 2^53-1"],
    [{ user: 2 ** 53 - PAGE, size: PAGE }, "expected addresses up to 2^53-1"],
    [{ size: 5 * PAGE }, "saw bytes 0 to 20480, expected at most 16384"],
    [{ offset: 3 * PAGE }, "saw bytes 12288 to 20480, expected at most 16384"],
  ];
  for (const [more, why] of wrong) {
    const error = assertThrows(() => map.add({ ...taken, ...more }), VireoError, why);
    assertEquals(error.code, "BAD_MESSAGE");
    assertThrows(() => map.setTable([taken, { ...taken, ...more }]), VireoError, why);
    assertEquals([map.count, rig.at(0x10000)], [1, [9, 0]]);
  }
  assertEquals([0x6ffff, 0x70000, 0x71fff, 0x72000].map((user) => map.toGuest(user)), [
    undefined,
    0x10000,
    0x11fff,
    undefined,
  ]);
});

Deno.test("memory map: large regions begin where huge pages do, and a map that is full stays as it was", () => {
  using rig = new Rig();
  const { map } = rig;
  const [small, large] = [rig.file(1, 1), rig.file(2, HUGE / PAGE)];
  const begins = (guest: number): number => map.memory.offset(guest, 1) % HUGE;
  map.add(region(small, 0x1000, 1));
  const parts = [1, 2, 3, 4, 5, 6, 7].map((i) => region(large, i * HUGE, HUGE / PAGE));
  for (const part of parts) map.add(part);
  assertEquals(parts.map(({ guest }) => begins(guest)), parts.map(() => 0));
  const more = [8, 9].map((i) => region(large, i * HUGE, HUGE / PAGE));
  for (let i = 0; i < 3; i++) {
    assertThrows(() => map.add(more[0]!));
    assertThrows(() => map.setTable([...parts, ...more]));
    assertEquals([map.count, rig.at(7 * HUGE)], [8, [2, 0]]);
  }
});

Deno.test("memory map: nothing is memory before the first table and after the end", () => {
  const rig = new Rig();
  const { memory } = rig.map;
  assertEquals(rig.at(0), undefined);
  rig.map.setTable([region(rig.file(1, 1), 0x1000, 1)]);
  assertEquals(rig.at(0x1000), [1, 0]);
  rig[Symbol.dispose]();
  assertEquals([memory.contains(0x1000, 1), memory.bytes.length], [false, 0]);
});

Deno.test("memory map: the same table again moves nothing, and what is removed leaves zeroes", () => {
  using rig = new Rig();
  const { map } = rig;
  const table = [region(rig.file(1, 2), 0x1000, 2), region(rig.file(2, 1), 0x8000, 1)];
  map.setTable(table);
  const places = (): number[] => table.map(({ guest }) => map.memory.offset(guest, 1));
  const before = places();
  for (let i = 0; i < 2; i++) {
    map.setTable(table);
    assertEquals(places(), before);
  }
  map.remove(table[1]!);
  assertEquals(before.map((place) => map.memory.bytes[place]), [1, 0]);
});

Deno.test("memory map: the place of a region that is removed, or could not be mapped, is free again", () => {
  using rig = new Rig();
  const { map } = rig;
  const half = 4 * HUGE / PAGE;
  const large = region(rig.file(1, half), 0, half);
  const path = Deno.makeTempFileSync({ prefix: "vireo-" });
  Deno.truncateSync(path, large.size);
  // A file that is only read cannot be shared memory.
  const readOnly = fs.openSync(path, "r");
  Deno.removeSync(path);
  for (let i = 0; i < 3; i++) {
    assertThrows(() => map.add({ ...large, fd: readOnly }), VireoError);
    map.add(large);
    map.remove(large);
    assertEquals(map.count, 0);
  }
  fs.closeSync(readOnly);
});
