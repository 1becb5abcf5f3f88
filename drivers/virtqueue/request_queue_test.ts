import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError, type VireoErrorCode } from "@vireo/hal";
import { processorTime } from "../async_test_util.ts";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { plainQueue } from "./exchange_test_util.ts";
import { type RequestOptions, RequestQueue } from "./request_queue.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList } from "./virtqueue.ts";

interface Rig extends Disposable {
  readonly dma: TestDma;
  readonly queue: SplitVirtqueue;
  readonly device: RingDevice;
  readonly requests: RequestQueue;
  /** What happened, in order. */
  readonly log: string[];
  /** Sends a request of so many descriptors, and logs its return and how it settled. */
  send(name: string, count?: number, options?: RequestOptions): Promise<void>;
}

function rig(size = 2, notify: () => void = () => {}): Rig {
  const dma = new TestDma({ size: 64 * 1024 });
  const log: string[] = [];
  const queue = plainQueue(dma, () => {
    log.push("kick");
    notify();
  }, size);
  const requests = new RequestQueue(queue);
  return {
    dma,
    queue,
    requests,
    log,
    device: new RingDevice(dma, queue.addresses),
    async send(name, count = 1, options = {}) {
      try {
        const length = await requests.submit(chain(count), {
          onReturned: (used) => log.push(`${name} returned ${used}`),
          ...options,
        });
        log.push(`${name} = ${length}`);
      } catch (error) {
        log.push(`${name} ! ${error instanceof VireoError ? error.code : error}`);
      }
    },
    [Symbol.dispose]: () => queue[Symbol.dispose](),
  };
}

function chain(count = 1): SgList {
  const list = new SgList(count);
  for (let i = 0; i < count; i++) list.addWritable(0x1000 * (i + 1), 100);
  return list;
}

/** Ends the turn: all microtasks have run. */
function turn(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    port2.close();
    resolve();
  };
  port2.postMessage(0);
  return promise;
}

function code(promise: Promise<unknown>, expected: VireoErrorCode): Promise<void> {
  return assertRejects(() => promise, VireoError).then((error) =>
    assertEquals(error.code, expected)
  );
}

/** A signal that counts its listeners. */
function counted(): { controller: AbortController; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    count++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    count--;
    remove(...args);
  };
  return { controller, listeners: () => count };
}

Deno.test("requests are kicked once a turn and answered in the device's order", async () => {
  using it = rig(4);
  const all = [it.send("a"), it.send("b"), it.send("c")];
  assertEquals([it.log, it.device.availIndex], [[], 0]);
  await turn();
  assertEquals([it.log, it.device.availIndex], [["kick"], 3]);
  const [a, b, c] = it.device.takeAll();
  it.device.complete(c!, 3);
  it.device.complete(a!, 1);
  it.requests.drain();
  assertEquals(it.log.slice(1), ["c returned 3", "a returned 1"]);
  await turn();
  assertEquals(it.log.slice(3), ["c = 3", "a = 1"]);
  it.device.complete(b!, 2);
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log.slice(5), ["b returned 2", "b = 2"]);
  assertEquals([it.requests.inFlight, it.requests.waiting], [0, 0]);
});

Deno.test("flush tells the device at once, and the end of the turn does not again", async () => {
  using it = rig();
  const sent = it.send("a");
  it.requests.flush();
  assertEquals([it.log, it.device.availIndex], [["kick"], 1]);
  await turn();
  assertEquals(it.log, ["kick"]);
  it.device.complete(it.device.next()!, 0);
  it.requests.drain();
  await sent;
  assertEquals(it.log, ["kick", "a returned 0", "a = 0"]);
});

