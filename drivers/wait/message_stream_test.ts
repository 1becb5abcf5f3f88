import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { MessageStream, type MessageStreamOptions } from "./message_stream.ts";

/** A stream of numbers, and what it called. */
function rig(options: Partial<MessageStreamOptions<number>> = {}) {
  const calls: string[] = [];
  const stream = new MessageStream<number>({
    device: "virtio0",
    what: "event",
    limit: 3,
    onTake: () => calls.push("take"),
    onEnd: () => calls.push("end"),
    ...options,
  });
  return { stream, calls };
}

async function takeAll(stream: MessageStream<number>): Promise<number[]> {
  const all: number[] = [];
  while (stream.waiting > 0) all.push(await stream.take());
  return all;
}

Deno.test("message stream: messages wait for their listener in order, and listeners for them", async () => {
  const { stream, calls } = rig();
  for (const message of [0, 1]) stream.push(message);
  assertEquals(stream.waiting, 2);
  assertEquals([await stream.take(), await stream.next()], [0, { value: 1, done: false }]);
  // What nobody waited for was taken; what somebody waits for is not kept.
  assertEquals([stream.waiting, calls], [0, ["take", "take"]]);
  const waits = [stream.take(), stream.take()];
  for (const message of [2, 3]) stream.push(message);
  assertEquals([await Promise.all(waits), stream.waiting, calls.length], [[2, 3], 0, 2]);
  assertEquals(stream[Symbol.asyncIterator](), stream);
});

Deno.test("message stream: a listener that is too far behind loses all of it, and is told", async () => {
  for (const [missed, expected] of [[undefined, [4]], [[-1], [-1, 4]]] as const) {
    const { stream } = rig({ ...missed && { missed } });
    for (const message of [1, 2, 3]) stream.push(message);
    assertEquals(stream.waiting, 3);
    stream.push(4);
    assertEquals(await takeAll(stream), [...expected]);
  }
});

Deno.test("message stream: after a failure what is there is taken, and then the failure; the first one counts", async () => {
  const { stream, calls } = rig();
  const waiting = assertRejects(() => stream.take(), Error, "gone");
  stream.fail(new Error("gone"));
  stream.fail(new Error("gone twice"));
  await waiting;
  stream.push(1);
  assertEquals(await stream.take(), 1);
  for (const call of [() => stream.take(), () => stream.next()]) {
    await assertRejects(call, Error, "gone");
  }
  assertEquals(calls, ["take"]);
});

Deno.test("message stream: its end ends those that wait and those to come, and is told once", async () => {
  for (const way of ["return", "dispose"] as const) {
    const { stream, calls } = rig();
    const over = { value: undefined, done: true } as const;
    const [next, taken] = [stream.next(), assertRejects(() => stream.take(), VireoError)];
    if (way === "return") assertEquals(await stream.return(), over);
    else stream[Symbol.dispose]();
    stream[Symbol.dispose]();
    assertEquals([await next, await stream.next(), calls], [over, over, ["end"]]);
    assertEquals((await taken).message, "No more event: nobody listens (virtio0)");
    assertEquals((await assertRejects(() => stream.take(), VireoError)).code, "PORT_CLOSED");
  }
  // What was not taken is forgotten.
  const { stream } = rig();
  stream.push(1);
  stream[Symbol.dispose]();
  assertEquals([stream.waiting, (await stream.next()).done], [0, true]);
});

Deno.test("message stream: a wait ends with its own signal or deadline, or the stream's, and leaves no place", async () => {
  const stop = new AbortController();
  const { stream } = rig({ signal: stop.signal });
  const message = "Timed out after 1 ms waiting for the next event (virtio0)";
  await assertRejects(() => stream.take({ deadline: 1 }), VireoError, message);
  const own = new AbortController();
  const aborted = assertRejects(() => stream.take({ signal: own.signal }), Error, "enough");
  const kept = stream.take();
  own.abort(new Error("enough"));
  await aborted;
  stream.push(5);
  assertEquals(await kept, 5);
  // The stream's signal is that of its iteration.
  const next = assertRejects(() => stream.next(), Error, "over");
  stop.abort(new Error("over"));
  await next;
  await assertRejects(() => stream.next(), Error, "over");
  stream.push(6);
  assertEquals(await stream.take(), 6);
});

Deno.test("message stream: before a wait gives up it looks once more, and says what it saw", async () => {
  let found: number | undefined = 7;
  const { stream } = rig({
    last: {
      look: () => found !== undefined && stream.push(found),
      details: () => ({ queue: 2 }),
    },
  });
  assertEquals(await stream.take({ deadline: 1 }), 7);
  found = undefined;
  const error = await assertRejects(() => stream.take({ deadline: 1 }), VireoError);
  assertEquals([error.code, error.device, error.queue], ["TIMEOUT", "virtio0", 2]);
});
