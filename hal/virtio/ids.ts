/**
 * Device ids of virtio, and their names (virtio 1.4 §5).
 *
 * @example
 * ```ts
 * import { DeviceId, deviceName } from "@vireo/hal/ids";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([DeviceId.RNG, deviceName(4)], [4, "rng"]);
 * ```
 *
 * @module
 */
/** Virtio device ids (virtio 1.4 §5, table "Device IDs"). */
export const DeviceId = {
  NET: 1,
  BLOCK: 2,
  CONSOLE: 3,
  RNG: 4,
  BALLOON: 5,
  RPMSG: 7,
  SCSI: 8,
  NINE_P: 9,
  RPROC_SERIAL: 11,
  CAIF: 12,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
  CRYPTO: 20,
} as const;
/** A virtio device id for which Vireo has a name. */
export type DeviceId = typeof DeviceId[keyof typeof DeviceId];

/** Matches any device or vendor in a driver's id table (`VIRTIO_DEV_ANY_ID`). */
export const ANY_ID = 0xffffffff;

const NAMES: Readonly<Record<number, string>> = {
  1: "net",
  2: "block",
  3: "console",
  4: "rng",
  5: "balloon",
  6: "io memory",
  7: "rpmsg",
  8: "scsi",
  9: "9p",
  10: "mac80211 wlan",
  11: "rproc serial",
  12: "caif",
  13: "memory balloon",
  16: "gpu",
  17: "rtc",
  18: "input",
  19: "vsock",
  20: "crypto",
  21: "signal distribution module",
  22: "pstore",
  23: "iommu",
  24: "mem",
  25: "sound",
  26: "fs",
  27: "pmem",
  28: "rpmb",
  29: "mac80211 hwsim",
  30: "video encoder",
  31: "video decoder",
  32: "scmi",
  33: "nitro secure module",
  34: "i2c",
  35: "watchdog",
  36: "can",
  38: "parameter server",
  39: "audio policy",
  40: "bluetooth",
  41: "gpio",
  42: "rdma",
  43: "camera",
  44: "ism",
  45: "spi",
  46: "tee",
  47: "cpu balloon",
  48: "media",
  49: "usb",
};

const SECTIONS: Readonly<Record<number, string>> = {
  1: "5.1",
  2: "5.2",
  3: "5.3",
  4: "5.4",
  5: "5.5",
  8: "5.6",
  16: "5.7",
  18: "5.8",
  20: "5.9",
  19: "5.10",
};

/**
 * The section of virtio 1.4 that describes a device, for example `5.2`; undefined if it is not known.
 *
 * @example
 * ```ts
 * import { DeviceId, deviceSection } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([deviceSection(DeviceId.BLOCK), deviceSection(99)], ["5.2", undefined]);
 * ```
 */
export function deviceSection(id: number): string | undefined {
  return SECTIONS[id];
}

/**
 * The short name of a device id, or `device <id>`.
 *
 * @example
 * ```ts
 * import { deviceName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([deviceName(2), deviceName(60)], ["block", "device 60"]);
 * ```
 */
export function deviceName(id: number): string {
  return NAMES[id] ?? `device ${id}`;
}
