import { type VsockOp, VsockType } from "@vireo/hal";
import { VsockConnection } from "./connection.ts";

/** A connection whose device keeps which operations were sent. @param taken Settles when the device took a packet. */
export function connection(
  type: VsockType = VsockType.STREAM,
  taken: Promise<void> = Promise.resolve(),
): { readonly it: VsockConnection; readonly ops: VsockOp[] } {
  const ops: VsockOp[] = [];
  const it = new VsockConnection({
    device: "virtio0",
    send: (_, op) => {
      ops.push(op);
      return taken;
    },
    ended: () => {},
    took: () => {},
  }, { localPort: 1, peerCid: 2, peerPort: 3, type });
  it.open();
  return { it, ops };
}

/** The header of a packet from its peer. */
export function packet(
  op: VsockOp,
  len: number,
  flags = 0,
): Parameters<VsockConnection["handle"]>[0] {
  return {
    srcCid: 2,
    dstCid: 42,
    srcPort: 3,
    dstPort: 1,
    len,
    type: VsockType.STREAM,
    op,
    flags,
    bufAlloc: 1 << 18,
    fwdCnt: 0,
  };
}
