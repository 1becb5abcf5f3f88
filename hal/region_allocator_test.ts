import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RegionAllocator } from "./region_allocator.ts";
import { VireoError } from "./errors.ts";

Deno.test("ranges are aligned, inside the region and never overlap", () => {
  const step = fc.record({
    size: fc.integer({ min: 1, max: 9000 }),
    shift: fc.integer({ min: 0, max: 14 }),
    free: fc.option(fc.nat(20), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ram = new RegionAllocator(0x4010, 0x1_0000);
      const live: { start: number; end: number }[] = [];
      for (const { size, shift, free } of steps) {
        if (free !== undefined && live.length > 0) {
          ram.free(live.splice(free % live.length, 1)[0]!.start);
          continue;
        }
        let start: number;
        try {
          start = ram.alloc(size, 1 << shift);
        } catch (error) {
          assert(error instanceof VireoError && error.code === "OUT_OF_MEMORY");
          continue;
        }
        assertEquals(start % (1 << shift), 0);
        assert(start >= 0x4010 && start + size <= 0x1_4010);
        assert(live.every((other) => start + size <= other.start || start >= other.end));
        live.push({ start, end: start + size });
      }
      for (const { start } of live) ram.free(start);
      assertEquals(ram.freeBytes, 0x1_0000);
      // Only a region without any split left in it can hold this.
      assertEquals(ram.alloc(0x1_0000, 16), 0x4010);
    }),
    { seed: 42, numRuns: 200 },
  );
});

Deno.test("an exhausted region and a double free are told apart", () => {
  const ram = new RegionAllocator(0, 64);
  const address = ram.alloc(64);
  const error = assertThrows(() => ram.alloc(1), VireoError);
  assert(error instanceof VireoError && error.code === "OUT_OF_MEMORY");
  ram.free(address);
  assertThrows(() => ram.free(address), RangeError, "no allocated range starts there");
  assertThrows(() => ram.alloc(0), RangeError);
  assertThrows(() => ram.alloc(16, 24), RangeError);
});

Deno.test("region allocator: starts, sizes and alignments at their bounds", () => {
  const most = 2 ** 53 - 16;
  for (const [start, size] of [[0, 16], [16, 32], [0, most], [most - 16, 16]] as const) {
    assertEquals(new RegionAllocator(start, size).freeBytes, size);
  }
  for (const [start, size] of [[-16, 16], [8, 16], [0.5, 16], [2 ** 53, 16]] as const) {
    assertThrows(() => new RegionAllocator(start, size), RangeError, "the start must be");
  }
  for (const size of [0, -16, 8, 17, 0.5, NaN, 2 ** 53]) {
    assertThrows(() => new RegionAllocator(0, size), RangeError, "the size must be");
  }
  assertThrows(() => new RegionAllocator(most, 16), RangeError, "the size must be");
  const ram = new RegionAllocator(16, 64);
  for (const size of [0, -1, 1.5, 2 ** 53]) {
    assertThrows(() => ram.alloc(size), RangeError, "expected an integer of at least 1");
  }
  for (const align of [0, -16, 3, 24, 1.5, 2 ** 32 + 2 ** 33, Infinity]) {
    assertThrows(() => ram.alloc(16, align), RangeError, "expected a power of two");
  }
  assertEquals([ram.alloc(1, 1), ram.alloc(16, 32), ram.alloc(32, 16)], [16, 32, 48]);
  assertEquals(ram.freeBytes, 0);
});

Deno.test("region allocator: 32,000 holes cost no more looks than one", () => {
  const ram = new RegionAllocator(0, 1 << 26);
  const taken = Array.from({ length: 64_000 }, () => ram.alloc(64));
  for (let i = 0; i < taken.length; i += 2) ram.free(taken[i]!);
  const before = ram.looked;
  for (let i = 0; i < 1000; i++) {
    // The holes of 64 bytes are of no use.
    const long = ram.alloc(4096, 4096);
    const short = ram.alloc(64);
    ram.free(long);
    ram.free(short);
  }
  const each = (ram.looked - before) / 2000;
  assert(each <= 9, `an allocation looked at ${each} holes`);
});

Deno.test("region allocator: holes that are large enough, but not for the alignment, cost few looks", () => {
  const ram = new RegionAllocator(0, 1 << 24);
  // 4096 holes of 1 KiB, none of which begins at a multiple of it, before a long one.
  ram.alloc(64);
  const taken = Array.from({ length: 4096 }, () => [ram.alloc(1024), ram.alloc(1024)] as const);
  for (const [first] of taken) ram.free(first);
  const before = ram.looked;
  for (let i = 0; i < 100; i++) assertEquals(ram.alloc(1024, 1024) % 1024, 0);
  assert((ram.looked - before) / 100 <= 9, `${(ram.looked - before) / 100}`);
});

Deno.test("region allocator: a hole that is used up is none, and one that is cut has another end", () => {
  const ram = new RegionAllocator(0, 64);
  ram.alloc(64);
  const full = assertThrows(() => ram.alloc(1), VireoError);
  assertEquals(full.expected, "a free range; 0 bytes are free in 0 holes");
  ram.free(0);
  assertEquals([0, 16, 32].map(() => ram.alloc(16)), [0, 16, 32]);
  // The hole between the first and the third is taken again: what is freed behind it does not reach so far.
  ram.free(16);
  assertEquals(ram.alloc(16), 16);
  ram.free(32);
  assertEquals(ram.alloc(32), 32);
  const rest = assertThrows(() => ram.alloc(1), VireoError);
  assertEquals(rest.expected, "a free range; 0 bytes are free in 0 holes");
});

Deno.test("region allocator: a hole of the length that is asked for is taken before a longer one", () => {
  const ram = new RegionAllocator(0, 4096);
  const [first] = [ram.alloc(64), ram.alloc(16)];
  ram.free(first!);
  assertEquals([ram.alloc(64), ram.alloc(64)], [first!, 80]);
});

Deno.test("RegionAllocator takes over what is behind its region, and joins it with the hole before", () => {
  const ram = new RegionAllocator(0x1000, 0x100);
  const low = ram.alloc(0x80);
  ram.extend(0x200);
  assertEquals([ram.freeBytes, ram.alloc(0x280)], [0x280, 0x1080]);
  ram.extend(0x40);
  assertEquals([ram.freeBytes, ram.alloc(0x40)], [0x40, 0x1300]);
  ram.free(0x1080);
  ram.free(low);
  assertEquals(ram.alloc(0x300), 0x1000);
  for (const size of [0, -16, 8, NaN, 2 ** 53]) {
    assertThrows(() => ram.extend(size), RangeError, `a region of ${size} bytes`);
  }
});
