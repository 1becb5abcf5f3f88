import { assertEquals, assertRejects } from "@std/assert";
import { VireoError, VsockOp, VsockRecord, VsockType } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { connection, packet } from "./connection_test_util.ts";

Deno.test("vsock: bytes count as taken when a reader takes them, not before", async () => {
  const { it } = connection();
  const reader = it.readable.getReader();
  const first = reader.read();
  await new Promise((resolve) => setTimeout(resolve));
  it.handle(packet(VsockOp.RW, 10), new Uint8Array(10).fill(1));
  assertEquals([(await first).value!.length, it.fwdCnt], [10, 10]);
  // The reader that waited has its bytes: what comes now stays until the next one asks.
  for (let i = 0; i < 3; i++) it.handle(packet(VsockOp.RW, 5), new Uint8Array(5).fill(2));
  assertEquals(it.fwdCnt, 10);
  assertEquals([(await reader.read()).value!.length, it.fwdCnt], [15, 25]);
  it.reset();
});

Deno.test("vsock: the device has all packets of a write at once, as far as the peer has room", async () => {
  const taken = Promise.withResolvers<void>();
  const { it, ops } = connection(VsockType.STREAM, taken.promise);
  it.handle({ ...packet(VsockOp.CREDIT_UPDATE, 0), bufAlloc: 40_000 }, new Uint8Array(0));
  const writer = it.writable.getWriter();
  let done = false;
  const write = writer.write(new Uint8Array(40_000)).then(() => void (done = true));
  await new Promise((resolve) => setTimeout(resolve));
  // 16 KiB at a time.
  assertEquals([ops, done], [[VsockOp.RW, VsockOp.RW, VsockOp.RW], false]);
  taken.resolve();
  await write;
  it.reset();
});

const NONE = new Uint8Array(0);
const RECEIVE = 1;
const SEND = 2;

Deno.test("vsock connection: each operation of the peer has its answer and its end", async () => {
  const cases = [
    [VsockOp.RESPONSE, 0, [], undefined],
    [VsockOp.CREDIT_UPDATE, 0, [], undefined],
    [VsockOp.CREDIT_REQUEST, 0, [VsockOp.CREDIT_UPDATE], undefined],
    [VsockOp.SHUTDOWN, 0, [], undefined],
    [VsockOp.SHUTDOWN, RECEIVE, [], undefined],
    [VsockOp.SHUTDOWN, SEND, [], undefined],
    [VsockOp.SHUTDOWN, RECEIVE | SEND, [VsockOp.RST], "in order"],
    [VsockOp.RST, 0, [], "IO_ERROR"],
    [VsockOp.REQUEST, 0, [VsockOp.RST], "BAD_STATUS"],
    [9, 0, [VsockOp.RST], "BAD_STATUS"],
  ] as const;
  for (const [op, flags, answers, end] of cases) {
    const { it, ops, calls } = connection();
    it.handle(packet(op as VsockOp, 0, flags), NONE);
    assertEquals([ops, it.ended, calls], [[...answers], end !== undefined, end ? ["ended"] : []]);
    if (end === "in order") await it.closed;
    else if (end !== undefined) {
      assertEquals((await assertRejects(() => it.closed, VireoError)).code, end);
    }
    it.reset();
    it.reset();
    assertEquals([it.ended, calls], [true, ["ended"]]);
  }
});

Deno.test("vsock connection: a reset of the peer is in order once both sides have said all", async () => {
  for (const [ours, theirs] of [[true, 0], [false, RECEIVE | SEND], [false, SEND]] as const) {
    const { it } = connection();
    const closing = ours ? it.close() : undefined;
    if (theirs !== 0) it.handle(packet(VsockOp.SHUTDOWN, 0, theirs), NONE);
    it.handle(packet(VsockOp.RST, 0), NONE);
    if (ours || theirs === (RECEIVE | SEND)) await it.closed;
    else await assertRejects(() => it.closed, VireoError, "Peer reset the connection");
    await closing;
  }
});

Deno.test("vsock connection: what came before its end is read, and then the end or why it failed", async () => {
  for (const failed of [false, true]) {
    const { it } = connection();
    it.handle(packet(VsockOp.RW, 3), Uint8Array.of(1, 2, 3));
    if (failed) it.end(new Error("unplugged"));
    else it.handle(packet(VsockOp.SHUTDOWN, 0, SEND), NONE);
    const reader = it.readable.getReader();
    assertEquals([...(await reader.read()).value!], [1, 2, 3]);
    if (failed) await assertRejects(() => reader.read(), Error, "unplugged");
    else assertEquals((await reader.read()).done, true);
    it.reset();
  }
  // A reader that waits hears of it at once.
  for (const failed of [false, true]) {
    const { it } = connection();
    const read = it.readable.getReader().read();
    await turn();
    it.end(failed ? new Error("unplugged") : undefined);
    if (failed) await assertRejects(() => read, Error, "unplugged");
    else assertEquals((await read).done, true);
    await assertRejects(() => it.writable.getWriter().write(NONE), Error);
  }
});

