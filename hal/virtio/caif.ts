import { type Layout, layout } from "../layout.ts";

/**
 * The configuration of a CAIF device (Linux `include/linux/virtio_caif.h`: `struct virtio_caif_config`):
 * for each direction the bytes before and after each frame, and the largest buffer in bytes, which holds
 * a frame with both.
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

/** Headroom, tailroom and MTU in bytes of a device without configuration, as in Linux. */
export const CAIF_DEFAULT: {
  readonly headroom: number;
  readonly tailroom: number;
  readonly mtu: number;
} = {
  headroom: 32,
  tailroom: 32,
  mtu: 4096,
};

/** The queues: frames to the modem, and the ring on which the driver plays the device. */
export const CaifQueue = { TRANSMIT: 0, RECEIVE: 1 } as const;
/** A queue of a CAIF device. */
export type CaifQueue = typeof CaifQueue[keyof typeof CaifQueue];

/** Id of the shared memory region that the modem's buffers lie in. */
export const CAIF_REGION = 0;
