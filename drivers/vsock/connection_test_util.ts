import { type VsockOp, VsockType } from "@vireo/hal";
import { VsockConnection } from "./connection.ts";

/** A connection whose device keeps which operations were sent. @param taken Settles when the device took a packet. */
export function connection(
  type: VsockType = VsockType.STREAM,
  taken: Promise<void> = Promise.resolve(),
): {
  readonly it: VsockConnection;
  /** Operations that were sent. */
  readonly ops: VsockOp[];
  /** The same with their flags and how many bytes each had. */
  readonly sent: [op: VsockOp, flags: number, length: number][];
  /** Calls that the device got: `ended`. */
  readonly calls: string[];
} {
  const ops: VsockOp[] = [];
  const sent: [VsockOp, number, number][] = [];
  const calls: string[] = [];
  const it = new VsockConnection({
    device: "virtio0",
    send: (_, op, flags, data) => {
      ops.push(op);
      sent.push([op, flags, data.length]);
      return taken;
    },
    ended: () => calls.push("ended"),
  }, { localPort: 1, peerCid: 2, peerPort: 3, type });
  return { it, ops, sent, calls };
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
