// A split ring with its sides reversed: the driver is written byte by byte from virtio 1.4 §2.7.
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { GuestMemory } from "../memory.ts";
import type { RingPosition } from "./position.ts";
import { ReversedQueue } from "./reversed.ts";

const BASE = 0x4000_0000;
const SIZE = 8;
/** Offsets of the parts: 16 bytes a descriptor; flags, index, a 16-bit entry each, used_event. */
const DESC = 4096;
const AVAIL = DESC + 16 * SIZE;
const USED = AVAIL + 24;

class Rig {
  readonly memory = new GuestMemory(1 << 16, BASE);
  readonly view = new DataView(this.memory.bytes.buffer);
  readonly faults: string[] = [];
  readonly queue: ReversedQueue;
  interrupts = 0;
  #used = 0;

  constructor(eventIdx = false) {
    this.queue = this.again(eventIdx);
  }

  /** Another queue on the same memory. */
  again(eventIdx = false): ReversedQueue {
    return new ReversedQueue({
      index: 1,
      geometry: { size: SIZE, desc: BASE + DESC, avail: BASE + AVAIL, used: BASE + USED },
      memory: this.memory,
      indirect: false,
      eventIdx,
      interrupt: () => this.interrupts++,
      fault: (reason) => {
        this.faults.push(reason);
        this.queue.stop();
      },
    });
  }

  word(at: number): number {
    return this.view.getUint16(at, true);
  }

  /** The descriptor that an available entry names: its head, address, length, flags and next. */
  offered(entry: number): unknown[] {
    const head = this.word(AVAIL + 4 + 2 * (entry % SIZE));
    const at = DESC + 16 * head;
    const address = Number(this.view.getBigUint64(at, true));
    return [
      head,
      address,
      this.view.getUint32(at + 8, true),
      this.word(at + 12),
      this.word(at + 14),
    ];
  }

