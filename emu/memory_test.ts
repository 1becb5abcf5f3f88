import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { EmuDma, GuestMemory } from "./memory.ts";

Deno.test("guest memory: starts at 0x40000000 and knows what lies inside", () => {
  const memory = new GuestMemory(8192);
  assertEquals([memory.base, memory.size], [0x4000_0000, 8192]);
  assert(memory.contains(0x4000_0000, 8192));
  assert(memory.contains(0x4000_2000, 0));
  assert(!memory.contains(0x4000_0000, 8193));
  assert(!memory.contains(0x3fff_ffff, 2));
  assert(!memory.contains(0, 16));
  assert(!memory.contains(2 ** 64, 1));
  assert(!memory.contains(0x4000_0000, -1));
  memory.view(0x4000_0010, 4).set([1, 2, 3, 4]);
  assertEquals(memory.view(0x4000_0000, 8192).length, 8192);
  assertEquals(memory.words32[4], 0x04030201);
  const error = assertThrows(() => memory.view(0x4000_1fff, 2), VireoError);
  assertEquals([error.code, error.seen], ["BAD_ACCESS", 0x4000_1fff]);
});

Deno.test("guest memory: wraps what is there, shared or not", () => {
  const shared = new SharedArrayBuffer(4096);
  const memory = new GuestMemory(shared, 0x8000_0000);
  assertEquals([memory.base, memory.bytes.buffer], [0x8000_0000, shared]);
  assertThrows(() => new GuestMemory(4097), RangeError);
  assertThrows(() => new GuestMemory(4096, 12), RangeError);
  assertThrows(() => new GuestMemory(4096, -4096), RangeError);
  assertThrows(() => new GuestMemory(8192, 2 ** 53 - 4096), RangeError);
});

Deno.test("guest memory: regions lie anywhere, and ranges in one of them only", () => {
  const memory = new GuestMemory(0x6000, 0);
  const low = { address: 0x10_0000, size: 0x2000, offset: 0 };
  const next = { address: 0x10_2000, size: 0x1000, offset: 0x5000 };
  const high = { address: 2 ** 46, size: 0x3000, offset: 0x2000 };
  memory.setRegions([high, next, low]);
  assertEquals(memory.offset(0x10_0000, 0x2000), 0);
  assertEquals(memory.offset(2 ** 46 + 0x2fff, 1), 0x4fff);
  assertEquals(memory.offset(0x10_2000, 16), 0x5000);
  assertEquals([0, 0x1fff].map((at) => memory.address(at)), [0x10_0000, 0x10_1fff]);
  assertEquals([0x2000, 0x4fff].map((at) => memory.address(at)), [2 ** 46, 2 ** 46 + 0x2fff]);
  assertEquals([0x5000, 0x5fff].map((at) => memory.address(at)), [0x10_2000, 0x10_2fff]);
  assertEquals(memory.address(0x6000), undefined);
  // Neighbours for the guest, but not in the buffer.
  assertEquals(memory.offset(0x10_1ff0, 32), -1);
  assertEquals(memory.offset(2 ** 46 + 0x2fff, 2), -1);
  assertEquals(memory.offset(0, 1), -1);
  assertEquals([-1, 0].map((length) => memory.offset(2 ** 46, length)), [-1, 0x2000]);
  memory.view(2 ** 46, 4).set([1, 2, 3, 4]);
  assertEquals(memory.words32[0x2000 / 4], 0x04030201);
  memory.setRegions([high]);
  assertEquals([memory.contains(0x10_0000, 1), memory.contains(2 ** 46, 1)], [false, true]);
  memory.setRegions([{ ...low, address: 0 }]);
  assertEquals([memory.offset(0, 0x2000), memory.offset(0, 0x2001)], [0, -1]);
  memory.setRegions([]);
  assertEquals(memory.contains(2 ** 46, 1), false);
  for (
    const wrong of [
      [{ address: 0, size: 0x6001, offset: 0 }],
      [{ address: 0, size: 0x1000, offset: 0x5001 }],
      [{ address: 0, size: 0, offset: 0 }],
      // A descriptor there would not begin at a multiple of 16 of the buffer.
      [{ address: 0, size: 0x1000, offset: 8 }],
      [{ address: 8, size: 0x1000, offset: 0 }],
      [{ address: 2 ** 53 - 0x1000, size: 0x1000, offset: 0 }],
      [{ address: -0x1000, size: 0x1000, offset: 0 }],
      [{ address: 0, size: 0x1000, offset: -0x1000 }],
      [low, { ...next, address: 0x10_1000 }],
      [low, { ...next, offset: 0x1000 }],
    ]
  ) assertThrows(() => memory.setRegions(wrong), RangeError, "Cannot have a region");
});

Deno.test("dma: memory is zeroed, aligned, apart, and all there again at the end (property)", () => {
  const step = fc.record({
    size: fc.integer({ min: 1, max: 3000 }),
    align: fc.constantFrom(undefined, 16, 64, 4096),
    free: fc.option(fc.nat(), { nil: undefined }),
  });
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const memory = new GuestMemory(1 << 16);
    const dma = new EmuDma(memory);
    const live: ReturnType<EmuDma["alloc"]>[] = [];
    for (const { size, align, free } of steps) {
      if (free !== undefined && live.length > 0) {
        const [region] = live.splice(free % live.length, 1);
        region![Symbol.dispose]();
        region![Symbol.dispose]();
      }
      let region: ReturnType<EmuDma["alloc"]>;
      try {
        region = dma.alloc(size, align === undefined ? {} : { align });
      } catch (error) {
        assert(error instanceof VireoError && error.code === "OUT_OF_MEMORY");
        continue;
      }
      assertEquals(region.bytes.length, size);
      assert(region.bytes.every((byte) => byte === 0));
      assertEquals(region.address % (align ?? 16), 0);
      assertEquals(region.address - memory.base, region.bytes.byteOffset);
      assertEquals(region.share(3, 1, "both"), region.address + 3);
      for (const other of live) {
        const apart = other.address + other.bytes.length <= region.address ||
          region.address + size <= other.address;
        assert(apart);
      }
      region.bytes.fill(0xff);
      live.push(region);
    }
    for (const region of live) region[Symbol.dispose]();
    assertEquals(dma.freeBytes, 1 << 16);
    dma.alloc(1 << 16)[Symbol.dispose]();
  });
  fc.assert(property, { seed: 42, numRuns: 200 });
});

Deno.test("dma: says what was wanted when there is no room, and refuses nonsense", () => {
  const dma = new EmuDma(new GuestMemory(4096));
  using _region = dma.alloc(4000);
  const error = assertThrows(() => dma.alloc(97), VireoError);
  assertEquals([error.code, error.seen], ["OUT_OF_MEMORY", 97]);
  for (const size of [0, -1, 1.5, NaN, Infinity]) assertThrows(() => dma.alloc(size), RangeError);
  assertThrows(() => dma.alloc(16, { align: 24 }), RangeError);
});
