import { type Layout, layout } from "../layout.ts";

/** PCI vendor id of virtio devices (virtio 1.4 §4.1.2). */
export const PCI_VENDOR_VIRTIO = 0x1af4;
/** PCI device id of a non-transitional device is this plus the virtio device id (§4.1.2.1). */
export const PCI_MODERN_DEVICE_BASE = 0x1040;
/** The first PCI device id of virtio devices; below `PCI_MODERN_DEVICE_BASE` they are transitional. */
export const PCI_DEVICE_FIRST = 0x1000;
/** The last PCI device id of virtio devices. */
export const PCI_DEVICE_LAST = 0x107f;
/** The last PCI device id that Linux's virtio-pci looks at; it refuses those above {@linkcode PCI_DEVICE_LAST}. */
export const PCI_DEVICE_TABLE_LAST = 0x10ff;

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

/** The structure that a virtio capability describes: `cfg_type` (virtio 1.4 §4.1.4). */
export const PciCapType = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI: 5,
  SHARED_MEMORY: 8,
  VENDOR: 9,
} as const;
/** The structure that a virtio capability describes. */
export type PciCapType = typeof PciCapType[keyof typeof PciCapType];

/** `struct virtio_pci_cap` (virtio 1.4 §4.1.4). */
export const PCI_CAP: Layout<
  "cap_vndr" | "cap_next" | "cap_len" | "cfg_type" | "bar" | "id" | "padding" | "offset" | "length"
> = layout({
  cap_vndr: "u8",
  cap_next: "u8",
  cap_len: "u8",
  cfg_type: "u8",
  bar: "u8",
  id: "u8",
  padding: { bytes: 2 },
  offset: "u32",
  length: "u32",
}, 16);
/** `struct virtio_pci_cap64`, after the first 16 bytes: high words, for shared memory. */
export const PCI_CAP64: Layout<"cap" | "offset_hi" | "length_hi"> = layout({
  cap: { bytes: 16 },
  offset_hi: "u32",
  length_hi: "u32",
}, 24);
/** `struct virtio_pci_notify_cap` (virtio 1.4 §4.1.4.4). */
export const PCI_NOTIFY_CAP: Layout<"cap" | "notify_off_multiplier"> = layout({
  cap: { bytes: 16 },
  notify_off_multiplier: "u32",
}, 20);
/** `struct virtio_pci_cfg_cap` (virtio 1.4 §4.1.4.9): a window into BARs, by configuration accesses. */
export const PCI_CFG_CAP: Layout<"cap" | "pci_cfg_data"> = layout({
  cap: { bytes: 16 },
  pci_cfg_data: { bytes: 4 },
}, 20);

/** `struct virtio_pci_common_cfg` (virtio 1.4 §4.1.4.3). */
export const PCI_COMMON: Layout<
  | "device_feature_select"
  | "device_feature"
  | "driver_feature_select"
  | "driver_feature"
  | "config_msix_vector"
  | "num_queues"
  | "device_status"
  | "config_generation"
  | "queue_select"
  | "queue_size"
  | "queue_msix_vector"
  | "queue_enable"
  | "queue_notify_off"
  | "queue_desc"
  | "queue_driver"
  | "queue_device"
  | "queue_notif_config_data"
  | "queue_reset"
  | "admin_queue_index"
  | "admin_queue_num"
> = layout({
  device_feature_select: "u32",
  device_feature: "u32",
  driver_feature_select: "u32",
  driver_feature: "u32",
  config_msix_vector: "u16",
  num_queues: "u16",
  device_status: "u8",
  config_generation: "u8",
  queue_select: "u16",
  queue_size: "u16",
  queue_msix_vector: "u16",
  queue_enable: "u16",
  queue_notify_off: "u16",
  queue_desc: "u64",
  queue_driver: "u64",
  queue_device: "u64",
  queue_notif_config_data: "u16",
  queue_reset: "u16",
  admin_queue_index: "u16",
  admin_queue_num: "u16",
}, 64);

/** "No vector" in the MSI-X vector fields (virtio 1.4 §4.1.5.1.2). */
export const PCI_NO_VECTOR = 0xffff;

/** The legacy header in I/O BAR 0 (virtio 1.4 §4.1.4.10), without MSI-X. */
export const PCI_LEGACY: Layout<
  | "device_features"
  | "driver_features"
  | "queue_address"
  | "queue_size"
  | "queue_select"
  | "queue_notify"
  | "device_status"
  | "isr_status"
> = layout({
  device_features: "u32",
  driver_features: "u32",
  queue_address: "u32",
  queue_size: "u16",
  queue_select: "u16",
  queue_notify: "u16",
  device_status: "u8",
  isr_status: "u8",
}, 20);
/** Registers after the legacy header while MSI-X is on; the device configuration comes after it. */
export const PCI_LEGACY_MSIX: Layout<"config_msix_vector" | "queue_msix_vector"> = layout({
  config_msix_vector: "u16",
  queue_msix_vector: "u16",
}, 4);
/** The unit of `queue_address`, and the alignment of the used ring, in bytes. */
export const PCI_LEGACY_PAGE_SIZE = 4096;
