import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { processorTime } from "../async_test_util.ts";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { SplitVirtqueue, type SplitVirtqueueOptions } from "./split.ts";
import { SgList } from "./virtqueue.ts";

interface Rig extends Disposable {
  readonly dma: TestDma;
  readonly queue: SplitVirtqueue;
  readonly device: RingDevice;
  /** `data` of every notification. */
  readonly kicks: number[];
}

function rig(options: Partial<SplitVirtqueueOptions> = {}): Rig {
  const dma = (options.dma as TestDma | undefined) ?? new TestDma({ size: 20 * 1024 * 1024 });
  const kicks: number[] = [];
  const queue = new SplitVirtqueue({
    index: 3,
    name: "test",
    size: 8,
    dma,
    indirect: false,
    eventIdx: false,
    notificationData: false,
    notify: (index, data) => {
      assertEquals(index, 3);
      kicks.push(data);
    },
    ...options,
  });
  const device = new RingDevice(dma, queue.addresses, queueOptions(options));
  return { dma, queue, device, kicks, [Symbol.dispose]: () => queue[Symbol.dispose]() };
}

function queueOptions({ indirect = false, eventIdx = false }: Partial<SplitVirtqueueOptions>) {
  return { indirect, eventIdx };
}

function readables(count: number, length = 16): SgList {
  const chain = new SgList(count);
  for (let i = 0; i < count; i++) chain.addReadable(0x1000 * (i + 1), length);
  return chain;
}

function writable(length = 64): SgList {
  return new SgList(1).addWritable(0x9000, length);
}

function popAll(queue: SplitVirtqueue): number[] {
  const tokens: number[] = [];
  for (let token = queue.pop(); token !== -1; token = queue.pop()) tokens.push(token);
  return tokens;
}

/** Runs `count` buffers through the ring, one at a time. */
function cycle({ queue, device }: Rig, count: number): void {
  const chain = writable();
  for (let i = 0; i < count; i++) {
    queue.add(chain, 5);
    queue.kick();
    device.complete(device.next()!, 8);
    if (queue.pop() !== 5 || queue.usedLength !== 8) throw new Error(`Lost buffer ${i}`);
  }
}

Deno.test("drv.split-ring.layout.1: the parts are aligned to 16, 2 and 4 bytes and do not overlap", () => {
  for (const size of [1, 2, 8, 256, 32768]) {
    using it = rig({ size });
    const { desc, driver, device } = it.queue.addresses;
    assertEquals(it.queue.addresses.size, size);
    assertEquals([desc % 16, driver % 2, device % 4], [0, 0, 0]);
    assert(driver >= desc + 16 * size);
    assert(device >= driver + 6 + 2 * size);
    assertEquals([it.queue.freeSlots, it.queue.inFlight, it.queue.size], [size, 0, size]);
  }
});

Deno.test("drv.split-ring.legacy-layout.2: legacy parts are one block, the used ring at Queue Align", () => {
  for (const [size, align] of [[8, 4096], [256, 4096], [1024, 4096], [8, 64]] as const) {
    using it = rig({ size, legacyAlign: align });
    const { desc, driver, device } = it.queue.addresses;
    assertEquals(desc % align, 0);
    assertEquals(driver, desc + 16 * size);
    assertEquals(device, Math.ceil((driver + 6 + 2 * size) / align) * align);
  }
});

Deno.test("drv.split-ring.legacy-layout.1: a legacy ring takes the bytes of the formula", () => {
  class Sizes extends TestDma {
    readonly sizes: number[] = [];
    override alloc(size: number, options = {}) {
      this.sizes.push(size);
      return super.alloc(size, options);
    }
  }
  const dma = new Sizes();
  using _ = rig({ dma, size: 256, legacyAlign: 4096 });
  // ALIGN(16 * 256 + 2 * (3 + 256)) + ALIGN(2 * 3 + 8 * 256)
  assertEquals(dma.sizes, [8192 + 4096]);
});

Deno.test("drv.split-ring.avail-suppress.1: flags, indices and events are zero at first", () => {
  using it = rig();
  const { device } = it;
  assertEquals([device.usedFlags, device.usedIndex, device.availEvent], [0, 0, 0]);
  assertEquals([device.availFlags, device.availIndex, device.usedEvent], [0, 0, 0]);
  assertEquals(it.kicks, []);
});

