/** Value of MagicValue: "virt" in little-endian (virtio 1.4 §4.2.2). */
export const MMIO_MAGIC = 0x74726976;

/** Register offsets of virtio-mmio; version 2 except where marked (virtio 1.4 §4.2.2, §4.2.4). */
export const MmioRegister = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  /** Version 1 only. */
  GuestPageSize: 0x028,
  QueueSel: 0x030,
  QueueSizeMax: 0x034,
  QueueSize: 0x038,
  /** Version 1 only. */
  QueueAlign: 0x03c,
  /** Version 1 only. */
  QueuePFN: 0x040,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;
/** A register offset of virtio-mmio. */
export type MmioRegister = typeof MmioRegister[keyof typeof MmioRegister];

/**
 * The spec's name of a register offset; `Config+<n>` from 0x100 up.
 *
 * @example
 * ```ts
 * import { mmioRegisterName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([mmioRegisterName(0x70), mmioRegisterName(0x104)], ["Status", "Config+4"]);
 * ```
 */
export function mmioRegisterName(offset: number): string {
  if (offset >= MmioRegister.Config) return `Config+${offset - MmioRegister.Config}`;
  return REGISTER_NAMES[offset] ?? `0x${offset.toString(16).padStart(3, "0")}`;
}

/** The names by offset: a trace names the register of every access. The first name of an offset stays. */
const REGISTER_NAMES: readonly (string | undefined)[] = Object.entries(MmioRegister).reduceRight(
  (names: string[], [name, offset]) => {
    names[offset] = name;
    return names;
  },
  new Array<string>(MmioRegister.Config),
);

/** Bits of InterruptStatus and InterruptACK (virtio 1.4 §4.2.2), the same as the PCI ISR's. */
export const InterruptCause = {
  /** The device used a buffer in at least one virtqueue. */
  QUEUE: 1,
  /** The configuration changed. */
  CONFIG: 2,
} as const;
/** A bit of InterruptStatus. */
export type InterruptCause = typeof InterruptCause[keyof typeof InterruptCause];

/** The page size in which the version 1 interface counts queue addresses, as in Linux. */
export const MMIO_LEGACY_PAGE_SIZE = 4096;