  /** Returns heads as a driver does. */
  giveBack(...heads: number[]): void {
    for (const head of heads) {
      this.view.setUint32(USED + 4 + 8 * (this.#used++ % SIZE), head, true);
    }
    this.view.setUint16(USED + 2, this.#used, true);
  }
}

Deno.test("reversed queue: buffers lie in descriptors to read, and are seen after the signal", () => {
  const it = new Rig();
  const { queue } = it;
  assertEquals(queue.freeSlots, 8);
  const [first, second] = [queue.offer(0x1_2345_6780, 70), queue.offer(0x5000, 7)];
  assertEquals([it.word(AVAIL + 2), it.interrupts, queue.freeSlots], [0, 0, 6]);
  queue.signal();
  assertEquals([it.word(AVAIL + 2), it.interrupts], [2, 1]);
  assertEquals(it.offered(0), [first, 0x1_2345_6780, 70, 0, 0]);
  assertEquals(it.offered(1), [second, 0x5000, 7, 0, 0]);
  assert(first !== second);
  queue.signal();
  assertEquals(it.interrupts, 1);
  assertEquals([queue.pop(), queue.hasAvailable(), queue.take()], [undefined, false, undefined]);
});

Deno.test("reversed queue: returned buffers come back in the driver's order; a full ring offers none", () => {
  const it = new Rig();
  const { queue } = it;
  const slots = Array.from({ length: 8 }, (_, i) => queue.offer(0x1000 * (i + 1), i + 1)!);
  assertEquals([new Set(slots).size, queue.offer(1, 1), queue.freeSlots], [8, undefined, 0]);
  queue.signal();
  it.giveBack(slots[5]!, slots[2]!);
  assertEquals([queue.hasAvailable(), queue.take(), queue.take(), queue.take()], [
    true,
    slots[5],
    slots[2],
    undefined,
  ]);
  assertEquals(queue.freeSlots, 2);
  assertEquals(queue.offer(0x9000, 9), slots[2]);
  assertEquals(it.faults, []);
});

Deno.test("reversed queue: both sides' suppression, by flags and by event indices", () => {
  const plain = new Rig();
  plain.view.setUint16(USED, 1, true);
  plain.queue.offer(0x1000, 1);
  plain.queue.signal();
  assertEquals([plain.word(AVAIL + 2), plain.interrupts], [1, 0]);
  plain.queue.setNotify(false);
  assertEquals(plain.word(AVAIL), 1);
  plain.queue.setNotify(true);
  assertEquals(plain.word(AVAIL), 0);
  // Without EVENT_IDX there is no used_event: what lies there is not the device's.
  const USED_EVENT = AVAIL + 4 + 2 * SIZE;
  plain.view.setUint16(USED_EVENT, 0x5a5a, true);
  plain.giveBack(plain.word(AVAIL + 4));
  assertEquals([typeof plain.queue.take(), plain.queue.take()], ["number", undefined]);
  assertEquals(plain.word(USED_EVENT), 0x5a5a);

  const event = new Rig(true);
  // avail_event: the device notices the third buffer.
  event.view.setUint16(USED + 4 + 8 * SIZE, 2, true);
  for (const told of [0, 0, 1, 1]) {
    event.queue.offer(0x1000, 1);
    event.queue.signal();
    assertEquals(event.interrupts, told);
  }
  const head = event.word(AVAIL + 4);
  event.giveBack(head);
  assertEquals([event.queue.take(), event.queue.take()], [head, undefined]);
  // used_event: where the device is.
  assertEquals(event.word(USED_EVENT), 1);
  // A stopped queue writes no more.
  event.view.setUint16(USED_EVENT, 0x5a5a, true);
  event.queue.stop();
  assertEquals([event.queue.take(), event.word(USED_EVENT)], [undefined, 0x5a5a]);
});

Deno.test("reversed queue: 200,000 buffers pass, more than an index of 16 bits counts", () => {
  const it = new Rig(true);
  let taken = 0;
  for (let i = 0; i < 200_000; i += 5) {
    for (let k = 0; k < 5; k++) assert(it.queue.offer(0x1000, 1) !== undefined);
    it.queue.signal();
    const index = it.word(AVAIL + 2);
    assertEquals(index, (i + 5) & 0xffff);
    const heads = [5, 4, 3, 2, 1].map((k) => it.word(AVAIL + 4 + 2 * ((index - k + 65536) % SIZE)));
    it.giveBack(...heads);
    while (it.queue.take() !== undefined) taken++;
  }
  assertEquals([taken, it.queue.freeSlots, it.faults], [200_000, 8, []]);
});

Deno.test("reversed queue: a driver that returns what it does not have is a fault, once", () => {
  const lies: [string, (it: Rig, slot: number) => void, number][] = [
    ["past the ring", (it) => it.giveBack(8), 8],
    ["huge", (it) => it.giveBack(0xffff_ffff), 0xffff_ffff],
    ["never offered", (it, slot) => it.giveBack((slot + 4) % SIZE), -1],
    ["twice", (it, slot) => it.giveBack(slot, slot), -1],
    ["an index that jumps", (it) => it.view.setUint16(USED + 2, 40_000, true), -1],
  ];
  for (const [name, lie, seen] of lies) {
    const it = new Rig();
    const slot = it.queue.offer(0x1000, 1)!;
    it.queue.signal();
    // Not reported yet.
    it.queue.offer(0x2000, 1);
    lie(it, slot);
    let takes = 0;
    while (it.queue.take() !== undefined) takes++;
    assert(takes <= 2, name);
    assertEquals([name, it.faults.length], [name, 1]);
    if (seen >= 0) {
      assertEquals(it.faults[0], `queue 1: the driver returned buffer ${seen}, not its own`);
    }
    // Stopped: nothing is offered, taken or told any more.
    const { interrupts } = it;
    assertEquals([it.queue.offer(1, 1), it.queue.take(), it.faults.length], [
      undefined,
      undefined,
      1,
    ]);
    it.queue.signal();
    assertEquals(it.interrupts, interrupts);
  }
});

Deno.test("reversed queue: garbage in its memory loses no slot and hangs nothing (property)", () => {
  const bytes = fc.array(fc.tuple(fc.nat(USED + 80 - DESC), fc.nat(255)), { maxLength: 80 });
  fc.assert(
    fc.property(bytes, fc.boolean(), (writes, eventIdx) => {
      const it = new Rig(eventIdx);
      const given = new Set<number>();
      for (const [at, value] of writes) {
        it.memory.bytes[DESC + at] = value;
        const slot = it.queue.offer(0x1000, value);
        if (slot !== undefined) {
          assert(!given.has(slot) && slot < SIZE);
          given.add(slot);
        }
        it.queue.signal();
        for (let back = it.queue.take(); back !== undefined; back = it.queue.take()) {
          assert(given.delete(back));
        }
        assertEquals(it.queue.freeSlots, SIZE - given.size);
      }
      assert(it.faults.length <= 1);
    }),
    { seed: 42, numRuns: 500 },
  );
});

Deno.test("reversed queue: it goes on from its position, with the same buffers out", () => {
  const it = new Rig();
  const slots = [1, 2, 3].map((i) => it.queue.offer(0x1000 * i, 16)!);
  it.queue.signal();
  it.giveBack(slots[1]!);
  assertEquals(it.queue.take(), slots[1]);
  const unseen = it.queue.offer(0x9000, 16)!;
  const position = structuredClone(it.queue.position());
  assertEquals(position, {
    ring: "reversed",
    availIndex: 4,
    signalled: 3,
    lastUsed: 1,
    given: [slots[0]!, slots[2]!, unseen].sort((a, b) => a - b),
  });
  const next = it.again();
  next.resume(position);
  assertEquals([next.freeSlots, it.word(AVAIL + 2)], [5, 3]);
  next.signal();
  assertEquals([it.word(AVAIL + 2), it.offered(3)[1]], [4, 0x9000]);
  const others = Array.from({ length: 5 }, () => next.offer(0xa000, 16));
  assertEquals(new Set([...position.given, ...others]).size, 8);
  assertEquals(next.offer(0xb000, 16), undefined);
  it.giveBack(slots[2]!, slots[0]!, unseen);
  assertEquals([next.take(), next.take(), next.take(), next.take()], [
    slots[2],
    slots[0],
    unseen,
    undefined,
  ]);
  assertEquals(it.faults, []);
});

Deno.test("reversed queue: what was signalled before its position is not signalled again", () => {
  const it = new Rig();
  it.queue.offer(0x1000, 16);
  it.queue.signal();
  const next = it.again();
  next.resume(it.queue.position());
  next.signal();
  assertEquals([it.interrupts, it.word(AVAIL + 2)], [1, 1]);
  next.offer(0x2000, 16);
  next.signal();
  assertEquals([it.interrupts, it.word(AVAIL + 2)], [2, 2]);
});

Deno.test("reversed queue: a position of another ring, or of a larger one, is refused", () => {
  const { queue } = new Rig();
  const split = { lastAvail: 0, usedIndex: 0, signalled: 0, held: [] };
  assertThrows(() => queue.resume(split), RangeError, "must be that of a reversed ring");
  const packed = { ...queue.position(), ring: "packed" } as unknown as RingPosition;
  assertThrows(() => queue.resume(packed), RangeError, "must be that of a reversed ring");
  const large = { ...queue.position(), given: [8] };
  assertThrows(() => queue.resume(large), RangeError, "must be in slots below 8");
});
