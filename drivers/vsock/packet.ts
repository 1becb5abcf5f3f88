import { join64, VSOCK_HDR as H } from "@vireo/hal";

/** The header of a packet. */
export interface VsockPacket {
  /** Context id of the sender. */
  readonly srcCid: number;
  /** Context id of the receiver. */
  readonly dstCid: number;
  /** The sender's port. */
  readonly srcPort: number;
  /** The receiver's port. */
  readonly dstPort: number;
  /** Bytes of data. */
  readonly len: number;
  /** A value of `VsockType`. */
  readonly type: number;
  /** A value of `VsockOp`. */
  readonly op: number;
  /** Of the operation. */
  readonly flags: number;
  /** Bytes that the sender has room for. */
  readonly bufAlloc: number;
  /** Bytes that the sender's user took, modulo 2^32. */
  readonly fwdCnt: number;
}

/** Writes a header. */
export function encodePacket(packet: VsockPacket): Uint8Array {
  const bytes = new Uint8Array(H.SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(H.src_cid.offset, packet.srcCid, true);
  view.setUint32(H.dst_cid.offset, packet.dstCid, true);
  view.setUint32(H.src_port.offset, packet.srcPort, true);
  view.setUint32(H.dst_port.offset, packet.dstPort, true);
  view.setUint32(H.len.offset, packet.len, true);
  view.setUint16(H.type.offset, packet.type, true);
  view.setUint16(H.op.offset, packet.op, true);
  view.setUint32(H.flags.offset, packet.flags, true);
  view.setUint32(H.buf_alloc.offset, packet.bufAlloc, true);
  view.setUint32(H.fwd_cnt.offset, packet.fwdCnt, true);
  return bytes;
}

/**
 * Reads a header.
 *
 * @returns Nothing if it is cut off, or an id is over 2^53.
 */
export function decodePacket(bytes: Uint8Array): VsockPacket | undefined {
  if (bytes.length < H.SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = ({ offset }: { offset: number }): number => view.getUint32(offset, true);
  const u64 = ({ offset }: { offset: number }): number =>
    join64(view.getUint32(offset, true), view.getUint32(offset + 4, true));
  try {
    return {
      srcCid: u64(H.src_cid),
      dstCid: u64(H.dst_cid),
      srcPort: u32(H.src_port),
      dstPort: u32(H.dst_port),
      len: u32(H.len),
      type: view.getUint16(H.type.offset, true),
      op: view.getUint16(H.op.offset, true),
      flags: u32(H.flags),
      bufAlloc: u32(H.buf_alloc),
      fwdCnt: u32(H.fwd_cnt),
    };
  } catch {
    return undefined;
  }
}