Deno.test("requests wait for room in order; a small one does not overtake a large one", async () => {
  using it = rig(4);
  const all = [it.send("a", 3), it.send("large", 2), it.send("small", 1), it.send("last", 4)];
  assertEquals([it.requests.inFlight, it.requests.waiting], [1, 3]);
  await turn();
  const lengths: number[] = [];
  while (it.requests.inFlight > 0) {
    for (const one of it.device.takeAll()) {
      lengths.push(one.descriptors.length);
      it.device.complete(one, 0);
    }
    it.requests.drain();
    await turn();
  }
  await Promise.all(all);
  assertEquals(lengths, [3, 2, 1, 4]);
  assertEquals(it.log.filter((line) => line.includes("=")), [
    "a = 0",
    "large = 0",
    "small = 0",
    "last = 0",
  ]);
  assertEquals(it.log.filter((line) => line === "kick").length, 3);
});

Deno.test("drain leaves callbacks on while the device has requests, and takes what comes in while it runs", async () => {
  using it = rig(4);
  let late = true;
  const sent = it.send("a", 1, {
    onReturned: () => {
      assertEquals(it.device.availFlags, 1);
      if (late) it.device.complete(it.device.next()!, 2);
      late = false;
    },
  });
  const other = it.send("b");
  const last = it.send("c");
  it.requests.flush();
  it.device.complete(it.device.next()!, 1);
  it.requests.drain();
  assertEquals([it.requests.inFlight, it.device.availFlags], [1, 0]);
  it.device.complete(it.device.next()!, 3);
  it.requests.drain();
  // Nobody waits for an interrupt now; the next request asks for one, flushed or at the end of the turn.
  assertEquals([it.requests.inFlight, it.device.availFlags], [0, 1]);
  await Promise.all([sent, other, last]);
  assertEquals(it.log, ["kick", "b returned 2", "c returned 3", "a = 1", "b = 2", "c = 3"]);
  const flushed = it.send("d");
  it.requests.flush();
  assertEquals(it.device.availFlags, 0);
  it.device.complete(it.device.next()!, 4);
  it.requests.drain();
  assertEquals(it.device.availFlags, 1);
  const later = it.send("e");
  await turn();
  assertEquals([it.requests.inFlight, it.device.availFlags], [1, 0]);
  it.device.complete(it.device.next()!, 5);
  it.requests.drain();
  await Promise.all([flushed, later]);
});

Deno.test("an abort while waiting drops the request, and its memory is free at once", async () => {
  using it = rig(1);
  const { controller, listeners } = counted();
  const first = it.send("a");
  const second = it.send("b", 1, { signal: controller.signal });
  const third = it.send("c");
  assertEquals([it.requests.waiting, listeners()], [2, 1]);
  controller.abort("enough");
  assertEquals([it.requests.waiting, listeners()], [1, 0]);
  await second;
  assertEquals(it.log, ["b returned -1", "kick", "b ! enough"]);
  for (let i = 0; i < 2; i++) {
    await turn();
    it.device.complete(it.device.next()!, 0);
    it.requests.drain();
  }
  await Promise.all([first, third]);
  assertEquals(it.log.slice(3), ["a returned 0", "a = 0", "kick", "c returned 0", "c = 0"]);
});

Deno.test("an abort of the first that waits makes way for those behind it", async () => {
  using it = rig(2);
  const controller = new AbortController();
  const all = [it.send("a"), it.send("large", 2, { signal: controller.signal }), it.send("b")];
  assertEquals(it.requests.waiting, 2);
  controller.abort("enough");
  assertEquals([it.requests.waiting, it.requests.inFlight], [0, 2]);
  await turn();
  for (const one of it.device.takeAll()) it.device.complete(one, 0);
  it.requests.drain();
  await Promise.all(all);
});

Deno.test("an abort in flight rejects at once; the memory comes back with the buffer", async () => {
  using it = rig(1);
  const { controller, listeners } = counted();
  const first = it.send("a", 1, { signal: controller.signal });
  const second = it.send("b");
  await turn();
  controller.abort("enough");
  await first;
  assertEquals(it.log, ["kick", "a ! enough"]);
  assertEquals([it.requests.inFlight, it.requests.waiting, listeners()], [1, 1, 0]);
  it.device.complete(it.device.next()!, 5);
  it.requests.drain();
  assertEquals(it.log.slice(2), ["a returned 5"]);
  await turn();
  it.device.complete(it.device.next()!, 6);
  it.requests.drain();
  await second;
  assertEquals(it.log.slice(3), ["kick", "b returned 6", "b = 6"]);
});