Deno.test("drv.split-ring.framing.1: readable comes before writable", () => {
  const chain = new SgList(3).addReadable(0x1000, 1).addWritable(0x2000, 2);
  assertThrows(() => chain.addReadable(0x3000, 3), TypeError);
  using it = rig();
  it.queue.add(chain, 0);
  it.queue.kick();
  assertEquals(it.device.next()!.descriptors.map((d) => d.flags & 2), [0, 2]);
});

Deno.test("a full list takes no more, and can be used again", () => {
  const chain = readables(2);
  assertThrows(() => chain.addReadable(0, 1), RangeError);
  assertThrows(() => chain.addWritable(0, 1), RangeError);
  assertEquals(chain.count, 2);
  chain.clear().addWritable(2 ** 40 + 0x123, 7);
  assertEquals([chain.count, chain.readable, chain.writable, chain.writableLength], [1, 0, 1, 7]);
  assertEquals([chain.address(0), chain.length(0)], [2 ** 40 + 0x123, 7]);
});

Deno.test("descriptors hold address, length, flags and next", () => {
  using it = rig();
  const far = 2 ** 45 + 0x8000_1234;
  it.queue.add(new SgList(3).addReadable(far, 0xffff_fff0).addWritable(0x2000, 2), 9);
  it.queue.add(new SgList(1).addReadable(0x3000, 3), 10);
  assertEquals(it.device.availIndex, 0);
  it.queue.kick();
  assertEquals(it.device.availIndex, 2);
  const [first, second] = it.device.takeAll();
  const head = first!.head;
  assertEquals(it.device.descriptor(head), {
    address: far,
    length: 0xffff_fff0,
    flags: 1,
    next: first!.first.next,
  });
  const { address, length, flags } = it.device.descriptor(first!.first.next);
  assertEquals([address, length, flags], [0x2000, 2, 2]);
  const single = it.device.descriptor(second!.head);
  assertEquals([single.address, single.length, single.flags], [0x3000, 3, 0]);
});

Deno.test("drv.split-ring.indirect.1: without INDIRECT_DESC every element takes a slot", () => {
  using it = rig();
  assertEquals([1, 2, 8].map((n) => it.queue.slotsFor(n)), [1, 2, 8]);
  assert(it.queue.add(readables(5), 0));
  assertEquals(it.queue.freeSlots, 3);
  it.queue.kick();
  assertEquals(it.device.next()!.descriptors.map((d) => d.address), [
    0x1000,
    0x2000,
    0x3000,
    0x4000,
    0x5000,
  ]);
});

Deno.test("drv.split-ring.indirect.2, .4, .5: a chain of some elements takes one slot and a table", () => {
  using it = rig({ indirect: true });
  const chain = readables(3).clear().addReadable(2 ** 33 + 16, 1).addReadable(0x200, 2);
  assert(it.queue.add(chain.addWritable(0x300, 3), 0));
  assertEquals(it.queue.freeSlots, 7);
  it.queue.kick();
  const { first, descriptors } = it.device.next()!;
  assertEquals([first.flags, first.length, first.address % 16], [4, 48, 0]);
  assertEquals(descriptors.slice(0, 2), [
    { address: 2 ** 33 + 16, length: 1, flags: 1, next: 1 },
    { address: 0x200, length: 2, flags: 1, next: 2 },
  ]);
  assertEquals([descriptors[2]!.address, descriptors[2]!.length, descriptors[2]!.flags], [
    0x300,
    3,
    2,
  ]);
});

Deno.test("tables of chains in flight are apart", () => {
  using it = rig({ indirect: true });
  for (let i = 0; i < 8; i++) {
    const chain = new SgList(8);
    for (let k = 0; k < 8; k++) chain.addReadable(0x1000 * (i + 1) + k, 1);
    assert(it.queue.add(chain, i));
  }
  it.queue.kick();
  const chains = it.device.takeAll();
  assertEquals(chains.length, 8);
  chains.forEach((chain, i) =>
    assertEquals(
      chain.descriptors.map((d) => d.address),
      Array.from({ length: 8 }, (_, k) => 0x1000 * (i + 1) + k),
    )
  );
});

