import { type Layout, layout } from "../layout.ts";

/** PCI vendor id of virtio devices (virtio 1.4 §4.1.2). */
export const PCI_VENDOR_VIRTIO = 0x1af4;
/** PCI device id of a non-transitional device is this plus the virtio device id (§4.1.2.1). */
export const PCI_MODERN_DEVICE_BASE = 0x1040;
/** The first PCI device id of virtio devices; below `PCI_MODERN_DEVICE_BASE` they are transitional. */
export const PCI_DEVICE_FIRST = 0x1000;
/** The last PCI device id of virtio devices. */
export const PCI_DEVICE_LAST = 0x107f;

/** PCI device ids of transitional devices by virtio device id (virtio 1.4 §4.1.2.1). */
export const PCI_TRANSITIONAL_DEVICE: Readonly<Record<number, number>> = {
  1: 0x1000,
  2: 0x1001,
  5: 0x1002,
  3: 0x1003,
  8: 0x1004,
  4: 0x1005,
  9: 0x1009,
};

/** Registers of the PCI configuration header, type 0 (PCI Local Bus 3.0 §6.1). */
export const PciRegister = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS_CODE: 0x09,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;
/** A register of the PCI configuration header. */
export type PciRegister = typeof PciRegister[keyof typeof PciRegister];

/** Bits of the PCI command register. */
export const PciCommand = {
  IO: 0x1,
  MEMORY: 0x2,
  BUS_MASTER: 0x4,
  INTX_DISABLE: 0x400,
} as const;
/** A bit of the PCI command register. */
export type PciCommand = typeof PciCommand[keyof typeof PciCommand];

/** `STATUS` bit: the function has a list of capabilities. */
export const PCI_STATUS_CAPABILITIES = 0x10;

/** PCI capability ids. */
export const PciCapability = { VENDOR: 0x09, MSIX: 0x11 } as const;
/** A PCI capability id. */
export type PciCapability = typeof PciCapability[keyof typeof PciCapability];

/** The MSI-X capability (PCI 3.0 §6.8.2). */
export const MSIX_CAP: Layout<"id" | "next" | "control" | "table" | "pba"> = layout({
  id: "u8",
  next: "u8",
  control: "u16",
  table: "u32",
  pba: "u32",
}, 12);
/** `control`: MSI-X is on. */
export const MSIX_ENABLE = 0x8000;
/** `control`: all vectors are masked. */
export const MSIX_MASK_ALL = 0x4000;
/** `control`: one less than the number of vectors. */
export const MSIX_SIZE = 0x7ff;

/** One entry of the MSI-X table; `control` bit 0 masks the vector. */
export const MSIX_ENTRY: Layout<"address" | "data" | "control"> = layout({
  address: "u64",
  data: "u32",
  control: "u32",
}, 16);

/** What a virtio capability tells of: `cfg_type` (virtio 1.4 §4.1.4). */
export const PciCapType = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI: 5,
  SHARED_MEMORY: 8,
  VENDOR: 9,
} as const;
/** What a virtio capability tells of. */
export type PciCapType = typeof PciCapType[keyof typeof PciCapType];

/** `struct virtio_pci_cap` (virtio 1.4 §4.1.4). */
export const PCI_CAP: Layout<
  "vndr" | "next" | "len" | "cfgType" | "bar" | "id" | "padding" | "offset" | "length"
> = layout({
  vndr: "u8",
  next: "u8",
  len: "u8",
  cfgType: "u8",
  bar: "u8",
  id: "u8",
  padding: { bytes: 2 },
  offset: "u32",
  length: "u32",
}, 16);
/** `struct virtio_pci_cap64`, after the first 16 bytes: high words, for shared memory. */
export const PCI_CAP64: Layout<"cap" | "offsetHigh" | "lengthHigh"> = layout({
  cap: { bytes: 16 },
  offsetHigh: "u32",
  lengthHigh: "u32",
}, 24);
/** `struct virtio_pci_notify_cap` (virtio 1.4 §4.1.4.4). */
export const PCI_NOTIFY_CAP: Layout<"cap" | "multiplier"> = layout({
  cap: { bytes: 16 },
  multiplier: "u32",
}, 20);
/** `struct virtio_pci_cfg_cap` (virtio 1.4 §4.1.4.9): a window into BARs, by configuration accesses. */
export const PCI_CFG_CAP: Layout<"cap" | "data"> = layout({
  cap: { bytes: 16 },
  data: { bytes: 4 },
}, 20);

/** `struct virtio_pci_common_cfg` (virtio 1.4 §4.1.4.3). */
export const PCI_COMMON: Layout<
  | "deviceFeatureSelect"
  | "deviceFeature"
  | "driverFeatureSelect"
  | "driverFeature"
  | "configMsixVector"
  | "numQueues"
  | "deviceStatus"
  | "configGeneration"
  | "queueSelect"
  | "queueSize"
  | "queueMsixVector"
  | "queueEnable"
  | "queueNotifyOff"
  | "queueDesc"
  | "queueDriver"
  | "queueDevice"
  | "queueNotifConfigData"
  | "queueReset"
  | "adminQueueIndex"
  | "adminQueueNum"
> = layout({
  deviceFeatureSelect: "u32",
  deviceFeature: "u32",
  driverFeatureSelect: "u32",
  driverFeature: "u32",
  configMsixVector: "u16",
  numQueues: "u16",
  deviceStatus: "u8",
  configGeneration: "u8",
  queueSelect: "u16",
  queueSize: "u16",
  queueMsixVector: "u16",
  queueEnable: "u16",
  queueNotifyOff: "u16",
  queueDesc: "u64",
  queueDriver: "u64",
  queueDevice: "u64",
  queueNotifConfigData: "u16",
  queueReset: "u16",
  adminQueueIndex: "u16",
  adminQueueNum: "u16",
}, 64);

/** Bytes of the common configuration that every modern device has: up to `queueDevice`. */
export const PCI_COMMON_MIN = 56;
/** "No vector" in the MSI-X vector fields (virtio 1.4 §4.1.5.1.2). */
export const PCI_NO_VECTOR = 0xffff;

/** The legacy header in I/O BAR 0 (virtio 1.4 §4.1.4.10), without MSI-X. */
export const PCI_LEGACY: Layout<
  | "deviceFeatures"
  | "driverFeatures"
  | "queueAddress"
  | "queueSize"
  | "queueSelect"
  | "queueNotify"
  | "deviceStatus"
  | "isrStatus"
> = layout({
  deviceFeatures: "u32",
  driverFeatures: "u32",
  queueAddress: "u32",
  queueSize: "u16",
  queueSelect: "u16",
  queueNotify: "u16",
  deviceStatus: "u8",
  isrStatus: "u8",
}, 20);
/** What follows the legacy header while MSI-X is on; the device configuration comes after it. */
export const PCI_LEGACY_MSIX: Layout<"configVector" | "queueVector"> = layout({
  configVector: "u16",
  queueVector: "u16",
}, 4);
/** The unit of `queueAddress`, and the alignment of the used ring, in bytes. */
export const PCI_LEGACY_PAGE_SIZE = 4096;