Deno.test("an aborted signal sends nothing", async () => {
  using it = rig();
  await it.send("a", 1, { signal: AbortSignal.abort("before") });
  assertEquals(it.log, ["a returned -1", "a ! before"]);
  assertEquals([it.requests.inFlight, it.requests.waiting], [0, 0]);
});

Deno.test("a deadline rejects with TIMEOUT, waiting or in flight", async () => {
  using it = rig(1);
  const all = [it.send("a", 1, { deadline: 1 }), it.send("b", 1, { deadline: 1 })];
  await Promise.all(all);
  // The second notification is the last look's: the first one may have been lost.
  assertEquals(it.log, ["kick", "kick", "a ! TIMEOUT", "b returned -1", "b ! TIMEOUT"]);
  assertEquals([it.requests.inFlight, it.requests.waiting], [1, 0]);
  it.device.complete(it.device.next()!, 0);
  it.requests.drain();
  assertEquals(it.log.slice(5), ["a returned 0"]);
});

Deno.test("the last look takes an answer whose interrupt was lost", async () => {
  // After the kick, which hears what is answered at once.
  const answer = (): void => it.device.complete(it.device.next()!, 5);
  using it = rig(2, () => queueMicrotask(answer));
  await it.send("a", 1, { deadline: 1 });
  assertEquals(it.log, ["kick", "a returned 5", "a = 5"]);
});

Deno.test("the last look notifies again, and takes what the device answers to that", async () => {
  let notified = 0;
  using it = rig(2, () => {
    if (++notified === 2) it.device.complete(it.device.next()!, 6);
  });
  await it.send("a", 1, { deadline: 1 });
  assertEquals(it.log, ["kick", "kick", "a returned 6", "a = 6"]);
});

Deno.test("a request that another one sends during a last look is none of the late one", async () => {
  using it = rig(4);
  const late = it.send("a", 1, { deadline: 1 });
  let next: Promise<void> | undefined;
  const first = it.send("b", 1, { onReturned: () => next = it.send("c") });
  it.requests.flush();
  // Both were answered, but no interrupt came: the last look of `a` takes `a`, then `b`, which sends `c`.
  it.device.complete(it.device.next()!, 5);
  it.device.complete(it.device.next()!, 6);
  await Promise.all([late, first]);
  assertEquals(it.requests.inFlight, 1);
  it.device.complete(it.device.next()!, 7);
  it.requests.drain();
  await next;
  assertEquals(it.log.filter((line) => line !== "kick"), [
    "a returned 5",
    "a = 5",
    "b = 6",
    "c returned 7",
    "c = 7",
  ]);
});