Deno.test("addresses above 4 GiB are whole: ring, table, buffers of one and of more", () => {
  for (const indirect of [false, true]) {
    const dma = new TestDma({ size: 64 * 1024, base: 5 * 2 ** 40 });
    using it = rig({ dma, indirect });
    const far = 3 * 2 ** 40 + 0x8765_4321;
    it.queue.add(new SgList(1).addWritable(far, 1), 0);
    it.queue.add(new SgList(2).addReadable(far + 1, 1).addWritable(far + 2, 1), 1);
    it.queue.kick();
    const chains = it.device.takeAll();
    assertEquals(chains.flatMap((c) => c.descriptors.map((d) => d.address - far)), [0, 1, 2]);
    assert(it.queue.addresses.desc >= dma.base);
    assertEquals(chains[1]!.first.address >= dma.base, indirect);
  }
});

Deno.test("slotsFor tells what add takes, for every length", () => {
  for (const indirect of [false, true]) {
    for (const size of [1, 2, 4, 64, 256]) {
      using it = rig({ size, indirect });
      for (let n = 1; n <= size; n++) {
        assert(it.queue.add(readables(n), n));
        assertEquals(it.queue.slotsFor(n), size - it.queue.freeSlots, `${n} of ${size}`);
        it.queue.kick();
        const chain = it.device.next()!;
        assertEquals(chain.descriptors.length, n);
        it.device.complete(chain, 0);
        assertEquals(it.queue.pop(), n);
        assertEquals(it.queue.freeSlots, size);
      }
    }
  }
});

Deno.test("a full ring takes nothing until a buffer comes back", () => {
  for (const indirect of [false, true]) {
    using it = rig({ size: 4, indirect });
    for (let i = 0; i < 4; i++) assert(it.queue.add(writable(), i));
    assertEquals([it.queue.freeSlots, it.queue.inFlight], [0, 4]);
    assertEquals(it.queue.add(writable(), 4), false);
    assertEquals(it.queue.add(readables(2), 4), false);
    assertEquals([it.queue.freeSlots, it.queue.inFlight], [0, 4]);
    it.queue.kick();
    it.device.complete(it.device.next()!, 0);
    assertEquals(it.queue.pop(), 0);
    assertEquals(it.queue.add(readables(2), 4), indirect);
    assertEquals(it.queue.add(writable(), 4), !indirect);
  }
});

Deno.test("drv.split-ring.indirect.3: a chain longer than the ring, or empty, is refused", () => {
  for (const indirect of [false, true]) {
    using it = rig({ size: 4, indirect });
    for (const count of [0, 5, 40]) {
      const error = assertThrows(() => it.queue.add(readables(count), 0), VireoError);
      assertEquals([error.code, error.queue, error.seen], ["CHAIN_SHAPE", 3, count]);
    }
    assertEquals([it.queue.freeSlots, it.queue.inFlight, it.queue.broken], [4, 0, undefined]);
  }
});

Deno.test("drv.split-ring.desc-table.1: a chain of more than 2^32 bytes is refused", () => {
  for (const indirect of [false, true]) {
    using it = rig({ size: 4, indirect });
    const chain = new SgList(3).addReadable(0, 0xffff_ffff).addWritable(0, 1);
    assert(it.queue.add(chain, 0));
    const { freeSlots } = it.queue;
    const error = assertThrows(() => it.queue.add(chain.addWritable(0, 1), 1), VireoError);
    assertEquals([error.code, error.queue, error.seen, error.expected], [
      "CHAIN_SHAPE",
      3,
      2 ** 32 + 1,
      "at most 2^32 bytes",
    ]);
    assertEquals([it.queue.freeSlots, it.queue.inFlight, it.queue.broken], [
      freeSlots,
      1,
      undefined,
    ]);
  }
});

Deno.test("QUEUE_SIZE: only powers of two from 1 to 32768", () => {
  for (const size of [0, 3, 65536, 1.5, -1, -8, NaN]) {
    const dma = new TestDma();
    const error = assertThrows(() => rig({ size, dma }), VireoError);
    assertEquals([error.code, error.queue], ["QUEUE_SIZE", 3]);
    assertEquals(dma.live, 0);
  }
});

