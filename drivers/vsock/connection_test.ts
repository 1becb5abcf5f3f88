import { assertEquals } from "@std/assert";
import { VsockOp, VsockType } from "@vireo/hal";
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
