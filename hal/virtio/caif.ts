import { type Layout, layout } from "../layout.ts";

/**
 * The configuration of a CAIF device (Linux `include/linux/virtio_caif.h`: `struct virtio_caif_config`):
 * for either direction the bytes before and behind each frame, and the most bytes of a buffer, which
 * holds a frame and both.
 */
export const CAIF_CONFIG: Layout<
  | "uplink_headroom"
  | "uplink_tailroom"
  | "uplink_mtu"
  | "uplink_reserved"
  | "downlink_headroom"
  | "downlink_tailroom"
  | "downlink_mtu"
  | "downlink_reserved"
  | "reserved"
> = layout({
  uplink_headroom: "u16",
  uplink_tailroom: "u16",
  uplink_mtu: "u32",
  uplink_reserved: { bytes: 4 },
  downlink_headroom: "u16",
  downlink_tailroom: "u16",
  downlink_mtu: "u32",
  downlink_reserved: { bytes: 4 },
  reserved: { bytes: 8 },
}, 32);

/** Headroom, tailroom and MTU in bytes where a device has no configuration, as Linux has them. */
export const CAIF_DEFAULT: {
  readonly headroom: number;
  readonly tailroom: number;
  readonly mtu: number;
} = {
  headroom: 32,
  tailroom: 32,
  mtu: 4096,
};

/** The queues: frames to the modem, and the ring whose device side the driver has. */
export const CaifQueue = { TRANSMIT: 0, RECEIVE: 1 } as const;
/** A queue of a CAIF device. */
export type CaifQueue = typeof CaifQueue[keyof typeof CaifQueue];

/** Id of the shared memory region that the modem's buffers lie in. */
export const CAIF_REGION = 0;