Deno.test("OUT_OF_MEMORY leaves nothing allocated", () => {
  for (const size of [1024, 8000]) {
    const dma = new TestDma({ size });
    const error = assertThrows(() => rig({ size: 128, indirect: true, dma }), VireoError);
    assertEquals([error.code, dma.live], ["OUT_OF_MEMORY", 0]);
  }
});

Deno.test("a ring of 1 and one of 32768 can be filled, twice", () => {
  for (const indirect of [false, true]) {
    for (const size of [1, 32768]) {
      using it = rig({ size, indirect });
      const chain = writable();
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < size; i++) if (!it.queue.add(chain, i)) throw new Error(`${i}`);
        assertEquals(it.queue.add(chain, 0), false);
        it.queue.kick();
        assertEquals(it.kicks.length, round + 1);
        const chains = it.device.takeAll();
        assertEquals(chains.length, size);
        assertEquals(new Set(chains.map((c) => c.head)).size, size);
        for (const one of chains) it.device.complete(one, 1);
        assert(popAll(it.queue).every((token, i) => token === i));
        assertEquals([it.queue.freeSlots, it.queue.inFlight], [size, 0]);
      }
      if (size > 1) {
        assert(it.queue.add(readables(size, 1), 1));
        assertEquals(it.queue.freeSlots, 0);
        it.queue.kick();
        assertEquals(it.device.next()!.descriptors.length, size);
      }
    }
  }
});

Deno.test("drv.split-ring.avail-ring.1: indices go forward over 65536", () => {
  for (const eventIdx of [false, true]) {
    for (const size of [1, 4]) {
      using it = rig({ size, eventIdx });
      cycle(it, 65_535);
      assertEquals([it.device.availIndex, it.device.usedIndex], [65_535, 65_535]);
      cycle(it, 2);
      assertEquals([it.device.availIndex, it.device.usedIndex], [1, 1]);
      cycle(it, 65_536);
      assertEquals(it.queue.broken, undefined);
    }
  }
});

Deno.test("a batch is seen at its kick, with one notification", () => {
  using it = rig();
  for (let i = 0; i < 5; i++) it.queue.add(writable(), i);
  assertEquals([it.device.availIndex, it.kicks], [0, []]);
  it.queue.kick();
  assertEquals([it.device.availIndex, it.kicks], [5, [-1]]);
  it.queue.kick();
  assertEquals(it.kicks.length, 1);
});

Deno.test("a kick after 2^16 adds without one notifies, though the index is where it was", () => {
  for (const eventIdx of [false, true]) {
    for (const adds of [65_536, 65_537, 2 * 65_536 + 100]) {
      using it = rig({ eventIdx });
      const { queue, device, kicks } = it;
      // A device that takes entries before they are published: nothing else gets that far.
      for (let i = 0; i < adds; i++) {
        queue.add(writable(), 0);
        device.complete(device.availEntry(i), 0);
        if (queue.pop() !== 0) throw new Error(`Lost buffer ${i}`);
      }
      assertEquals(kicks.length, 0);
      device.availEvent = 0x4000;
      queue.kick();
      assertEquals([device.availIndex, kicks.length], [adds & 0xffff, 1]);
      // And only that one.
      queue.kick();
      assertEquals(kicks.length, 1);
      device.lastAvail = device.availIndex;
      device.refuseNotification();
      queue.add(writable(), 0);
      queue.kick();
      assertEquals(kicks.length, 1);
    }
  }
});

Deno.test("NOTIFICATION_DATA carries the available index, over the wrap", () => {
  using it = rig({ notificationData: true, size: 4 });
  cycle(it, 65_534);
  it.kicks.length = 0;
  it.queue.add(writable(), 0);
  it.queue.kick();
  it.queue.add(writable(), 1);
  it.queue.add(writable(), 2);
  it.queue.kick();
  assertEquals(it.kicks, [65_535, 1]);
});