Deno.test("the error of a late request tells what the last look saw", async () => {
  const message = async (queue: SplitVirtqueue, requests: RequestQueue): Promise<string> => {
    const late = requests.submit(chain(), { deadline: 1 });
    const error = await assertRejects(() => late, VireoError);
    assertEquals([error.code, error.queue], ["TIMEOUT", queue.index]);
    return error.message;
  };
  const dma = new TestDma({ size: 64 * 1024 });
  const make = (status?: () => number, notify = (): void => {}): SplitVirtqueue =>
    new SplitVirtqueue({
      index: 1,
      name: "requests",
      size: 2,
      dma,
      indirect: false,
      eventIdx: false,
      notificationData: false,
      device: "virtio0",
      notify,
      ...status && { status },
    });
  const expected: [(() => number) | undefined, string][] = [
    [undefined, "virtio0, queue 1): saw nothing in the used ring, even after another notification"],
    [() => 0xf, "virtio0, queue 1): saw nothing in the used ring, even after another notification"],
    [() => 0x4f, "virtio0, register Status, queue 1): saw 0x4f with NEEDS_RESET"],
    [() => 0x8f, "virtio0, register Status, queue 1): saw 0x8f with FAILED"],
    [() => {
      throw new Error("gone");
    }, "virtio0, queue 1): saw a device that cannot be reached"],
  ];
  for (const [status, end] of expected) {
    using queue = make(status);
    assertEquals(
      await message(queue, new RequestQueue(queue)),
      `Timed out after 1 ms waiting for the device to answer (${end}`,
    );
  }
  // A queue whose other request was answered; and one that has no room for a request.
  let kicked = 0;
  using other = make(undefined, () => {
    if (kicked++ === 0) queueMicrotask(() => device.complete(device.next()!, 0));
  });
  const device = new RingDevice(dma, other.addresses);
  const requests = new RequestQueue(other);
  const answered = requests.submit(chain());
  assertEquals(
    await message(other, requests),
    "Timed out after 1 ms waiting for the device to answer (virtio0, queue 1): saw other answers in the used ring",
  );
  await answered;
  using full = make();
  const wide = new RequestQueue(full);
  const held = wide.submit(chain(2)).catch(() => {});
  assertEquals(
    await message(full, wide),
    "Timed out after 1 ms waiting for room for the request in the queue (virtio0, queue 1): saw nothing in the used ring",
  );
  wide.failAll(new Error("over"));
  await held;
});

Deno.test("a negative deadline is refused and gives the memory back", async () => {
  using it = rig();
  await it.send("a", 1, { deadline: -1 });
  assertEquals(it.log, [
    "a returned -1",
    "a ! RangeError: Cannot wait for -1 ms: the deadline must be a number >= 0",
  ]);
});

Deno.test("a request in time leaves no timer, however long its deadline", async () => {
  using it = rig(8);
  const all = [1e6, 2 ** 31, Infinity].map((deadline, i) => it.send(`${i}`, 1, { deadline }));
  // A deadline that a timer cannot hold would be over at once.
  await new Promise((resolve) => setTimeout(resolve, 5));
  for (const one of it.device.takeAll()) it.device.complete(one, 0);
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log.slice(-3), ["0 = 0", "1 = 0", "2 = 0"]);
});

Deno.test("failAll rejects all; what the device has stays owned until detachAll", async () => {
  using it = rig(1);
  const { controller, listeners } = counted();
  const options = { signal: controller.signal, deadline: 1e6 };
  const all = [it.send("a", 1, options), it.send("b", 1, options)];
  await turn();
  const error = new VireoError("DEVICE_REMOVED", "Test");
  it.requests.failAll(error);
  it.requests.failAll(new VireoError("IO_ERROR", "Later"));
  await Promise.all(all);
  assertEquals(it.log.toSorted(), [
    "a ! DEVICE_REMOVED",
    "b ! DEVICE_REMOVED",
    "b returned -1",
    "kick",
  ]);
  assertEquals([it.requests.inFlight, it.requests.waiting, listeners()], [1, 0, 0]);
  await it.send("c");
  assertEquals(it.log.slice(4), ["c returned -1", "c ! DEVICE_REMOVED"]);
  it.requests.detachAll();
  assertEquals(it.log.slice(6), ["a returned -1"]);
  assertEquals(it.requests.inFlight, 0);
  it.requests.detachAll();
  assertEquals(it.log.length, 7);
});

Deno.test("detachAll rejects with its reason and gives each memory back once", async () => {
  for (const reason of [undefined, new VireoError("DEVICE_NEEDS_RESET", "Test")]) {
    using it = rig(2);
    const all = [it.send("a"), it.send("b"), it.send("c")];
    await turn();
    it.queue.break(new VireoError("DEVICE_STATE", "Reset"));
    it.requests.detachAll(reason);
    await Promise.all(all);
    const expected = reason?.code ?? "DEVICE_STATE";
    assertEquals(it.log.toSorted(), [
      `a ! ${expected}`,
      "a returned -1",
      `b ! ${expected}`,
      "b returned -1",
      `c ! ${expected}`,
      "c returned -1",
      "kick",
    ]);
    assertEquals([it.requests.inFlight, it.requests.waiting], [0, 0]);
  }
});

