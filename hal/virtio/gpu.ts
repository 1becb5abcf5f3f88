import { type Layout, layout } from "../layout.ts";

/** Feature bits of the GPU (virtio 1.4 §5.7.3). */
export const GpuFeature = {
  VIRGL: 0,
  EDID: 1,
  RESOURCE_UUID: 2,
  RESOURCE_BLOB: 3,
  CONTEXT_INIT: 4,
  BLOB_ALIGNMENT: 5,
} as const;
/** A feature bit of the GPU. */
export type GpuFeature = typeof GpuFeature[keyof typeof GpuFeature];

/** `struct virtio_gpu_config` (virtio 1.4 §5.7.4). */
export const GPU_CONFIG: Layout<
  "events_read" | "events_clear" | "num_scanouts" | "num_capsets" | "blob_alignment"
> = layout({
  events_read: "u32",
  events_clear: "u32",
  num_scanouts: "u32",
  num_capsets: "u32",
  blob_alignment: "u32",
}, 20);
/** `events_read`: displays changed. */
export const GPU_EVENT_DISPLAY = 1;

/** `struct virtio_gpu_ctrl_hdr` (virtio 1.4 §5.7.6.7). */
export const GPU_HDR: Layout<"type" | "flags" | "fence_id" | "ctx_id" | "ring_idx" | "padding"> =
  layout(
    {
      type: "u32",
      flags: "u32",
      fence_id: "u64",
      ctx_id: "u32",
      ring_idx: "u8",
      padding: { bytes: 3 },
    },
    24,
  );
/** `flags`: the device answers only when the request is complete, with the fence's id. */
export const GPU_FLAG_FENCE = 1;

/** Types of requests and answers. */
export const GpuCommand = {
  GET_DISPLAY_INFO: 0x0100,
  RESOURCE_CREATE_2D: 0x0101,
  RESOURCE_UNREF: 0x0102,
  SET_SCANOUT: 0x0103,
  RESOURCE_FLUSH: 0x0104,
  TRANSFER_TO_HOST_2D: 0x0105,
  RESOURCE_ATTACH_BACKING: 0x0106,
  RESOURCE_DETACH_BACKING: 0x0107,
  GET_EDID: 0x010a,
  RESOURCE_ASSIGN_UUID: 0x010b,
  RESOURCE_CREATE_BLOB: 0x010c,
  SET_SCANOUT_BLOB: 0x010d,
  UPDATE_CURSOR: 0x0300,
  MOVE_CURSOR: 0x0301,
} as const;
/** A type of requests. */
export type GpuCommand = typeof GpuCommand[keyof typeof GpuCommand];

/** Types of answers. */
export const GpuResponse = {
  OK_NODATA: 0x1100,
  OK_DISPLAY_INFO: 0x1101,
  OK_EDID: 0x1104,
  OK_RESOURCE_UUID: 0x1105,
  ERR_UNSPEC: 0x1200,
  ERR_OUT_OF_MEMORY: 0x1201,
  ERR_INVALID_SCANOUT_ID: 0x1202,
  ERR_INVALID_RESOURCE_ID: 0x1203,
  ERR_INVALID_CONTEXT_ID: 0x1204,
  ERR_INVALID_PARAMETER: 0x1205,
} as const;
/** A type of answers. */
export type GpuResponse = typeof GpuResponse[keyof typeof GpuResponse];

/** Pixel formats: the order of bytes in memory. */
export const GpuFormat = {
  B8G8R8A8: 1,
  B8G8R8X8: 2,
  A8R8G8B8: 3,
  X8R8G8B8: 4,
  R8G8B8A8: 67,
  X8B8G8R8: 68,
  A8B8G8R8: 121,
  R8G8B8X8: 134,
} as const;
/** A pixel format. */
export type GpuFormat = typeof GpuFormat[keyof typeof GpuFormat];

/** Positions of red, green, blue and alpha in the four bytes of a pixel; -1 for a format without alpha. */
export const GPU_CHANNELS: Readonly<Record<number, readonly [number, number, number, number]>> = {
  [GpuFormat.B8G8R8A8]: [2, 1, 0, 3],
  [GpuFormat.B8G8R8X8]: [2, 1, 0, -1],
  [GpuFormat.A8R8G8B8]: [1, 2, 3, 0],
  [GpuFormat.X8R8G8B8]: [1, 2, 3, -1],
  [GpuFormat.R8G8B8A8]: [0, 1, 2, 3],
  [GpuFormat.X8B8G8R8]: [3, 2, 1, -1],
  [GpuFormat.A8B8G8R8]: [3, 2, 1, 0],
  [GpuFormat.R8G8B8X8]: [0, 1, 2, -1],
};

/** Number of displays in an answer. */
export const GPU_MAX_SCANOUTS = 16;
/** Bytes for each display in an answer: a rectangle, whether it is on, flags. */
export const GPU_DISPLAY_SIZE = 24;
/** Bytes of an EDID answer after the header: size, padding, blob. */
export const GPU_EDID_SIZE = 1032;
/** Bytes of a resource's UUID. */
export const GPU_UUID_SIZE = 16;
/** `blob_mem` of RESOURCE_CREATE_BLOB: memory of the guest. */
export const GPU_BLOB_GUEST = 1;
/** Queues of the GPU. */
export const GpuQueue = { CONTROL: 0, CURSOR: 1 } as const;
/** A queue of the GPU. */
export type GpuQueue = typeof GpuQueue[keyof typeof GpuQueue];
/** Width and height of a cursor's image. */
export const GPU_CURSOR_SIZE = 64;