Deno.test("drv.split-ring.avail-suppress.2, .3, .4: used.flags decides without EVENT_IDX", () => {
  using it = rig();
  const { queue, device, kicks } = it;
  device.refuseNotification();
  queue.add(writable(), 0);
  queue.kick();
  assertEquals([device.availIndex, kicks.length], [1, 0]);
  device.wantNotification();
  device.availEvent = 1234;
  queue.add(writable(), 1);
  queue.kick();
  assertEquals(kicks.length, 1);
});

Deno.test("drv.split-ring.avail-suppress.5, .6, .7: avail_event decides with EVENT_IDX", () => {
  using it = rig({ eventIdx: true });
  const { queue, device, kicks } = it;
  device.usedFlags = 1;
  const kicked = (adds: number, event: number) => {
    const before = kicks.length;
    device.availEvent = event;
    for (let i = 0; i < adds; i++) queue.add(writable(), 0);
    queue.kick();
    for (const chain of device.takeAll()) device.complete(chain, 0);
    popAll(queue);
    return kicks.length - before;
  };
  assertEquals(kicked(1, 0), 1); // entry 0 is the one
  assertEquals(kicked(1, 0), 0); // entry 1; 0 has passed
  assertEquals(kicked(3, 4), 1); // entries 2 to 4
  assertEquals(kicked(3, 8), 0); // entries 5 to 7
  assertEquals(kicked(1, 8), 1); // entry 8
  assertEquals(kicked(1, 0xffff), 0);
  device.wantNotification();
  cycle(it, 65_536 - 12);
  assertEquals(device.availIndex, 65_534);
  assertEquals(kicked(4, 0), 1); // entries 65534 to 1
  assertEquals(kicked(1, 1), 0); // entry 2
});

Deno.test("drv.split-ring.used-suppress.1: avail.flags turns interrupts off and on", () => {
  using it = rig();
  const { queue, device } = it;
  for (let i = 0; i < 4; i++) queue.add(writable(), i);
  queue.kick();
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  queue.disableCallbacks();
  queue.disableCallbacks();
  assertEquals(device.availFlags, 1);
  device.complete(device.next()!, 0);
  assertEquals(device.interruptDue(), false);
  assertEquals(queue.enableCallbacks(), false);
  assertEquals(popAll(queue), [0, 1]);
  assert(queue.enableCallbacks());
  assertEquals([device.availFlags, device.usedEvent], [0, 0]);
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  assertEquals(queue.enableCallbacksDelayed(), false);
  assertEquals(popAll(queue), [2]);
  queue.disableCallbacks();
  assert(queue.enableCallbacksDelayed());
  assertEquals(device.availFlags, 0);
});

Deno.test("drv.split-ring.used-suppress.2: used_event turns interrupts off and on, flags stay 0", () => {
  using it = rig({ eventIdx: true });
  const { queue, device } = it;
  for (let i = 0; i < 6; i++) queue.add(writable(), i);
  queue.kick();
  assertEquals(device.usedEvent, 0);
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  assertEquals(popAll(queue), [0]);
  assertEquals(device.usedEvent, 1); // still on, so the next one interrupts too
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  queue.disableCallbacks();
  assertEquals(popAll(queue), [1]);
  device.complete(device.next()!, 0);
  assertEquals(device.interruptDue(), false);
  assertEquals(queue.enableCallbacks(), false);
  assertEquals(popAll(queue), [2]);
  assert(queue.enableCallbacks());
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  assertEquals(device.availFlags, 0);
});

Deno.test("delayed callbacks wait for three quarters of what is in flight", () => {
  using it = rig({ eventIdx: true });
  const { queue, device } = it;
  for (let i = 0; i < 8; i++) queue.add(writable(), i);
  queue.kick();
  queue.disableCallbacks();
  assert(queue.enableCallbacksDelayed());
  for (let i = 0; i < 6; i++) {
    device.complete(device.next()!, 0);
    assertEquals(device.interruptDue(), false, `after ${i + 1}`);
  }
  device.complete(device.next()!, 0);
  assert(device.interruptDue());
  assertEquals(popAll(queue).length, 7);
});

Deno.test("delayed callbacks report buffers that came in meanwhile", () => {
  using it = rig({ eventIdx: true });
  const { queue, device } = it;
  for (let i = 0; i < 8; i++) queue.add(writable(), i);
  queue.kick();
  for (let i = 0; i < 6; i++) device.complete(device.next()!, 0);
  assert(queue.enableCallbacksDelayed());
  device.complete(device.next()!, 0);
  assertEquals(queue.enableCallbacksDelayed(), false);
  assertEquals(popAll(queue).length, 7);
});