Deno.test("vsock connection: the peer hears of room when a quarter of it is free again, while it is there", async () => {
  const { it, ops, calls } = connection();
  const reader = it.readable.getReader();
  const take = async (length: number): Promise<void> => {
    for (let at = 0; at < length; at += 1 << 16) {
      const part = Math.min(1 << 16, length - at);
      it.handle(packet(VsockOp.RW, part), new Uint8Array(part));
    }
    for (let left = length; left > 0;) left -= (await reader.read()).value!.length;
  };
  const updates = () => ops.filter((op) => op === VsockOp.CREDIT_UPDATE).length;
  let taken = 0;
  while (updates() === 0) await take((taken += 1024, 1024));
  assertEquals([taken, calls], [it.bufAlloc / 4, []]);
  // A header of its own tells as much.
  assertEquals(it.fwdCnt, taken);
  await take(1024);
  assertEquals(updates(), 1);
  // Nobody is told after the end.
  it.handle(packet(VsockOp.RW, 1 << 16), new Uint8Array(1 << 16));
  it.handle(packet(VsockOp.RW, 1 << 16), new Uint8Array(1 << 16));
  it.end(undefined);
  await reader.read();
  assertEquals(updates(), 1);
});

Deno.test("vsock connection: bytes over the room are lost, as on Linux", async () => {
  const { it } = connection();
  const { bufAlloc } = it;
  it.handle(packet(VsockOp.RW, bufAlloc - 1), new Uint8Array(bufAlloc - 1));
  it.handle(packet(VsockOp.RW, 2), new Uint8Array(2));
  it.handle(packet(VsockOp.RW, 1), Uint8Array.of(7));
  it.handle(packet(VsockOp.RW, 1), new Uint8Array(1));
  const { value } = await it.readable.getReader().read();
  assertEquals([value!.length, value!.at(-1)], [bufAlloc, 7]);
  it.reset();
});

Deno.test("vsock connection: messages are whole, and say whether they end a record", async () => {
  const { it, sent } = connection(VsockType.SEQPACKET);
  const EOM = 1;
  const EOR = 2;
  it.handle(packet(VsockOp.RW, 1, 0), Uint8Array.of(1));
  it.handle(packet(VsockOp.RW, 1, EOM), Uint8Array.of(2));
  it.handle(packet(VsockOp.RW, 0, EOM | EOR), NONE);
  const reader = it.readable.getReader();
  const [first, second] = [(await reader.read()).value!, (await reader.read()).value!];
  assertEquals([[...first], first instanceof VsockRecord], [[1, 2], false]);
  assertEquals([second.length, second instanceof VsockRecord], [0, true]);
  const writer = it.writable.getWriter();
  it.handle({ ...packet(VsockOp.CREDIT_UPDATE, 0), bufAlloc: 1 << 18 }, NONE);
  await writer.write(NONE);
  await writer.write(new VsockRecord(new Uint8Array(16_385)));
  assertEquals(sent, [
    [VsockOp.RW, EOM, 0],
    [VsockOp.RW, 0, 16_384],
    [VsockOp.RW, EOM | EOR, 1],
  ]);
  await assertRejects(() => writer.write(new Uint8Array(it.bufAlloc + 1)), RangeError);
  it.reset();
});

Deno.test("vsock connection: a write has the room that the peer has, and asks for more", async () => {
  const { it, sent } = connection();
  const writer = it.writable.getWriter();
  const credit = (bufAlloc: number, fwdCnt: number) =>
    it.handle({ ...packet(VsockOp.CREDIT_UPDATE, 0), bufAlloc, fwdCnt }, NONE);
  credit(10, 0);
  const written = writer.write(new Uint8Array(25));
  await turn();
  assertEquals(sent, [[VsockOp.RW, 0, 10], [VsockOp.CREDIT_REQUEST, 0, 0]]);
  sent.length = 0;
  credit(10, 9);
  await turn();
  assertEquals(sent, [[VsockOp.RW, 0, 9], [VsockOp.CREDIT_REQUEST, 0, 0]]);
  sent.length = 0;
  credit(10, 19);
  await written;
  assertEquals(sent, [[VsockOp.RW, 0, 6]]);
  // A peer that takes nothing any more ends it.
  const refused = assertRejects(
    () => writer.write(new Uint8Array(25)),
    VireoError,
    "takes nothing",
  );
  await turn();
  it.handle({ ...packet(VsockOp.SHUTDOWN, 0, RECEIVE), bufAlloc: 10, fwdCnt: 19 }, NONE);
  await refused;
  it.reset();
});

