import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { type BounceMistake, BouncingDma, POISON, TestDma } from "./dma.ts";

Deno.test("regions are aligned, zeroed, apart, and seen by the device at their address", () => {
  for (const shared of [false, true]) {
    const dma = new TestDma({ size: 64 * 1024, base: 0x1_2345_0000, shared });
    const a = dma.alloc(3);
    const b = dma.alloc(100, { align: 4096 });
    assertEquals([a.address % 16, b.address % 4096, a.bytes.length], [0, 0, 3]);
    assert(b.address >= a.address + 3);
    assert(b.bytes.every((byte) => byte === 0));
    b.bytes[7] = 9;
    assertEquals(dma.deviceBytes(b.address + 7, 1)[0], 9);
    assertEquals(b.share(5, 2, "both"), b.address + 5);
    assertEquals(dma.memory.buffer instanceof SharedArrayBuffer, shared);
  }
});

Deno.test("regions that are not disposed are counted, each once", () => {
  const dma = new TestDma({ size: 4096 });
  const a = dma.alloc(1);
  const b = dma.alloc(1);
  assertEquals(dma.live, 2);
  a[Symbol.dispose]();
  a[Symbol.dispose]();
  assertEquals(dma.live, 1);
  b[Symbol.dispose]();
  assertEquals(dma.live, 0);
});

Deno.test("OUT_OF_MEMORY tells what was asked for and what is left; outside the arena is an error", () => {
  const dma = new TestDma({ size: 64 });
  dma.alloc(16);
  const error = assertThrows(() => dma.alloc(49), VireoError);
  assertEquals([error.code, error.seen, error.expected], ["OUT_OF_MEMORY", 49, "at most 48"]);
  assertEquals(dma.live, 1);
  dma.alloc(48);
  assertThrows(() => dma.deviceBytes(dma.base - 1, 1), RangeError);
  assertThrows(() => dma.deviceBytes(dma.base + 63, 2), RangeError);
});

Deno.test("a bounced buffer is the device's from share to unshare only", () => {
  const dma = new BouncingDma({ size: 4096 });
  using region = dma.alloc(16);
  const device = dma.deviceBytes(region.address, 16);
  region.bytes.set([1, 2, 3, 4], 4);
  // Not shared: the device does not see it.
  assertEquals([...device.subarray(4, 8)], [POISON, POISON, POISON, POISON]);
  assertEquals(region.share(4, 4, "to-device"), region.address + 4);
  assertEquals([...device.subarray(3, 9)], [POISON, 1, 2, 3, 4, POISON]);
  // What the driver changes too late is not seen either, nor what the device must not write.
  region.bytes[4] = 99;
  device[5] = 77;
  assertEquals(device[4], 1);
  region.unshare(4, 4, "to-device");
  assertEquals([...region.bytes.subarray(4, 8)], [99, 2, 3, 4]);
  assertEquals(device[4], POISON);
  assertEquals(dma.mistakes, []);
});

Deno.test("a driver that reads before it unshares sees poison, then what the device wrote", () => {
  const dma = new BouncingDma({ size: 4096 });
  using region = dma.alloc(8);
  region.share(0, 4, "from-device");
  dma.deviceBytes(region.address, 4).set([5, 6, 7, 8]);
  assertEquals([...region.bytes], [POISON, POISON, POISON, POISON, 0, 0, 0, 0]);
  region.unshare(0, 4, "from-device");
  assertEquals([...region.bytes], [5, 6, 7, 8, 0, 0, 0, 0]);
  region.share(0, 2, "both");
  assertEquals([...dma.deviceBytes(region.address, 3)], [5, 6, POISON]);
  dma.deviceBytes(region.address, 1)[0] = 50;
  region.unshare(0, 2, "both");
  assertEquals([...region.bytes.subarray(0, 3)], [50, 6, 7]);
  assertEquals(dma.mistakes, []);
});

Deno.test("wrong pairs of share and unshare are recorded", () => {
  const dma = new BouncingDma({ size: 4096 });
  using region = dma.alloc(64);
  region.unshare(0, 4, "both");
  region.share(8, 4, "to-device");
  region.share(8, 4, "to-device");
  region.unshare(8, 5, "to-device");
  assertEquals(dma.mistakes, [
    { what: "unshared range that was not shared", address: region.address },
    { what: "shared range twice", address: region.address + 8 },
    { what: "unshared range that was not shared", address: region.address + 8 },
  ]);
});

Deno.test("a share that overlaps one of another offset is recorded", () => {
  for (
    const [offset, length, bad] of [[4, 8, true], [11, 9, true], [0, 64, true], [
      9,
      1,
      true,
    ]] as const
  ) {
    const dma = new BouncingDma({ size: 4096 });
    using region = dma.alloc(64);
    region.share(8, 4, "both");
    region.share(offset, length, "both");
    const what = "shared range twice";
    assertEquals(dma.mistakes, bad ? [{ what, address: region.address + offset }] : []);
  }
  const dma = new BouncingDma({ size: 4096 });
  using region = dma.alloc(64);
  region.share(8, 4, "both");
  region.share(4, 4, "both");
  region.share(12, 4, "both");
  assertEquals(dma.mistakes, []);
});

Deno.test("coherent memory does not bounce", () => {
  const dma = new BouncingDma({ size: 4096 });
  using region = dma.alloc(8, { coherent: true });
  region.bytes[0] = 3;
  assertEquals(dma.deviceBytes(region.address, 1)[0], 3);
});

Deno.test("memory that is written behind its end, before it is shared or after it is freed is seen", () => {
  const dma = new BouncingDma({ size: 1 << 16 });
  const write = (address: number): void => void (dma.deviceBytes(address, 1)[0] = 1);
  const [kept, freed, early, own] = [dma.alloc(5), dma.alloc(5), dma.alloc(5), dma.alloc(5)];
  write(kept.address + 5);
  early.share(1, 3, "from-device");
  write(early.address);
  early.unshare(1, 3, "from-device");
  early[Symbol.dispose]();
  freed.share(0, 5, "from-device");
  freed[Symbol.dispose]();
  write(freed.address + 4);
  freed.share(0, 1, "to-device");
  own[Symbol.dispose]();
  own.bytes[3] = 0;
  const seen: readonly BounceMistake[] = [
    { what: "device wrote to a range that was not shared", address: early.address },
    { what: "freed range that was shared", address: freed.address },
    { what: "shared freed memory", address: freed.address },
    { what: "wrote behind a region", address: kept.address + 5 },
    { what: "device wrote to freed memory", address: freed.address },
    { what: "driver wrote to freed memory", address: own.address },
  ];
  assertEquals(dma.inspect(), seen);
  assertEquals([dma.inspect().length, dma.live], [seen.length, 1], "each is told once");
});

Deno.test("a write to any byte of a range is seen when the range is shared", () => {
  const size = 24;
  for (let from = 0; from < 8; from++) {
    for (let count = 1; from + count <= size; count++) {
      for (let at = 0; at < size; at++) {
        const dma = new BouncingDma({ size: 256 });
        const { address, share } = dma.alloc(size);
        dma.deviceBytes(address + at, 1)[0] = 1;
        share(from, count, "both");
        const seen = at >= from && at < from + count ? [address + from] : [];
        assertEquals([from, count, at, ...dma.mistakes.map((it) => it.address)], [
          from,
          count,
          at,
          ...seen,
        ]);
      }
    }
  }
});