Deno.test("drv.split-ring.used-suppress.3: a needless interrupt finds nothing", () => {
  using it = rig();
  it.queue.add(writable(), 0);
  it.queue.kick();
  assertEquals([it.queue.hasUsed(), it.queue.pop(), it.queue.inFlight], [false, -1, 1]);
  assertEquals(it.queue.broken, undefined);
});

Deno.test("buffers come back in the device's order", () => {
  for (const indirect of [false, true]) {
    using it = rig({ indirect, size: 16 });
    const { queue, device } = it;
    [1, 3, 2, 4].forEach((count, i) => assert(queue.add(readables(count), 10 + i)));
    queue.kick();
    const chains = device.takeAll();
    for (const i of [2, 0, 3, 1]) device.complete(chains[i]!, 0);
    assertEquals(popAll(queue), [12, 10, 13, 11]);
    assertEquals([queue.freeSlots, queue.inFlight], [16, 0]);
    assert(queue.add(readables(16), 0));
    queue.kick();
    const long = device.next()!;
    assertEquals(
      long.descriptors.map((d) => d.address),
      readables(16).words.filter((_, i) => i % 4 === 0).reduce(
        (all, word) => [...all, word],
        [] as number[],
      ),
    );
  }
});

Deno.test("drv.split-ring.used-ring.1: usedLength is never more than the device could write", () => {
  using it = rig();
  const { queue, device } = it;
  const lengths = (chain: SgList, claim: number) => {
    queue.add(chain, 0);
    queue.kick();
    device.complete(device.next()!, claim);
    assertEquals(queue.pop(), 0);
    return queue.usedLength;
  };
  assertEquals(lengths(writable(64), 10), 10);
  assertEquals(lengths(writable(64), 64), 64);
  assertEquals(lengths(writable(64), 65), 64);
  assertEquals(lengths(writable(64), 0xffff_ffff), 64);
  assertEquals(lengths(readables(2), 5), 0);
  const large = new SgList(2).addWritable(0, 0xffff_ffff);
  assertEquals(lengths(large, 0xffff_fffe), 0xffff_fffe);
  assertEquals(lengths(large.addWritable(0, 1), 0xffff_ffff), 0xffff_ffff);
  const half = new SgList(1).addWritable(0, 0x8000_0000);
  assertEquals(lengths(half, 0x9000_0000), 0x8000_0000);
});

Deno.test("detachUnused gives every token back once, and the slots", () => {
  for (const indirect of [false, true]) {
    using it = rig({ indirect });
    const { queue, device } = it;
    for (const token of [4, 5, 6]) queue.add(readables(2), token);
    queue.kick();
    device.next();
    device.complete(device.next()!, 0);
    assertEquals(popAll(queue), [5]);
    queue.break(new VireoError("DEVICE_NEEDS_RESET", "Test"));
    assertEquals(new Set([queue.detachUnused(), queue.detachUnused()]), new Set([4, 6]));
    assertEquals(queue.detachUnused(), -1);
    assertEquals([queue.freeSlots, queue.inFlight], [8, 0]);
  }
});

Deno.test("detachUnused walks the ring once, and takes what was added since as well", () => {
  using it = rig({ size: 32768 });
  const { queue } = it;
  let best = Infinity;
  for (const round of [0, 1, 2]) {
    const first = round * 40_000;
    for (let i = 0; i < 32768; i++) queue.add(writable(), first + i);
    const tokens = new Set<number>();
    // A part, then more in its place, then all.
    for (let i = 0; i < 1000; i++) tokens.add(queue.detachUnused());
    for (let i = 0; i < 500; i++) queue.add(writable(), first + 32768 + i);
    const begin = processorTime();
    for (let token = queue.detachUnused(); token >= 0; token = queue.detachUnused()) {
      tokens.add(token);
    }
    best = Math.min(best, processorTime() - begin);
    assertEquals(tokens.size, 32768 + 500);
    assertEquals([queue.freeSlots, queue.inFlight], [32768, 0]);
  }
  // It takes one millisecond or two; a walk from the start for every buffer is 5 * 10^8 steps. The best
  // of three, as memory may be collected.
  assert(best < 150, `${best} ms`);
});

