import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { BouncingDma, type RingChain, RingDevice } from "../testing/mod.ts";
import { plainQueue } from "../virtqueue/exchange_test_util.ts";
import { Receiver } from "./_receiver.ts";

/** A receiver on a queue of eight, what is allocated for it, and a device that fills its buffers. */
function rig(count: number, size: number, lazy: boolean) {
  const dma = new BouncingDma({ size: 2 << 20 });
  let kicks = 0;
  const makeQueue = () => plainQueue(dma, () => kicks++);
  const queue = makeQueue();
  const sizes: number[] = [];
  const alloc = dma.alloc.bind(dma);
  dma.alloc = (size, options) => {
    sizes.push(size);
    return alloc(size, options);
  };
  const receiver = new Receiver(queue, dma, count, size, lazy);
  const device = new RingDevice(dma, queue.addresses);
  return {
    dma,
    queue,
    makeQueue,
    sizes,
    receiver,
    kicks: () => kicks,
    /** Fills the next buffer, or says that it wrote so many bytes. */
    fill(text: string, length = text.length, to = device): RingChain["descriptors"][number] {
      const chain = to.next()!;
      const [descriptor] = chain.descriptors;
      dma.deviceBytes(descriptor!.address, descriptor!.length).set(new TextEncoder().encode(text));
      to.complete(chain, length);
      return descriptor!;
    },
    take(): string | undefined {
      const bytes = receiver.take();
      return bytes && new TextDecoder().decode(bytes);
    },
  };
}

Deno.test("receiver: buffers are in pieces of at most 64 KiB, and of 16 KiB at first if they are lazy", () => {
  const cases = [
    [4, 4, false, [16], []],
    [4, 4, true, [16], []],
    // No more than the queue takes.
    [9, 4, false, [32], []],
    [8, 20_000, false, [60_000, 60_000, 40_000], []],
    [8, 20_000, true, [20_000], [60_000, 60_000, 20_000]],
    [6, 6000, true, [12_000], [24_000]],
    [2, 70_000, false, [70_000, 70_000], []],
    [2, 70_000, true, [70_000], [70_000]],
  ] as const;
  for (const [count, size, lazy, at, later] of cases) {
    const { receiver, sizes, queue, fill, take, dma } = rig(count, size, lazy);
    assertEquals([receiver.count, sizes], [Math.min(count, 8), [...at]]);
    receiver.fill();
    const first = queue.inFlight;
    assertEquals(first * size, at.reduce<number>((sum, bytes) => sum + bytes, 0));
    // There are more when the device has filled all of them, and not before.
    const seen = new Set<number>();
    for (let i = 0; i < first; i++) {
      seen.add(fill(`${i}`).address);
      if (i === first - 2) receiver.collect();
      if (i === first - 2) assertEquals(sizes, [...at]);
    }
    receiver.collect();
    assertEquals([sizes, queue.inFlight], [[...at, ...later], receiver.count - first]);
    for (let i = first; i < receiver.count; i++) seen.add(fill(`${i}`).address);
    receiver.collect();
    assertEquals([seen.size, receiver.hasData], [receiver.count, true]);
    for (let i = 0; i < receiver.count; i++) assertEquals(take(), `${i}`);
    assertEquals([take(), receiver.hasData, queue.inFlight], [undefined, false, receiver.count]);
    receiver[Symbol.dispose]();
    assertEquals([dma.mistakes, dma.live], [[], 1]);
  }
});

