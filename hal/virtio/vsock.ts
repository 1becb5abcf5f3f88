import { type Layout, layout } from "../layout.ts";

/** Feature bits of the socket device (virtio 1.4 §5.10.3). */
export const VsockFeature = { STREAM: 0, SEQPACKET: 1, NO_IMPLIED_STREAM: 2 } as const;
/** A feature bit of the socket device. */
export type VsockFeature = typeof VsockFeature[keyof typeof VsockFeature];

/** `struct virtio_vsock_config` (virtio 1.4 §5.10.4). */
export const VSOCK_CONFIG: Layout<"guest_cid"> = layout({ guest_cid: "u64" }, 8);

/** `struct virtio_vsock_hdr` (virtio 1.4 §5.10.6). */
export const VSOCK_HDR: Layout<
  | "src_cid"
  | "dst_cid"
  | "src_port"
  | "dst_port"
  | "len"
  | "type"
  | "op"
  | "flags"
  | "buf_alloc"
  | "fwd_cnt"
> = layout({
  src_cid: "u64",
  dst_cid: "u64",
  src_port: "u32",
  dst_port: "u32",
  len: "u32",
  type: "u16",
  op: "u16",
  flags: "u32",
  buf_alloc: "u32",
  fwd_cnt: "u32",
}, 44);

/** `struct virtio_vsock_event`: an id. */
export const VSOCK_EVENT_SIZE = 4;
/** The event that all connections are gone. */
export const VSOCK_TRANSPORT_RESET = 0;

/** Operations of packets (virtio 1.4 §5.10.6). */
export const VsockOp = {
  INVALID: 0,
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;
/** An operation of packets. */
export type VsockOp = typeof VsockOp[keyof typeof VsockOp];

/** Types of sockets. */
export const VsockType = { STREAM: 1, SEQPACKET: 2 } as const;
/** A type of sockets. */
export type VsockType = typeof VsockType[keyof typeof VsockType];

/** Flags of SHUTDOWN: what the sender has stopped doing. */
export const VsockShutdown = { RECEIVE: 1, SEND: 2 } as const;
/** A flag of SHUTDOWN. */
export type VsockShutdown = typeof VsockShutdown[keyof typeof VsockShutdown];

/** Flags of RW: the end of a message, the end of a record. */
export const VsockRw = { EOM: 1, EOR: 2 } as const;
/** A flag of RW. */
export type VsockRw = typeof VsockRw[keyof typeof VsockRw];

/**
 * A message of sequenced packets that ends a record (EOR, virtio 1.4 §5.10.6): records are the sender's, and
 * may have any number of messages. What is sent as one arrives as one; other messages are plain bytes.
 *
 * @example
 * ```ts
 * import { VsockRecord } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const last: Uint8Array = new VsockRecord([1, 2, 3]);
 * assertEquals([last instanceof VsockRecord, last.length], [true, 3]);
 * ```
 */
export class VsockRecord extends Uint8Array<ArrayBuffer> {
  /** Parts of a record's end are plain bytes. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array;
  }

  /** Copies bytes. */
  constructor(bytes: ArrayLike<number>) {
    super(new ArrayBuffer(bytes.length));
    this.set(bytes);
  }
}

/** The host's context id. */
export const VSOCK_HOST_CID = 2;
/** Queues of the socket device. */
export const VsockQueue = { RECEIVE: 0, TRANSMIT: 1, EVENT: 2 } as const;
/** A queue of the socket device. */
export type VsockQueue = typeof VsockQueue[keyof typeof VsockQueue];