Deno.test("disposing frees the memory, once, and breaks the queue", () => {
  for (const indirect of [false, true]) {
    const it = rig({ indirect });
    assertEquals(it.dma.live, indirect ? 2 : 1);
    it.queue.add(writable(), 1);
    it.queue[Symbol.dispose]();
    it.queue[Symbol.dispose]();
    assertEquals(it.dma.live, 0);
    assertEquals(it.queue.broken?.code, "DEVICE_STATE");
    assertThrows(() => it.queue.add(writable(), 2), VireoError);
    assertEquals([it.queue.pop(), it.queue.hasUsed()], [-1, false]);
    assertEquals(it.queue.detachUnused(), 1);
  }
});

/** Makes a queue with three buffers of two descriptors, and has the device say something. */
function lie(it: Rig, say: (device: RingDevice, heads: number[]) => void): number[] {
  for (const token of [7, 8, 9]) it.queue.add(readables(2), token);
  it.queue.kick();
  say(it.device, it.device.takeAll().map((chain) => chain.head));
  return popAll(it.queue);
}

function assertBroken(it: Rig, expected: readonly unknown[]): void {
  const { broken } = it.queue;
  assert(broken !== undefined);
  assertEquals([broken.code, broken.queue, broken.index, broken.seen, broken.expected], expected);
  assertEquals(broken.device, "virtio9");
  assertEquals([it.queue.pop(), it.queue.hasUsed(), it.queue.enableCallbacks()], [-1, false, true]);
  const error = assertThrows(() => it.queue.add(writable(), 0), VireoError);
  assertEquals([error.code, error.queue, error.cause], ["QUEUE_BROKEN", 3, broken]);
  it.queue.break(new VireoError("DEVICE_REMOVED", "Later"));
  assertEquals(it.queue.broken, broken);
}

Deno.test("USED_ID_RANGE: a descriptor that does not exist", () => {
  for (const id of [8, 0x1_0000, 0xffff_ffff, 0x8000_0000]) {
    using it = rig({ device: "virtio9" });
    const tokens = lie(it, (device, heads) => {
      device.complete(heads[1]!, 0);
      device.complete(id, 0);
      device.complete(heads[0]!, 0);
    });
    assertEquals(tokens, [8]);
    assertBroken(it, ["USED_ID_RANGE", 3, 1, id, "below 8"]);
  }
});

Deno.test("USED_ID_NOT_IN_FLIGHT: a free descriptor, a middle one, a duplicate", () => {
  const what = "the head of a buffer in flight";
  for (const kind of ["free", "middle", "duplicate"]) {
    using it = rig({ device: "virtio9" });
    let id = -1;
    const tokens = lie(it, (device, heads) => {
      id = kind === "duplicate"
        ? heads[0]!
        : kind === "middle"
        ? device.descriptor(heads[1]!).next
        : [0, 1, 2, 3, 4, 5, 6, 7].find((i) =>
          heads.every((head) => head !== i && device.descriptor(head).next !== i)
        )!;
      device.complete(heads[0]!, 0);
      device.complete(id, 0);
    });
    assertEquals(tokens, [7]);
    assertBroken(it, ["USED_ID_NOT_IN_FLIGHT", 3, 1, id, what]);
  }
});

Deno.test("under IN_ORDER an id that does not exist, or is not out, breaks the queue too", () => {
  for (
    const [id, code, expected] of [
      [8, "USED_ID_RANGE", "below 8"],
      [0xffff_ffff, "USED_ID_RANGE", "below 8"],
      [7, "USED_ID_NOT_IN_FLIGHT", "the head of a buffer in flight"],
    ] as const
  ) {
    using it = rig({ device: "virtio9", inOrder: true });
    const tokens = lie(it, (device, heads) => {
      device.complete(heads[0]!, 0);
      device.complete(id, 0);
    });
    assertEquals(tokens, [7]);
    assertBroken(it, [code, 3, 1, id, expected]);
  }
});