Deno.test("vsock connection: each side is shut once, by the stream that ends", async () => {
  const { it, sent } = connection();
  await it.readable.cancel();
  assertEquals(sent, [[VsockOp.SHUTDOWN, RECEIVE, 0]]);
  await it.writable.close();
  assertEquals(sent.slice(1), [[VsockOp.SHUTDOWN, RECEIVE | SEND, 0]]);
  // A close has nothing left to say, and waits for the peer.
  const closed = it.close();
  await turn();
  assertEquals([sent.length, it.ended], [2, false]);
  it.handle(packet(VsockOp.RST, 0), NONE);
  await closed;
  await it.close();
  assertEquals(sent.length, 2);
});

Deno.test("vsock connection: a peer that does not end is reset when the close's time is over", async () => {
  const { it, ops } = connection();
  await it.close({ deadline: 1 });
  assertEquals([ops, it.ended], [[VsockOp.SHUTDOWN, VsockOp.RST], true]);
  const stopped = connection();
  const stop = new AbortController();
  const closing = assertRejects(() => stopped.it.close({ signal: stop.signal }), Error, "enough");
  stop.abort(new Error("enough"));
  await closing;
  assertEquals(stopped.ops, [VsockOp.SHUTDOWN, VsockOp.RST]);
  await assertRejects(() => stopped.it.closed, Error, "enough");
});

Deno.test("vsock connection: a close waits for its packet only if the peer said nothing in time", async () => {
  const taken = Promise.withResolvers<void>();
  const answered = connection(VsockType.STREAM, taken.promise);
  const closing = answered.it.close();
  answered.it.handle(packet(VsockOp.RST, 0), NONE);
  await closing;
  const silent = connection(VsockType.STREAM, taken.promise);
  let over = false;
  const late = silent.it.close({ deadline: 1 }).then(() => void (over = true));
  await silent.it.closed;
  await turn();
  assertEquals([silent.ops, over], [[VsockOp.SHUTDOWN, VsockOp.RST], false]);
  taken.resolve();
  await late;
});

Deno.test("vsock connection: a device that does not take the end of a connection fails nothing else", async () => {
  const { it } = connection(VsockType.STREAM, Promise.reject(new Error("queue is broken")));
  const closing = assertRejects(() => it.close(), Error, "unplugged");
  await turn();
  it.end(new Error("unplugged"));
  await closing;
});

Deno.test("vsock connection: its end ends a write that waits for room, and a connect", async () => {
  const { it } = connection();
  const writing = assertRejects(
    () => it.writable.getWriter().write(new Uint8Array(1)),
    Error,
    "unplugged",
  );
  await turn();
  it.end(new Error("unplugged"));
  await writing;
  const opening = connection();
  const call = { signal: undefined, deadline: undefined, until: Infinity };
  const refused = assertRejects(() => opening.it.connect(call), VireoError, "Nobody listens there");
  await turn();
  opening.it.handle(packet(VsockOp.SHUTDOWN, 0, RECEIVE | SEND), NONE);
  assertEquals((await refused).code, "COMMAND_REFUSED");
});

Deno.test("vsock connection: 16384 messages may wait, empty or not, and one more ends it", async () => {
  const { it, ops } = connection(VsockType.SEQPACKET);
  const message = packet(VsockOp.RW, 0, 1);
  for (let i = 0; i < 1 << 14; i++) it.handle(message, NONE);
  assertEquals([it.ended, ops], [false, []]);
  it.handle(message, NONE);
  assertEquals([it.ended, ops], [true, [VsockOp.RST]]);
  await assertRejects(() => it.closed, VireoError, "Peer sent over 16384 messages ahead");
});

Deno.test("vsock connection: a message may have just the bytes that there is room for", async () => {
  const { it, sent } = connection(VsockType.SEQPACKET);
  it.handle({ ...packet(VsockOp.CREDIT_UPDATE, 0), bufAlloc: 1 << 18 }, NONE);
  await it.writable.getWriter().write(new Uint8Array(1 << 18));
  assertEquals(sent.reduce((sum, [, , length]) => sum + length, 0), 1 << 18);
  assertEquals(sent.map(([, flags]) => flags), [...Array<number>(15).fill(0), 1]);
  it.reset();
});
