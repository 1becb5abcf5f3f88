import {
  VSOCK_EVENT_SIZE,
  VSOCK_HDR,
  VSOCK_TRANSPORT_RESET,
  VsockOp,
  VsockQueue,
  VsockRw,
  VsockShutdown,
  VsockType,
} from "@vireo/hal";
import { bitsOf, bytesText, nameOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

const EVENTS = { TRANSPORT_RESET: VSOCK_TRANSPORT_RESET };

/** Words of the socket device (virtio 1.4 §5.10.6). */
export const VSOCK_WORDS: DeviceWords = {
  request: ({ queue }, view) => queue === VsockQueue.TRANSMIT ? packet(view) : undefined,
  answer: ({ queue, request }, view) => {
    if (queue === VsockQueue.RECEIVE) return packet(view);
    if (queue !== VsockQueue.EVENT) return request && `${request}: sent`;
    if (view.byteLength < VSOCK_EVENT_SIZE) return undefined;
    return `vsock event ${nameOf(EVENTS, view.getUint32(0, true))}`;
  },
};

function packet(view: DataView): string | undefined {
  if (view.byteLength < VSOCK_HDR.SIZE) return undefined;
  const u32 = (at: number): number => view.getUint32(at, true);
  const cid = (at: number): number | bigint =>
    u32(at + 4) === 0 ? u32(at) : view.getBigUint64(at, true);
  const op = view.getUint16(VSOCK_HDR.op.offset, true);
  const type = view.getUint16(VSOCK_HDR.type.offset, true);
  const source = `${cid(VSOCK_HDR.src_cid.offset)}:${u32(VSOCK_HDR.src_port.offset)}`;
  const target = `${cid(VSOCK_HDR.dst_cid.offset)}:${u32(VSOCK_HDR.dst_port.offset)}`;
  // A stream is the common case.
  const socket = type === VsockType.STREAM ? "" : ` ${nameOf(VsockType, type)}`;
  const text = `vsock ${nameOf(VsockOp, op)}${socket} ${source} > ${target} ${
    bytesText(u32(VSOCK_HDR.len.offset))
  }`;
  const flags = u32(VSOCK_HDR.flags.offset);
  if (flags === 0) return text;
  return `${text} ${bitsOf(op === VsockOp.SHUTDOWN ? VsockShutdown : VsockRw, flags)}`;
}
