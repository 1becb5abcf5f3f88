import { assertEquals } from "@std/assert";
import { FeatureSet, type TraceDetail } from "@vireo/hal";
import type { GuestMemory } from "../memory.ts";
import type { DeviceTrace } from "../trace.ts";
import type { RunningQueueOptions } from "./queue_config.ts";
import { BASE as PACKED_BASE, RawPackedRing, WRITE } from "./_raw_packed_test_util.ts";
import { BASE, RawRing } from "./_raw_ring_test_util.ts";
import { PackedQueue } from "./packed.ts";
import { SplitQueue } from "./split.ts";
import { TracedQueue, TracedReversedQueue } from "./traced.ts";

const BUF = BASE + 0x8_0000;

/** A trace that keeps the events, at a clock that moves by one a look. */
function keeping(): { readonly trace: DeviceTrace; take(): TraceDetail[] } {
  let now = 0;
  const events: TraceDetail[] = [];
  const trace: DeviceTrace = {
    get time() {
      return now++;
    },
    emit: (detail) => void events.push(detail),
    asked: ({ find, elements: [first] }) => ({
      request: `asks ${find(first!.address, 1)?.[0]}`,
      frame: undefined,
      data: undefined,
    }),
    answered: (_buffer, request, length) => ({
      request: `${request}: got ${length}`,
      frame: undefined,
      data: undefined,
    }),
  };
  return { trace, take: () => events.splice(0) };
}

function options(
  { memory, size }: { readonly memory: GuestMemory; readonly size: number },
  parts: { readonly desc: number; readonly avail: number; readonly used: number },
  eventIdx: boolean,
): RunningQueueOptions {
  return {
    index: 3,
    geometry: {
      size,
      desc: BASE + parts.desc,
      avail: BASE + parts.avail,
      used: BASE + parts.used,
    },
    memory,
    indirect: true,
    eventIdx,
    interrupt: () => {},
    fault: () => {},
  };
}

const NAMES = { name: "requestq", features: FeatureSet.NONE };

Deno.test("traced queue: buffers as the model takes and returns them, and why the driver is not called", () => {
  const ring = new RawRing({ size: 8 });
  const { trace, take } = keeping();
  const queue = new TracedQueue(
    options(ring, ring, true),
    { ...NAMES, packed: false, trace },
    (given) => new SplitQueue(given),
  );
  ring.memory.bytes[0x8_0000] = 9;
  ring.put(5, BUF, 10, 1, 2);
  ring.put(2, BUF + 100, 20, 2);
  ring.put(0, BUF + 300, 4, 0);
  ring.offer(5, 0);
  const [first, second] = [queue.pop()!, queue.pop()!];
  assertEquals(queue.pop(), undefined);
  const place = { seenBy: "device", queue: 3, name: "requestq" } as const;
  const none = { frame: undefined, data: undefined };
  const elements = [
    { address: BUF, length: 10, writable: false },
    { address: BUF + 100, length: 20, writable: true },
  ];
  const single = [{ address: BUF + 300, length: 4, writable: false }];
  assertEquals(take(), [
    { kind: "add", ...place, token: 5, request: "asks 9", elements, inFlight: 1, ...none },
    { kind: "add", ...place, token: 0, request: "asks 0", elements: single, inFlight: 2, ...none },
  ]);
  ring.usedEvent = 1;
  queue.push(second);
  queue.signal();
  const used = { kind: "used", ...place, ...none } as const;
  const call = { kind: "call", queue: 3, name: "requestq" } as const;
  assertEquals(take(), [
    { ...used, token: 0, request: "asks 0: got 0", length: 0, inFlight: 1, after: 1 },
    { ...call, buffers: 1, unsent: "the driver asked for one at index 1" },
  ]);
  queue.push(first, 7);
  // A chain that was returned is returned once.
  queue.push(first, 7);
  queue.signal();
  queue.signal();
  assertEquals(take(), [
    { ...used, token: 5, request: "asks 9: got 7", length: 7, inFlight: 0, after: 3 },
    { ...call, buffers: 1, unsent: undefined },
  ]);
  assertEquals([ring.usedIndex, ring.usedEntry(0), ring.usedEntry(1)], [2, [0, 0], [5, 7]]);
  // What the model still has when the queue stops is not returned.
  ring.offer(5);
  const late = queue.pop()!;
  take();
  queue.stop();
  queue.push(late, 1);
  queue.signal();
  assertEquals(take(), []);
});

Deno.test("traced queue: flags, and a packed ring's suppression, are reasons too", () => {
  const split = new RawRing({ size: 8 });
  const { trace, take } = keeping();
  const reasons = (): (string | undefined)[] =>
    take().flatMap((event) => event.kind === "call" ? [event.unsent] : []);
  const serve = (queue: TracedQueue): void => {
    const chain = queue.pop()!;
    queue.pushAll([chain], [0]);
    queue.signal();
  };
  const plain = new TracedQueue(
    options(split, split, false),
    { ...NAMES, packed: false, trace },
    (given) => new SplitQueue(given),
  );
  split.put(0, BUF, 4, 2);
  split.availFlags = 1;
  split.offer(0);
  serve(plain);
  split.availFlags = 0;
  split.offer(0);
  serve(plain);
  assertEquals(reasons(), ["the driver asked for none", undefined]);

  assertEquals(PACKED_BASE, BASE);
  const packed = new RawPackedRing({ size: 8, eventIdx: true });
  const parts = { desc: packed.desc, avail: packed.driver, used: packed.device };
  const queue = new TracedQueue(
    options(packed, parts, true),
    { ...NAMES, packed: true, trace },
    (given) => new PackedQueue(given),
  );
  for (const [place, mode] of [[0, 1], [0x8003, 2], [0x8002, 2]] as const) {
    packed.view.setUint16(packed.driver, place, true);
    packed.view.setUint16(packed.driver + 2, mode, true);
    packed.offer(0, [BUF, 4, WRITE]);
    serve(queue);
  }
  assertEquals(reasons(), [
    "the driver asked for none",
    "the driver asked for one at descriptor 3, wrap counter 1",
    undefined,
  ]);
});