Deno.test("a lie rejects all with its own error; no memory comes back before a reset", async () => {
  using it = rig(2);
  const all = [it.send("a"), it.send("b"), it.send("c")];
  await turn();
  const [a] = it.device.takeAll();
  it.device.complete(a!, 4);
  it.device.complete(99, 0);
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log.slice(0, 2), ["kick", "a returned 4"]);
  assertEquals(it.log.slice(2).toSorted(), [
    "a = 4",
    "b ! USED_ID_RANGE",
    "c ! USED_ID_RANGE",
    "c returned -1",
  ]);
  await code(it.requests.submit(chain()), "USED_ID_RANGE");
});

Deno.test("a lie rejects what is in flight although nothing waits", async () => {
  using it = rig(2);
  const all = [it.send("a"), it.send("b")];
  await turn();
  it.device.usedIndex = 3;
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log, ["kick", "a ! USED_INDEX_JUMP", "b ! USED_INDEX_JUMP"]);
});

Deno.test("a request after the queue broke is rejected with the reason", async () => {
  using it = rig(1);
  const all = [it.send("a"), it.send("b")];
  await turn();
  it.queue.break(new VireoError("DEVICE_REMOVED", "Test"));
  await it.send("c");
  assertEquals(it.log.slice(1), ["c returned -1", "c ! DEVICE_REMOVED"]);
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log.slice(3).toSorted(), [
    "a ! DEVICE_REMOVED",
    "b ! DEVICE_REMOVED",
    "b returned -1",
  ]);
});

Deno.test("a chain that the queue can never take is refused, and those behind it go on", async () => {
  using it = rig(2);
  const all = [it.send("full", 2), it.send("never", 3), it.send("next")];
  await turn();
  assertEquals(it.requests.waiting, 1);
  it.device.complete(it.device.next()!, 0);
  it.requests.drain();
  await turn();
  it.device.complete(it.device.next()!, 0);
  it.requests.drain();
  await Promise.all(all);
  assertEquals(it.log.filter((line) => line.startsWith("n")), [
    "never returned -1",
    "never ! CHAIN_SHAPE",
    "next returned 0",
    "next = 0",
  ]);
});

Deno.test("a callback may send the next request", async () => {
  using it = rig(1);
  const { requests, device } = it;
  let sent = 0;
  const done = Promise.withResolvers<void>();
  const send = () => {
    const number = ++sent;
    it.send(`${number}`, 1, { onReturned: () => number < 4 ? send() : done.resolve() });
  };
  send();
  while (sent < 4 || requests.inFlight > 0) {
    await turn();
    device.complete(device.next()!, sent);
    requests.drain();
  }
  await done.promise;
  await turn();
  assertEquals(it.log.filter((line) => line !== "kick"), ["1 = 1", "2 = 2", "3 = 3", "4 = 4"]);
});

Deno.test("a callback of a dropped request may send another", async () => {
  using it = rig(1);
  const controller = new AbortController();
  const { signal } = controller;
  let late: Promise<void> | undefined;
  const all = [
    it.send("a"),
    it.send("b", 1, { signal, onReturned: () => late = it.send("d") }),
    it.send("c"),
  ];
  await turn();
  controller.abort("enough");
  for (let i = 0; i < 3; i++) {
    await turn();
    it.device.complete(it.device.next()!, i);
    it.requests.drain();
  }
  await Promise.all(all);
  await late;
  assertEquals(it.log.filter((line) => line.includes("=")), ["a = 0", "c = 1", "d = 2"]);
});

