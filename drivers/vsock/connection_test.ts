import { assertEquals } from "@std/assert";
import { VsockOp } from "@vireo/hal";
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
