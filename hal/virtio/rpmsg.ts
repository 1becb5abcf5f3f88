import { type Layout, layout } from "../layout.ts";

/** Feature bits of rpmsg devices (Linux `virtio_rpmsg_bus.c`; the specification has none). */
export const RpmsgFeature = { NS: 0 } as const;
/** A feature bit of rpmsg devices. */
export type RpmsgFeature = typeof RpmsgFeature[keyof typeof RpmsgFeature];

/** `struct rpmsg_hdr` (Linux `virtio_rpmsg_bus.c`). */
export const RPMSG_HDR: Layout<"src" | "dst" | "reserved" | "len" | "flags"> = layout({
  src: "u32",
  dst: "u32",
  reserved: "u32",
  len: "u16",
  flags: "u16",
}, 16);

/** `struct rpmsg_ns_msg` (Linux `include/linux/rpmsg/ns.h`). */
export const RPMSG_NS: Layout<"name" | "addr" | "flags"> = layout({
  name: { bytes: 32 },
  addr: "u32",
  flags: "u32",
}, 40);

/** Values of `flags` of a name service message. */
export const RpmsgNs = { CREATE: 0, DESTROY: 1 } as const;
/** A value of `flags` of a name service message. */
export type RpmsgNs = typeof RpmsgNs[keyof typeof RpmsgNs];

/** Bytes of a buffer, header included. */
export const RPMSG_BUFFER_SIZE = 512;
/** Most bytes of a message. */
export const RPMSG_MTU = 496;
/** Most buffers of both directions together. */
export const RPMSG_MAX_BUFFERS = 512;
/** The name service's address. */
export const RPMSG_NS_ADDRESS = 53;
/** The first dynamic address; those below are fixed. */
export const RPMSG_FIRST_DYNAMIC = 1024;
/** The value that stands for "no address"; it is never sent. */
export const RPMSG_ANY = 0xffffffff;
/** Queues, from the driver's view. */
export const RpmsgQueue = { RECEIVE: 0, TRANSMIT: 1 } as const;
/** A queue, from the driver's view. */
export type RpmsgQueue = typeof RpmsgQueue[keyof typeof RpmsgQueue];