Deno.test("a machine that is gone fails the requests instead of the program", async () => {
  using it = rig(2, () => {
    throw new VireoError("HOST_ERROR", "The machine is gone");
  });
  await it.send("a");
  assertEquals(it.log, ["kick", "a ! HOST_ERROR"]);
  assertEquals(it.requests.inFlight, 1);
  await code(it.requests.submit(chain()), "HOST_ERROR");
});

Deno.test("tokens are used again: there are no more than the ring has slots", async () => {
  using it = rig(4);
  const add = it.queue.add.bind(it.queue);
  let largest = 0;
  it.queue.add = (list, token) => {
    largest = Math.max(largest, token);
    return add(list, token);
  };
  for (let round = 0; round < 10; round++) {
    // Of the second three, one finds no room although tokens are free.
    for (const count of [1, 3]) {
      const all = [it.send("a", count), it.send("b", count), it.send("c", count)];
      while (it.requests.inFlight > 0) {
        it.requests.flush();
        for (const one of it.device.takeAll()) it.device.complete(one, 0);
        it.requests.drain();
      }
      await Promise.all(all);
    }
  }
  assert(largest < 4, `${largest}`);
});

Deno.test("thousands of aborts leave no listener, no timer and no memory behind", async () => {
  using it = rig(4);
  const { controller, listeners } = counted();
  const returned: number[] = [];
  for (let round = 0; round < 20; round++) {
    const own = counted();
    const all = Array.from({ length: 100 }, (_, i) =>
      it.requests.submit(chain(), {
        signal: i % 2 === 0 ? own.controller.signal : controller.signal,
        deadline: 1e6,
        onReturned: (used) => returned.push(used),
      }).catch((reason) => reason));
    await turn();
    own.controller.abort("enough");
    assertEquals(own.listeners(), 0);
    while (it.requests.inFlight > 0) {
      for (const one of it.device.takeAll()) it.device.complete(one, 1);
      it.requests.drain();
      await turn();
    }
    const results = await Promise.all(all);
    assert(results.every((result, i) => result === (i % 2 === 0 ? "enough" : 1)));
    assertEquals(listeners(), 0);
  }
  // Of each round the device had 2 of those that were aborted, and 50 others.
  assertEquals(returned.length, 2000);
  assertEquals(returned.filter((used) => used === -1).length, 20 * 48);
  assertEquals([it.queue.freeSlots, it.requests.waiting], [4, 0]);
});

Deno.test("a callback that throws fails its own request only, and callbacks stay on", async () => {
  using it = rig(2);
  const bug = () => {
    throw new Error("bug");
  };
  const controller = new AbortController();
  const all = [
    it.send("a", 1, { onReturned: bug }),
    it.send("b"),
    it.send("dropped", 1, { onReturned: bug, signal: controller.signal }),
    it.send("late", 1, { onReturned: bug }),
    it.send("last"),
  ];
  await turn();
  controller.abort("enough");
  for (const one of it.device.takeAll()) it.device.complete(one, 3);
  it.requests.drain();
  assertEquals(it.device.availFlags, 0);
  await Promise.all(all.slice(0, 3));
  assertEquals(it.log.filter((line) => line.includes("!") || line.includes("=")), [
    "dropped ! enough",
    "a ! Error: bug",
    "b = 3",
  ]);
  await it.send("early", 1, { onReturned: bug, signal: AbortSignal.abort("before") });
  it.requests.detachAll(new VireoError("DEVICE_NEEDS_RESET", "Test"));
  await Promise.all(all);
  assertEquals(it.log.slice(-4).toSorted(), [
    "early ! before",
    "last ! DEVICE_NEEDS_RESET",
    "last returned -1",
    "late ! DEVICE_NEEDS_RESET",
  ]);
  assertEquals([it.requests.inFlight, it.requests.waiting], [0, 0]);
});

