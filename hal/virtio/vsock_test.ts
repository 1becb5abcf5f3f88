import { assertEquals } from "@std/assert";
import { VSOCK_HDR, VsockOp } from "./vsock.ts";

Deno.test("vsock: the numbers of virtio 1.4 §5.10", () => {
  const {
    dst_cid: dstCid,
    src_port: srcPort,
    len,
    type,
    op,
    flags,
    buf_alloc: bufAlloc,
    fwd_cnt: fwdCnt,
  } = VSOCK_HDR;
  assertEquals([dstCid, srcPort, len, type, op].map(({ offset }) => offset), [8, 16, 24, 28, 30]);
  assertEquals([flags.offset, bufAlloc.offset, fwdCnt.offset, VSOCK_HDR.SIZE], [32, 36, 40, 44]);
  assertEquals(Object.values(VsockOp), [0, 1, 2, 3, 4, 5, 6, 7]);
});
