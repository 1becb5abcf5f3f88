import { assertEquals, assertThrows } from "@std/assert";
import { BlkRequestType, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Slots } from "./_slots.ts";

const KIB = 1024;
const { IN, OUT, GET_ID, GET_LIFETIME, ZONE_REPORT, ZONE_APPEND, FLUSH, DISCARD } = BlkRequestType;

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