Deno.test("aborts anywhere in the waiting list keep the order of the others", async () => {
  using it = rig(1);
  const controllers = Array.from({ length: 6 }, () => new AbortController());
  const all = controllers.map(({ signal }, i) => it.send(`${i}`, 1, { signal }));
  // 0 is with the device; the first, one in the middle and the last of those that wait.
  for (const i of [1, 3, 5]) controllers[i]!.abort("enough");
  all.push(it.send("6"));
  assertEquals(it.requests.waiting, 3);
  while (it.requests.inFlight > 0) {
    await turn();
    it.device.complete(it.device.next()!, 0);
    it.requests.drain();
  }
  await Promise.all(all);
  assertEquals(it.log.filter((line) => line.includes("=")), ["0 = 0", "2 = 0", "4 = 0", "6 = 0"]);
});

/** Milliseconds of processor time in which so many waiting requests are served, in order. */
async function serve(count: number): Promise<number> {
  using it = rig(256);
  const { requests, device } = it;
  const one = chain();
  const order: number[] = [];
  const all = Array.from(
    { length: count },
    (_, i) => requests.submit(one, { onReturned: () => order.push(i) }),
  );
  const begin = processorTime();
  while (requests.inFlight > 0) {
    requests.flush();
    for (const taken of device.takeAll()) device.complete(taken, 0);
    requests.drain();
  }
  const taken = processorTime() - begin;
  await Promise.all(all);
  assert(order.length === count && order.every((value, i) => value === i));
  return taken;
}

Deno.test("a hundred thousand waiting requests are served in order, in linear time", async () => {
  const [few, many]: [number[], number[]] = [[], []];
  // Ten times as long, whatever the machine; moving all that wait for every one of them, a hundred times. It is
  // tried more often where memory was collected in between.
  do {
    few.push(await serve(10_000));
    many.push(await serve(100_000));
  } while (few.length < 10 && Math.min(...many) > 40 * Math.min(...few));
  assert(Math.min(...many) <= 40 * Math.min(...few), `${many} ms, and ${few} ms for a tenth`);
});

Deno.test("a request's promise is what its options make of the answer, without another promise", async () => {
  using it = rig(4);
  const options = (name: string) => ({
    onReturned: (used: number) => void it.log.push(`${name} returned ${used}`),
    onAnswered: (used: number): string => {
      it.log.push(`${name} answered`);
      if (used === 0) throw new TypeError(`${name} is empty`);
      return `${used} bytes`;
    },
    onFailed: (reason: unknown) => void it.log.push(`${name} failed: ${reason}`),
  });
  const stop = new AbortController();
  const good = it.requests.submit(chain(), options("good"));
  const bad = it.requests.submit(chain(), options("bad"));
  const given = it.requests.submit(chain(), { ...options("given"), signal: stop.signal });
  it.requests.flush();
  stop.abort("no more");
  // A request that was given up has no answer: what the device returns late is not asked for.
  for (const [i, taken] of it.device.takeAll().entries()) it.device.complete(taken, [7, 0, 9][i]!);
  it.requests.drain();
  assertEquals(it.log, [
    "kick",
    "given failed: no more",
    "good returned 7",
    "good answered",
    "bad returned 0",
    "bad answered",
    "bad failed: TypeError: bad is empty",
    "given returned 9",
  ]);
  assertEquals(await good, "7 bytes");
  await assertRejects(() => bad, TypeError, "bad is empty");
  assertEquals(await given.catch((reason) => reason), "no more");
});

Deno.test("what a request's options throw at its failure is why its promise is rejected", async () => {
  using it = rig(4);
  const onFailed = (reason: unknown): never => {
    throw new RangeError(`cannot clean up after ${reason}`);
  };
  const held = it.requests.submit(chain(), { onFailed });
  it.requests.failAll(new Error("gone"));
  await assertRejects(() => held, RangeError, "cannot clean up after Error: gone");
  // It fails at once, too.
  const late = it.requests.submit(chain(), { onFailed });
  await assertRejects(() => late, RangeError, "cannot clean up after Error: gone");
});