Deno.test("USED_INDEX_JUMP: more than is in flight, or backwards", () => {
  for (const index of [4, 0x8000, 0xffff]) {
    using it = rig({ device: "virtio9" });
    assertEquals(lie(it, (device) => device.usedIndex = index), []);
    assertBroken(it, ["USED_INDEX_JUMP", 3, index, index, "at most 3"]);
  }
});

Deno.test("what the device writes into descriptors is not believed", () => {
  using it = rig();
  const tokens = lie(it, (device, heads) => {
    const { desc, size } = it.queue.addresses;
    it.dma.deviceBytes(desc, 16 * size).fill(0xff);
    for (const head of heads) device.complete(head, 0);
  });
  assertEquals(tokens, [7, 8, 9]);
  assertEquals(it.queue.freeSlots, 8);
  assert(it.queue.add(readables(8), 1));
  it.queue.kick();
  assertEquals(it.device.next()!.descriptors.length, 8);
});

Deno.test("a broken or disposed queue leaves memory and the device alone", () => {
  for (const eventIdx of [false, true]) {
    for (const disposed of [false, true]) {
      using it = rig({ eventIdx, indirect: true });
      const { queue, device, kicks } = it;
      for (let i = 0; i < 3; i++) queue.add(writable(), i);
      queue.kick();
      device.put(device.next()!.head, 0);
      device.put(device.next()!.head, 0);
      device.publish();
      assertEquals(queue.pop(), 0);
      queue.add(writable(), 3);
      if (disposed) queue[Symbol.dispose]();
      else queue.break(new VireoError("DEVICE_REMOVED", "Test"));
      // Whose memory it is now, nobody knows.
      it.dma.memory.fill(0x5a);
      // In a ring of 8 the next entry, if it were read, would name a buffer in flight.
      new DataView(it.dma.memory.buffer).setUint32(
        queue.addresses.device + 12 - it.dma.base,
        1,
        true,
      );
      const before = it.dma.memory.slice();
      kicks.length = 0;
      assertEquals([queue.pop(), queue.hasUsed()], [-1, false]);
      queue.kick();
      queue.disableCallbacks();
      assertEquals([queue.enableCallbacks(), queue.enableCallbacksDelayed()], [true, true]);
      queue.disableCallbacks();
      assertThrows(() => queue.add(writable(), 4), VireoError);
      assertEquals(popAll(queue), []);
      while (queue.detachUnused() !== -1);
      assert(it.dma.memory.every((byte, i) => byte === before[i]));
      assertEquals(kicks, []);
    }
  }
});

Deno.test("split: under IN_ORDER next is index plus one, and 0 at the end of the table (drv.split-ring.desc-table.2)", () => {
  using it = rig({ inOrder: true });
  const nexts = new Set<number>();
  for (let round = 0; round < 8; round++) {
    it.queue.add(readables(3), round);
    it.queue.kick();
    const { head, descriptors } = it.device.next()!;
    descriptors.slice(0, -1).forEach(({ next }, i) => {
      assertEquals(next, (head + i + 1) % 8);
      nexts.add(next);
    });
    it.device.complete(head, 0);
    assertEquals(it.queue.pop(), round);
  }
  assert(nexts.has(0), "some chain went over the end");
});

Deno.test("what is in flight is available again, in order, also what others overtook for rounds", () => {
  using it = rig({ size: 4 });
  const { queue, device } = it;
  const add = (token: number): void => void (queue.add(writable(), token), queue.kick());
  add(1);
  const slow = device.next()!;
  for (let i = 0; i < 6; i++) {
    add(2);
    device.complete(device.next()!, 8);
    assertEquals(queue.pop(), 2);
  }
  add(3);
  add(4);
  const [third, fourth] = [device.next()!, device.next()!];
  add(5);
  const fifth = device.next()!;
  // One is used, though the driver did not look yet.
  device.complete(fourth, 8);
  // Six that were done, and one: the entry of the first one was overwritten by then.
  assertEquals(queue.addresses.again!(), 7);
  const entries = [7, 8, 9].map((position) => device.availEntry(position));
  assertEquals(entries, [slow.head, third.head, fifth.head]);
  assertEquals(popAll(queue), [4]);
});