Deno.test("receiver: without memory for more it goes on with what it has, and none of it is left over", () => {
  const r = rig(8, 20_000, true);
  r.receiver.fill();
  const { alloc } = r.dma;
  let left = 1;
  r.dma.alloc = (size, options) => {
    if (left-- > 0) return alloc(size, options);
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  r.fill("a");
  r.receiver.collect();
  assertEquals([r.dma.live, r.queue.inFlight], [1 + 1, 0]);
  assertEquals([r.take(), r.queue.inFlight], ["a", 1]);
  // The next time that all are full there is room.
  left = 8;
  r.fill("b");
  r.receiver.collect();
  assertEquals([r.dma.live, r.queue.inFlight], [1 + 4, 7]);
  assertThrows(() => {
    left = 1;
    new Receiver(r.queue, r.dma, 8, 20_000, false);
  }, VireoError);
  assertEquals(r.dma.live, 1 + 4);
});

Deno.test("receiver: bytes come in the order of arrival, for rounds, and each buffer is posted again", () => {
  const r = rig(3, 4, false);
  r.receiver.fill();
  for (let round = 0; round < 5; round++) {
    for (const text of ["ab", "cdef"]) r.fill(`${text}`);
    assertEquals([r.receiver.hasUsed, r.receiver.hasData], [true, false]);
    r.receiver.collect();
    assertEquals([r.receiver.hasUsed, r.receiver.hasData], [false, true]);
    const before = r.kicks();
    assertEquals([r.take(), r.take(), r.take()], ["ab", "cdef", undefined]);
    assertEquals([r.queue.inFlight, r.kicks() - before, r.queue.callbacks], [3, 2, true]);
  }
});

Deno.test("receiver: a length is a claim, and a buffer without a byte goes back at once", () => {
  const r = rig(2, 4, false);
  r.receiver.fill();
  r.fill("abcd", 400);
  r.fill("", 0);
  const before = r.kicks();
  r.receiver.collect();
  assertEquals([r.queue.inFlight, r.kicks() - before], [1, 1]);
  assertEquals([r.take(), r.take()], ["abcd", undefined]);
  // Nothing is posted or told without a reason.
  r.fill("x");
  r.receiver.collect();
  assertEquals([r.kicks() - before, r.queue.inFlight], [2, 1]);
});

Deno.test("receiver: a buffer that comes just before callbacks are on is taken", () => {
  const r = rig(2, 4, false);
  r.receiver.fill();
  const enable = r.queue.enableCallbacks.bind(r.queue);
  let more = true;
  r.queue.enableCallbacks = () => {
    if (more) r.fill("b");
    more = false;
    return enable();
  };
  r.fill("a");
  r.receiver.collect();
  assertEquals([r.take(), r.take()], ["a", "b"]);
});

Deno.test("receiver: what is unread can be thrown away, with its buffers posted or not", () => {
  const r = rig(3, 4, false);
  r.receiver.fill();
  r.fill("a");
  r.fill("bcd");
  r.receiver.collect();
  assertEquals([r.receiver.forget(), r.queue.inFlight, r.take()], [4, 1, undefined]);
  assertEquals([r.receiver.discard(), r.queue.inFlight], [0, 3]);
  r.fill("e");
  r.receiver.collect();
  assertEquals([r.receiver.discard(), r.queue.inFlight], [1, 3]);
});

Deno.test("receiver: what is unread stays over a reset, and the next queue gets the other buffers", () => {
  const r = rig(3, 4, false);
  r.receiver.fill();
  r.fill("old");
  r.receiver.collect();
  r.queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
  // A queue that is broken is left alone.
  r.receiver.fill();
  const next = r.makeQueue();
  const device = new RingDevice(r.dma, next.addresses);
  r.receiver.rebind(next);
  r.receiver.fill();
  assertEquals(next.inFlight, 2);
  r.fill("new", 3, device);
  r.receiver.collect();
  assertEquals([r.take(), r.take(), next.inFlight], ["old", "new", 3]);
  // What was read while the queue was broken waits for the next one.
  r.fill("last", 4, device);
  r.receiver.collect();
  next.break(new VireoError("DEVICE_STATE", "As the test wants"));
  assertEquals([r.take(), r.take()], ["last", undefined]);
  r.receiver[Symbol.dispose]();
  assertEquals([r.dma.mistakes, r.dma.live], [[], 2]);
});

Deno.test("receiver: a reader's last look takes what came, and notifies a device that owes nothing of nothing", () => {
  const r = rig(2, 4, false);
  r.receiver.fill();
  const before = r.kicks();
  const { look, details } = r.receiver.look(() => r.receiver.collect());
  look!({ over: false });
  assertEquals([r.kicks() - before, details!().seen], [0, "nothing in the used ring"]);
  r.fill("late");
  look!({ over: false });
  assertEquals(r.take(), "late");
});
