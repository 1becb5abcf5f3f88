import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { BouncingDma, RingDevice } from "../testing/mod.ts";
import { plainQueue } from "../virtqueue/exchange_test_util.ts";
import { Sender } from "./_sender.ts";

const NO_LIMIT = {};

/** A sender of some buffers of 4 bytes, and a device that takes them when the test says so. */
function rig(count = 3) {
  const dma = new BouncingDma({ size: 64 * 1024 });
  let kicks = 0;
  let onKick = (): void => {};
  const makeQueue = () =>
    plainQueue(dma, () => {
      kicks++;
      onKick();
    });
  const queue = makeQueue();
  const sender = new Sender(queue, dma, count, 4);
  const device = new RingDevice(dma, queue.addresses);
  const returnOne = (): string | undefined => {
    const chain = device.next();
    if (chain === undefined) return undefined;
    const { address, length } = chain.descriptors[0]!;
    const text = new TextDecoder().decode(dma.deviceBytes(address, length));
    device.complete(chain, 0);
    return text;
  };
  return {
    dma,
    queue,
    sender,
    makeQueue,
    kicks: () => kicks,
    /** Has the device do something while it is notified. */
    set onKick(call: () => void) {
      onKick = call;
    },
    /** Takes one buffer; undefined if there is none. */
    take(): string | undefined {
      const text = returnOne();
      if (text !== undefined) sender.collect();
      return text;
    },
    returnOne,
  };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What a promise is after all that is ready ran. */
async function stateOf(promise: Promise<void>): Promise<string> {
  let state = "pending";
  promise.then(() => state = "done", (error) => state = error.message);
  for (let i = 0; i < 30; i++) await Promise.resolve();
  return state;
}

Deno.test("sender: a write that has room is in the ring at once, in buffers of its size and in order", async () => {
  const cases = [["", []], ["abcd", ["abcd"]], ["abcde", ["abcd", "e"]], ["abcdefghijkl", [
    "abcd",
    "efgh",
    "ijkl",
  ]]] as const;
  for (const [text, parts] of cases) {
    const { sender, take, dma, kicks, queue } = rig();
    await sender.send(bytes(text), NO_LIMIT, false);
    assertEquals([kicks(), queue.inFlight], [Math.min(1, parts.length), parts.length]);
    assertEquals([sender.idle, queue.callbacks], [parts.length === 0, true]);
    for (const part of parts) assertEquals(take(), part);
    assertEquals([take(), sender.idle], [undefined, true]);
    sender[Symbol.dispose]();
    assertEquals([dma.mistakes, dma.live], [[], 1]);
  }
});

Deno.test("sender: a write that the device takes while it is notified is over, without an interrupt", async () => {
  const r = rig();
  const seen: (string | boolean | undefined)[] = [];
  r.onKick = () => seen.push(r.queue.callbacks, r.returnOne());
  // They share a promise, and make none.
  const [first, second] = ["a", "b"].map((text) => r.sender.send(bytes(text), NO_LIMIT, true));
  assertEquals([seen, first === second], [[false, "a", false, "b"], true]);
  await first;
  // Those after them, which the device keeps, end one by one.
  r.onKick = () => {};
  const [third, fourth] = ["c", "d"].map((text) => r.sender.send(bytes(text), NO_LIMIT, true));
  assertEquals([r.take(), await stateOf(third!), await stateOf(fourth!)], ["c", "done", "pending"]);
});

Deno.test("sender: a buffer that comes back just before callbacks are on is taken", async () => {
  const r = rig();
  await r.sender.send(bytes("aaaab"), NO_LIMIT, false);
  const { queue } = r;
  const enable = queue.enableCallbacks.bind(queue);
  queue.enableCallbacks = () => {
    r.returnOne();
    return enable();
  };
  r.take();
  assertEquals([r.sender.idle, queue.callbacks], [true, true]);
});

Deno.test("sender: a write that lacks room waits for it, and the next ones for their turn", async () => {
  const { sender, take } = rig(2);
  const first = sender.send(bytes("aaaabbbbcccc"), NO_LIMIT, false);
  const second = sender.send(bytes("d"), NO_LIMIT, false);
  assertEquals([await stateOf(first), await stateOf(second)], ["pending", "pending"]);
  assertEquals(take(), "aaaa");
  assertEquals([await stateOf(first), await stateOf(second)], ["done", "pending"]);
  assertEquals([take(), await stateOf(second)], ["bbbb", "done"]);
  assertEquals([take(), take(), take(), sender.idle], ["cccc", "d", undefined, true]);
});

Deno.test("sender: a complete write ends when the device took its last buffer", async () => {
  const { sender, take } = rig();
  // Twice: a write that was over at once lends its ticket to the next.
  for (let round = 0; round < 2; round++) {
    const all = sender.send(bytes("aaaab"), NO_LIMIT, true);
    const flushed = sender.flush(NO_LIMIT);
    take();
    assertEquals([await stateOf(all), await stateOf(flushed)], ["pending", "pending"]);
    take();
    assertEquals([await stateOf(all), await stateOf(flushed)], ["done", "done"]);
  }
});

Deno.test("sender: what is blocked sends nothing, and goes on when it is asked again", async () => {
  const { sender, take } = rig();
  let blocked = true;
  sender.blocked = () => blocked;
  const sent = sender.send(bytes("ab"), NO_LIMIT, false);
  assertEquals([await stateOf(sent), take()], ["pending", undefined]);
  await assertRejects(
    () => sender.send(bytes("c"), { deadline: 1 }, false),
    VireoError,
    "Timed out after 1 ms waiting for earlier writes",
  );
  blocked = false;
  sender.notify();
  assertEquals([await stateOf(sent), take()], ["done", "ab"]);
  // So does one that gets another test.
  blocked = true;
  const again = sender.send(bytes("d"), NO_LIMIT, false);
  assertEquals(await stateOf(again), "pending");
  sender.blocked = () => false;
  assertEquals([await stateOf(again), take()], ["done", "d"]);
  sender.blocked = () => {
    throw new Error("port closed");
  };
  for (const call of [() => sender.send(bytes("e"), NO_LIMIT, false), () => sender.flush({})]) {
    await assertRejects(call, Error, "port closed");
  }
});

Deno.test("sender: a call that is aborted or out of range sends nothing", async () => {
  const { sender, take } = rig(1);
  const over = AbortSignal.abort(new Error("enough"));
  // At once, and one that waits for room.
  for (const text of ["a", "aaaab"]) {
    const data = bytes(text);
    await assertRejects(() => sender.send(data, { signal: over }, true), Error, "enough");
    await assertRejects(() => sender.send(data, NO_LIMIT, true, over), Error, "enough");
    await assertRejects(() => sender.send(data, { deadline: -1 }, true), RangeError);
    assertEquals([take(), sender.idle], [undefined, true]);
  }
});

Deno.test("sender: a write that ends while it waits makes way for the next", async () => {
  const { sender, take } = rig(1);
  const stop = new AbortController();
  const first = sender.send(bytes("aaaab"), { signal: stop.signal }, false);
  const second = sender.send(bytes(""), NO_LIMIT, false);
  assertEquals([await stateOf(first), await stateOf(second)], ["pending", "pending"]);
  stop.abort(new Error("enough"));
  assertEquals([await stateOf(first), await stateOf(second)], ["enough", "done"]);
  // So does one of a port that closes; nothing to send is refused then, too.
  const third = sender.send(bytes("bb"), NO_LIMIT, false);
  const fourth = sender.send(bytes(""), NO_LIMIT, false);
  sender.blocked = () => {
    throw new Error("port closed");
  };
  assertEquals([await stateOf(third), await stateOf(fourth)], ["port closed", "port closed"]);
  assertEquals([take(), sender.idle], ["aaaa", true]);
});

Deno.test("sender: an opener that closes ends its writes when they are asked again, not others'", async () => {
  const { sender, take } = rig(1);
  const opener = new AbortController();
  const mine = sender.send(bytes("aaaabbbb"), NO_LIMIT, true, opener.signal);
  const taken = sender.send(bytes("c"), NO_LIMIT, true);
  assertEquals(take(), "aaaa");
  assertEquals(await stateOf(mine), "pending");
  opener.abort(new Error("closed"));
  sender.notify();
  assertEquals([await stateOf(mine), await stateOf(taken)], ["closed", "pending"]);
  assertEquals([take(), await stateOf(taken)], ["bbbb", "pending"]);
  assertEquals([take(), await stateOf(taken)], ["c", "done"]);
  // Nor does one send the rest of a write.
  const next = new AbortController();
  const cut = sender.send(bytes("ddddeeee"), NO_LIMIT, false, next.signal);
  next.abort(new Error("closed too"));
  assertEquals([take(), await stateOf(cut)], ["dddd", "closed too"]);
  assertEquals([take(), sender.idle], [undefined, true]);
});

Deno.test("sender: a failure ends the writes that the device has; buffers come back with the next queue", async () => {
  const { dma, sender, queue, makeQueue } = rig(2);
  const first = sender.send(bytes("aaaa"), NO_LIMIT, true);
  const second = sender.send(bytes("bbbbcccc"), NO_LIMIT, false);
  assertEquals(await stateOf(second), "pending");
  sender.fail(new Error("reset"));
  assertEquals([await stateOf(first), await stateOf(second)], ["reset", "reset"]);
  assertEquals(sender.idle, false);
  queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
  const flushed = sender.flush(NO_LIMIT);
  assertEquals(await stateOf(flushed), "pending");
  const next = makeQueue();
  sender.rebind(next);
  assertEquals([sender.idle, await stateOf(flushed)], [true, "done"]);
  await sender.send(bytes("ddddeeee"), NO_LIMIT, false);
  assertEquals(next.inFlight, 2);
  sender.fail(new Error("removed"));
  sender[Symbol.dispose]();
  assertEquals([dma.mistakes, dma.live], [[], 2]);
});

Deno.test("sender: a failure between the room for a part and its use gives the room back", async () => {
  const { sender, take } = rig(2);
  const cut = sender.send(bytes("aaaabbbbcccc"), NO_LIMIT, false);
  assertEquals([await stateOf(cut), take()], ["pending", "aaaa"]);
  sender.fail(new Error("reset"));
  assertEquals([await stateOf(cut), take(), sender.idle], ["reset", "bbbb", true]);
});

Deno.test("sender: a queue that broke rejects writes with why, and keeps no buffer", async () => {
  const { dma, sender, queue } = rig();
  queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
  const write = () => sender.send(bytes("aaaab"), NO_LIMIT, false);
  await assertRejects(write, VireoError, "Cannot add to the virtqueue: it is broken");
  // Why the port ended says more.
  let asked = 0;
  sender.blocked = () => {
    if (asked++ === 0) return false;
    throw new Error("port removed");
  };
  await assertRejects(write, Error, "port removed");
  assertEquals(sender.idle, true);
  sender[Symbol.dispose]();
  assertEquals(dma.live, 1);
});

Deno.test("sender: a lack of memory rejects the write and keeps no buffer", async () => {
  const { dma, sender, take } = rig();
  const { alloc } = dma;
  dma.alloc = () => {
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  await assertRejects(() => sender.send(bytes("a"), NO_LIMIT, false), VireoError);
  assertEquals(sender.idle, true);
  dma.alloc = alloc;
  await sender.send(bytes("a"), NO_LIMIT, false);
  assertEquals(take(), "a");
});
