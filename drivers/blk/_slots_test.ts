import { assertEquals, assertThrows } from "@std/assert";
import { BlkRequestType, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { BouncingDma } from "../testing/mod.ts";
import { Slots } from "./_slots.ts";

const KIB = 1024;
const { IN, OUT, GET_ID, GET_LIFETIME, ZONE_REPORT, ZONE_APPEND, FLUSH, DISCARD } = BlkRequestType;

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
      [IN, 0, ["r16", "w1"]],
      [IN, 1000, ["r16", "w1000", "w1"]],
      [IN, 1001, ["r16", "w1000", "w1", "w1"]],
      [OUT, 4096, ["r16", "r1000", "r1000", "r1000", "r1000", "r96", "w1"]],
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

/** Slots by their number, bytes, segment, most bytes and whether they are lazy. */
function rig(...size: [number, number, number, number?, boolean?]) {
  const fake = new FakeDevice();
  const { dma } = fake.device;
  return { fake, dma, slots: new Slots(dma, ...size) };
}

Deno.test("blk slots: who writes the data, and what follows them, is said by the type", () => {
  for (
    const [type, length, lengths, readable] of [
      [FLUSH, 0, [16, 1], 1],
      [IN, 512, [16, 512, 1], 1],
      [OUT, 512, [16, 512, 1], 2],
      [OUT, 1024, [16, 512, 512, 1], 3],
      [IN, 1536, [16, 512, 512, 512, 1], 1],
      [IN, 600, [16, 512, 88, 1], 1],
      [GET_ID, 20, [16, 20, 1], 1],
      [GET_LIFETIME, 6, [16, 6, 1], 1],
      [ZONE_REPORT, 512, [16, 512, 1], 1],
      [DISCARD, 16, [16, 16, 1], 2],
      [ZONE_APPEND, 512, [16, 512, 9], 2],
    ] as const
  ) {
    const { slots, fake } = rig(3, 512, 512, 1536);
    slots.prepare(1, type, 2 ** 40 + 7, length);
    assertEquals(slots.type(1), type);
    const chain = slots.give(1);
    assertEquals(Array.from({ length: chain.count }, (_, i) => chain.length(i)), [...lengths]);
    assertEquals([chain.readable, slots.elements(length)], [readable, lengths.length]);
    const header = fake.memory(chain.address(0), 16);
    assertEquals([...header], [type, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0]);
    const tail = fake.memory(chain.address(chain.count - 1), lengths.at(-1)!);
    assertEquals([tail.at(-1), [...slots.given]], [0xff, [0, 1, 0]]);
    tail.fill(9).fill(3, -1);
    assertEquals([slots.take(1), [...slots.given]], [3, [0, 0, 0]]);
    if (type === ZONE_APPEND) assertEquals(slots.appended(1), new Uint8Array(8).fill(9));
    slots[Symbol.dispose]();
  }
});

Deno.test("blk slots: what the device has when they grow stays where it is, and its memory goes with the last of it", () => {
  const { slots, fake } = rig(4, 32 * KIB, 32 * KIB, 32 * KIB, true);
  /** Gives a slot to the device; returns what takes it back with its bytes written. */
  const give = (slot: number) => {
    slots.prepare(slot, IN, 0, 512);
    const address = slots.give(slot).address(1);
    return (byte: number): number => {
      fake.memory(address, 512).fill(byte);
      slots.take(slot);
      return slots.view(slot)[511]!;
    };
  };
  // Slots have views of the first buffers.
  assertEquals([give(0)(1), give(1)(2)], [1, 2]);
  const before = [give(0), give(1)];
  slots.grow();
  assertEquals([give(2)(3), give(3)(4), fake.regions.size], [3, 4, 3]);
  assertEquals([before[0]!(5), give(0)(6), fake.regions.size], [5, 6, 3]);
  assertEquals([before[1]!(7), fake.regions.size], [7, 3]);
  // The next request of any slot lets the region go.
  assertEquals([give(2)(8), fake.regions.size], [8, 2]);
  assertEquals([give(1)(9), give(0)(10), give(2)(11)], [9, 10, 11]);
  slots[Symbol.dispose]();
  assertEquals(fake.regions.size, 0);
});

Deno.test("blk slots: without memory to grow they stay as they are, and none is left of half of them", () => {
  assertEquals(rig(4, 128 * KIB, 128 * KIB).slots.ready, 4);
  const { slots, dma, fake } = rig(4, 32 * KIB, 32 * KIB, 32 * KIB, true);
  const { alloc } = dma;
  let left = 0;
  dma.alloc = (...args) => {
    if (left-- > 0) return alloc(...args);
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  slots.grow();
  assertEquals([slots.ready, fake.regions.size], [2, 2]);
  left = 1;
  assertThrows(() => new Slots(dma, 4, 512, 512), VireoError);
  assertEquals(fake.regions.size, 2);
});
