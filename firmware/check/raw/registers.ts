/** Where a register is, and how wide it is in bytes. Typed from the specification, apart from `hal`. */
export interface Place {
  /** Byte offset. */
  readonly offset: number;
  /** Width in bytes. */
  readonly width: 1 | 2 | 4;
}

const word = (offset: number): Place => ({ offset, width: 4 });
const half = (offset: number): Place => ({ offset, width: 2 });
const byte = (offset: number): Place => ({ offset, width: 1 });

/** Registers of virtio-mmio (virtio 1.4 §4.2.2, §4.2.4), as the specification spells them. */
export const MMIO: Readonly<Record<MmioName, Place>> = {
  MagicValue: word(0x000),
  Version: word(0x004),
  DeviceID: word(0x008),
  VendorID: word(0x00c),
  DeviceFeatures: word(0x010),
  DeviceFeaturesSel: word(0x014),
  DriverFeatures: word(0x020),
  DriverFeaturesSel: word(0x024),
  GuestPageSize: word(0x028),
  QueueSel: word(0x030),
  QueueSizeMax: word(0x034),
  QueueSize: word(0x038),
  QueueAlign: word(0x03c),
  QueuePFN: word(0x040),
  QueueReady: word(0x044),
  QueueNotify: word(0x050),
  InterruptStatus: word(0x060),
  InterruptACK: word(0x064),
  Status: word(0x070),
  QueueDescLow: word(0x080),
  QueueDescHigh: word(0x084),
  QueueDriverLow: word(0x090),
  QueueDriverHigh: word(0x094),
  QueueDeviceLow: word(0x0a0),
  QueueDeviceHigh: word(0x0a4),
  SHMSel: word(0x0ac),
  SHMLenLow: word(0x0b0),
  SHMLenHigh: word(0x0b4),
  SHMBaseLow: word(0x0b8),
  SHMBaseHigh: word(0x0bc),
  QueueReset: word(0x0c0),
  ConfigGeneration: word(0x0fc),
  Config: byte(0x100),
};

/** Name of a register of virtio-mmio. */
export type MmioName =
  | "MagicValue"
  | "Version"
  | "DeviceID"
  | "VendorID"
  | "DeviceFeatures"
  | "DeviceFeaturesSel"
  | "DriverFeatures"
  | "DriverFeaturesSel"
  | "GuestPageSize"
  | "QueueSel"
  | "QueueSizeMax"
  | "QueueSize"
  | "QueueAlign"
  | "QueuePFN"
  | "QueueReady"
  | "QueueNotify"
  | "InterruptStatus"
  | "InterruptACK"
  | "Status"
  | "QueueDescLow"
  | "QueueDescHigh"
  | "QueueDriverLow"
  | "QueueDriverHigh"
  | "QueueDeviceLow"
  | "QueueDeviceHigh"
  | "SHMSel"
  | "SHMLenLow"
  | "SHMLenHigh"
  | "SHMBaseLow"
  | "SHMBaseHigh"
  | "QueueReset"
  | "ConfigGeneration"
  | "Config";

/** Fields of the common configuration of PCI (virtio 1.4 §4.1.4.3). */
export const COMMON: Readonly<Record<CommonName, Place>> = {
  device_feature_select: word(0),
  device_feature: word(4),
  driver_feature_select: word(8),
  driver_feature: word(12),
  config_msix_vector: half(16),
  num_queues: half(18),
  device_status: byte(20),
  config_generation: byte(21),
  queue_select: half(22),
  queue_size: half(24),
  queue_msix_vector: half(26),
  queue_enable: half(28),
  queue_notify_off: half(30),
  queue_desc_low: word(32),
  queue_desc_high: word(36),
  queue_driver_low: word(40),
  queue_driver_high: word(44),
  queue_device_low: word(48),
  queue_device_high: word(52),
  queue_notif_config_data: half(56),
  queue_reset: half(58),
};

/** Name of a field of the common configuration. */
export type CommonName =
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
  | "queue_desc_low"
  | "queue_desc_high"
  | "queue_driver_low"
  | "queue_driver_high"
  | "queue_device_low"
  | "queue_device_high"
  | "queue_notif_config_data"
  | "queue_reset";

/** The legacy header in BAR 0 (virtio 1.4 §4.1.4.10). */
export const LEGACY: Readonly<Record<LegacyName, Place>> = {
  device_features: word(0),
  driver_features: word(4),
  queue_address: word(8),
  queue_size: half(12),
  queue_select: half(14),
  queue_notify: half(16),
  device_status: byte(18),
  isr_status: byte(19),
};

/** Name of a register of the legacy header. */
export type LegacyName =
  | "device_features"
  | "driver_features"
  | "queue_address"
  | "queue_size"
  | "queue_select"
  | "queue_notify"
  | "device_status"
  | "isr_status";

/** Bytes of the legacy header without MSI-X. */
export const LEGACY_SIZE = 20;

/** Bits of the device status field (virtio 1.4 §2.1). */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  SUSPEND: 16,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Features of rings and transports (virtio 1.4 §6). */
export const FEATURE = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
} as const;

/** Bits of InterruptStatus and of the ISR status. */
export const CAUSE = { QUEUE: 1, CONFIG: 2 } as const;

/** Flags of descriptors (virtio 1.4 §2.7.5, §2.8.1). */
export const DESC = {
  NEXT: 1,
  WRITE: 2,
  INDIRECT: 4,
  AVAIL: 0x80,
  USED: 0x8000,
} as const;

/** Types of virtio capabilities of PCI (virtio 1.4 §4.1.4). */
export const CAP = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI_CFG: 5,
  SHARED_MEMORY: 8,
  VENDOR: 9,
} as const;
