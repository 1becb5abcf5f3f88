import { assertEquals } from "@std/assert";
import { VsockOp, VsockType } from "@vireo/hal";
import { VsockConnection } from "./connection.ts";

/** A connection whose device keeps which operations were sent. */
function connection(): { readonly it: VsockConnection; readonly ops: VsockOp[] } {
  const ops: VsockOp[] = [];
  const it = new VsockConnection({
    device: "virtio0",
    send: (_, op) => {
      ops.push(op);
      return Promise.resolve();
    },
    ended: () => {},
    took: () => {},
  }, { localPort: 1, peerCid: 2, peerPort: 3, type: VsockType.STREAM });
  it.open();
  return { it, ops };
}

const data = (len: number) => ({
  srcCid: 2,
  dstCid: 42,
  srcPort: 3,
  dstPort: 1,
  len,
  type: VsockType.STREAM,
  op: VsockOp.RW,
  flags: 0,
  bufAlloc: 1 << 18,
  fwdCnt: 0,
});

Deno.test("vsock: bytes count as taken when a reader takes them, not before", async () => {
  const { it } = connection();
  const reader = it.readable.getReader();
  const first = reader.read();
  await new Promise((resolve) => setTimeout(resolve));
  it.handle(data(10), new Uint8Array(10).fill(1));
  assertEquals([(await first).value!.length, it.fwdCnt], [10, 10]);
  // The reader that waited has its bytes: what comes now stays until the next one asks.
  for (let i = 0; i < 3; i++) it.handle(data(5), new Uint8Array(5).fill(2));
  assertEquals(it.fwdCnt, 10);
  assertEquals([(await reader.read()).value!.length, it.fwdCnt], [15, 25]);
  it.reset();
});
