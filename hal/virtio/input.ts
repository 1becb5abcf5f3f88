import { type Layout, layout } from "../layout.ts";

/** `struct virtio_input_config` (virtio 1.4 §5.8.4): `data` holds what was selected. */
export const INPUT_CONFIG: Layout<"select" | "subsel" | "size" | "reserved" | "u"> = layout({
  select: "u8",
  subsel: "u8",
  size: "u8",
  reserved: { bytes: 5 },
  u: { bytes: 128 },
}, 136);

/** Values of `select` (virtio 1.4 §5.8.4). */
export const InputSelect = {
  UNSET: 0,
  NAME: 1,
  SERIAL: 2,
  DEVICE_IDS: 3,
  /** A bitmap of properties. */
  PROPERTIES: 0x10,
  /** A bitmap of the codes of the event type in `subsel`. */
  EVENTS: 0x11,
  /** The range of the axis in `subsel`. */
  ABS_INFO: 0x12,
} as const;
/** A value of `select`. */
export type InputSelect = typeof InputSelect[keyof typeof InputSelect];

/** `struct virtio_input_absinfo`. */
export const INPUT_ABS_INFO: Layout<"min" | "max" | "fuzz" | "flat" | "res"> = layout({
  min: "u32",
  max: "u32",
  fuzz: "u32",
  flat: "u32",
  res: "u32",
}, 20);

/** `struct virtio_input_devids`. */
export const INPUT_DEVICE_IDS: Layout<"bustype" | "vendor" | "product" | "version"> = layout({
  bustype: "u16",
  vendor: "u16",
  product: "u16",
  version: "u16",
}, 8);

/** `struct virtio_input_event` (virtio 1.4 §5.8.6); `value` is signed. */
export const INPUT_EVENT: Layout<"type" | "code" | "value"> = layout({
  type: "u16",
  code: "u16",
  value: "u32",
}, 8);

/** Queues of the input device (virtio 1.4 §5.8.2). */
export const InputQueue = { EVENT: 0, STATUS: 1 } as const;
/** A queue of the input device. */
export type InputQueue = typeof InputQueue[keyof typeof InputQueue];

/** Event types, as evdev has them (Linux `input-event-codes.h`). */
export const InputType = {
  SYN: 0x00,
  KEY: 0x01,
  REL: 0x02,
  ABS: 0x03,
  MSC: 0x04,
  SW: 0x05,
  LED: 0x11,
  SND: 0x12,
  REP: 0x14,
} as const;
/** An event type. */
export type InputType = typeof InputType[keyof typeof InputType];

/** Codes of SYN events: the end of a packet, and that events were lost. */
export const InputSyn = { REPORT: 0, DROPPED: 3 } as const;
/** A code of SYN events. */
export type InputSyn = typeof InputSyn[keyof typeof InputSyn];
