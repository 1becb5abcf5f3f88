import { assertEquals } from "@std/assert";
import { BouncingDma } from "../testing/mod.ts";
import { Slots } from "./_slots.ts";

const KIB = 1024;
const READ = 0;
const WRITE = 1;

function slotsOf(
  count: number,
  bytes: number,
  { segment = bytes, maxBytes = bytes, lazy = false } = {},
): { slots: Slots; dma: BouncingDma } {
  const dma = new BouncingDma({ size: 16 << 20 });
  return { slots: new Slots(dma, count, bytes, segment, maxBytes, lazy), dma };
}

Deno.test("blk slots: of lazy ones only some have buffers at first, one at least, and all when they grow", () => {
  for (
    const [count, bytes, ready] of [[4, 512, 4], [64, 16 * KIB, 4], [3, KIB * KIB, 1]] as const
  ) {
    const { slots, dma } = slotsOf(count, bytes, { lazy: true });
    const whole = slotsOf(count, bytes);
    assertEquals([whole.slots.ready, whole.slots.data.length], [count, count * bytes]);
    assertEquals([slots.ready, slots.data.length], [Math.min(ready, count), ready * bytes]);
    slots.grow();
    assertEquals([slots.ready, slots.data.length], [count, count * bytes]);
    slots[Symbol.dispose]();
    assertEquals([dma.mistakes, dma.live], [[], 0]);
  }
});

Deno.test("blk slots: a request spans as many slots as it may have bytes, one at least and all at most", () => {
  for (
    const [count, maxBytes, span] of [[8, 4096, 1], [8, 8191, 1], [8, 8192, 2], [3, 65_536, 3], [
      2,
      512,
      1,
    ]] as const
  ) {
    assertEquals(slotsOf(count, 4096, { maxBytes }).slots.maxSpan, span);
  }
});

Deno.test("blk slots: a chain has a header, elements of the segment's size, and a status that is not written yet", () => {
  const { slots, dma } = slotsOf(2, 4096, { segment: 1000 });
  for (
    const [type, length, expected] of [
      [READ, 0, ["r16", "w1"]],
      [READ, 1000, ["r16", "w1000", "w1"]],
      [READ, 1001, ["r16", "w1000", "w1", "w1"]],
      [WRITE, 4096, ["r16", "r1000", "r1000", "r1000", "r1000", "r96", "w1"]],
    ] as const
  ) {
    slots.prepare(1, type, 0x1_0000_0002, length);
    const chain = slots.give(1);
    const parts = Array.from(
      { length: chain.count },
      (_, i) => `${i < chain.readable ? "r" : "w"}${chain.length(i)}`,
    );
    assertEquals([parts, slots.elements(length)], [[...expected], expected.length]);
    assertEquals([...dma.deviceBytes(chain.address(0), 16)], [
      ...[type, 0, 0, 0, 0, 0, 0, 0],
      ...[2, 0, 0, 0, 1, 0, 0, 0],
    ]);
    const status = dma.deviceBytes(chain.address(chain.count - 1), 1);
    assertEquals([status[0], slots.given[1]], [0xff, 1]);
    status[0] = 2;
    assertEquals([slots.take(1), slots.given[1]], [2, 0]);
  }
});

Deno.test("blk slots: what the device has while they grow stays where it is, until it is back", () => {
  const { slots, dma } = slotsOf(8, 16 * KIB, { lazy: true });
  const give = (slot: number) => {
    slots.prepare(slot, READ, 0, 512);
    return slots.give(slot);
  };
  const old = [0, 1].map((slot) => dma.deviceBytes(give(slot).address(1), 512));
  assertEquals(dma.live, 2);
  slots.grow();
  assertEquals([slots.ready, dma.live], [8, 3]);
  for (const [i, bytes] of old.entries()) bytes.fill(10 + i);
  slots.take(0);
  // The next request of the slot has its buffer in the new memory; the old one stays for the other.
  assertEquals([slots.view(0)[0], dma.live], [10, 3]);
  give(0);
  assertEquals(dma.live, 3);
  slots.take(1);
  assertEquals(slots.view(1)[0], 11);
  slots.take(0);
  give(1);
  assertEquals(dma.live, 2);
  slots.take(1);
  slots[Symbol.dispose]();
  assertEquals([dma.mistakes, dma.live], [[], 0]);
});