Deno.test("traced queue: a reversed queue tells what the device gives and takes back", () => {
  const ring = new RawRing({ size: 4 });
  const { trace, take } = keeping();
  const queue = new TracedReversedQueue(options(ring, ring, false), {
    ...NAMES,
    packed: false,
    trace,
  });
  assertEquals(queue.offer(0x9000, 12), 0);
  // The driver has the device's side of the ring: its used ring is the driver's, whose flags ask for no call.
  ring.view.setUint16(ring.used, 1, true);
  queue.signal();
  ring.view.setUint32(ring.used + 4, 0, true);
  ring.view.setUint16(ring.used + 2, 1, true);
  assertEquals([queue.take(), queue.take()], [0, undefined]);
  const place = { reversed: true, seenBy: "device", queue: 3, name: "requestq", token: 0 } as const;
  const elements = [{ address: 0x9000, length: 12, writable: false }];
  const [request, answer] = ["asks undefined", "asks undefined: got 0"];
  assertEquals(take(), [
    { kind: "add", ...place, request, elements, inFlight: 1 },
    { kind: "call", queue: 3, name: "requestq", buffers: 1, unsent: "the driver asked for none" },
    { kind: "used", ...place, request: answer, length: 0, inFlight: 0, after: 1 },
  ]);
});

Deno.test("traced queue: of a reversed queue's buffers, those that it gave before it was resumed are not told", () => {
  const ring = new RawRing({ size: 4 });
  const { trace, take } = keeping();
  const make = (): TracedReversedQueue =>
    new TracedReversedQueue(options(ring, ring, false), { ...NAMES, packed: false, trace });
  const first = make();
  assertEquals(first.offer(0x9000, 12), 0);
  first.signal();
  assertEquals(take().map((event) => event.kind === "call" ? event.unsent : event.kind), [
    "add",
    undefined,
  ]);
  const next = make();
  next.resume(first.position());
  ring.view.setUint32(ring.used + 4, 0, true);
  ring.view.setUint16(ring.used + 2, 1, true);
  assertEquals([next.take(), take()], [0, []]);
});

Deno.test("traced queue: one that is stopped gives, takes and tells nothing more", () => {
  const ring = new RawRing({ size: 8 });
  const { trace, take } = keeping();
  const queue = new TracedQueue(
    options(ring, ring, false),
    { ...NAMES, packed: false, trace },
    (given) => new SplitQueue(given),
  );
  ring.put(0, BUF, 4, 0);
  for (const head of [1, 2]) ring.put(head, BUF, 4, 0);
  ring.offer(0, 1, 2);
  const chain = queue.pop()!;
  assertEquals([take().length, queue.hasAvailable()], [1, true]);
  queue.push(queue.pop()!);
  assertEquals([take().length, queue.hasAvailable()], [2, true]);
  queue.stop();
  queue.setNotify(false);
  queue.push(chain);
  queue.pushAll([chain], [0]);
  queue.signal();
  assertEquals([queue.pop(), take()], [undefined, []]);
  assertEquals([ring.view.getUint16(ring.used, true), ring.usedIndex], [0, 0]);
});

Deno.test("traced queue: its size, hints and calls are those of the queue in it", () => {
  const ring = new RawRing({ size: 8 });
  const { trace, take } = keeping();
  let calls = 0;
  const given = { ...options(ring, ring, false), interrupt: () => void calls++ };
  const queue = new TracedQueue(
    given,
    { ...NAMES, packed: false, trace },
    (inner) => new SplitQueue(inner),
  );
  const flags = (): number => ring.view.getUint16(ring.used, true);
  assertEquals([queue.index, queue.size, flags()], [3, 8, 0]);
  queue.setNotify(false);
  assertEquals(flags(), 1);
  queue.setNotify(true);
  queue.signal();
  assertEquals([flags(), calls, take()], [0, 0, []], "nothing was returned");
  ring.put(0, BUF, 4, 0);
  ring.offer(0);
  queue.push(queue.pop()!);
  queue.signal();
  assertEquals([calls, take().at(-1)], [1, {
    kind: "call",
    queue: 3,
    name: "requestq",
    buffers: 1,
    unsent: undefined,
  }]);
  queue.signal();
  assertEquals([calls, take()], [1, []]);
});

Deno.test("traced queue: a reversed queue tells each buffer once, and calls as it would without a trace", () => {
  const ring = new RawRing({ size: 4 });
  const { trace, take } = keeping();
  let calls = 0;
  const given = { ...options(ring, ring, false), interrupt: () => void calls++ };
  const queue = new TracedReversedQueue(given, { ...NAMES, packed: false, trace });
  const kinds = (): string[] => take().map(({ kind }) => kind);
  for (const round of [1, 2]) {
    assertEquals(queue.offer(0x9000, 12), 0);
    assertEquals([ring.view.getUint16(ring.avail + 2, true), kinds()], [round - 1, ["add"]]);
    queue.signal();
    queue.signal();
    assertEquals([ring.view.getUint16(ring.avail + 2, true), calls, kinds()], [round, round, [
      "call",
    ]]);
    ring.view.setUint32(ring.used + 4 + 8 * (round - 1), 0, true);
    ring.view.setUint16(ring.used + 2, round, true);
    assertEquals([queue.take(), kinds()], [0, ["used"]]);
  }
});
