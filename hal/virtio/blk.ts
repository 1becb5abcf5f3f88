import { type Layout, layout } from "../layout.ts";

/** Unit of every sector number and of the capacity, in bytes, whatever the block size. */
export const BLK_SECTOR_SIZE = 512;
/** Length of the id string that `GET_ID` returns, in bytes; NUL-padded. */
export const BLK_ID_SIZE = 20;

/** Feature bits of the block device (virtio 1.4 §5.2.3). */
export const BlkFeature = {
  /** Legacy: request barriers. */
  BARRIER: 0,
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  /** Legacy: SCSI packet commands. */
  SCSI: 7,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
  ZONED: 17,
} as const;
/** A feature bit of the block device. */
export type BlkFeature = typeof BlkFeature[keyof typeof BlkFeature];

/** The fields of {@linkcode BLK_CONFIG}. */
export type BlkConfigField =
  | "capacity"
  | "size_max"
  | "seg_max"
  | "cylinders"
  | "heads"
  | "sectors"
  | "blk_size"
  | "physical_block_exp"
  | "alignment_offset"
  | "min_io_size"
  | "opt_io_size"
  | "writeback"
  | "unused0"
  | "num_queues"
  | "max_discard_sectors"
  | "max_discard_seg"
  | "discard_sector_alignment"
  | "max_write_zeroes_sectors"
  | "max_write_zeroes_seg"
  | "write_zeroes_may_unmap"
  | "unused1"
  | "max_secure_erase_sectors"
  | "max_secure_erase_seg"
  | "secure_erase_sector_alignment";

/** `struct virtio_blk_config` up to the zoned part (virtio 1.4 §5.2.4). */
export const BLK_CONFIG: Layout<BlkConfigField> = layout({
  capacity: "u64",
  size_max: "u32",
  seg_max: "u32",
  cylinders: "u16",
  heads: "u8",
  sectors: "u8",
  blk_size: "u32",
  physical_block_exp: "u8",
  alignment_offset: "u8",
  min_io_size: "u16",
  opt_io_size: "u32",
  writeback: "u8",
  unused0: "u8",
  num_queues: "u16",
  max_discard_sectors: "u32",
  max_discard_seg: "u32",
  discard_sector_alignment: "u32",
  max_write_zeroes_sectors: "u32",
  max_write_zeroes_seg: "u32",
  write_zeroes_may_unmap: "u8",
  unused1: { bytes: 3 },
  max_secure_erase_sectors: "u32",
  max_secure_erase_seg: "u32",
  secure_erase_sector_alignment: "u32",
}, 72);

/** Where `zoned` begins in the configuration space: behind {@linkcode BLK_CONFIG}. */
export const BLK_ZONED_OFFSET: number = BLK_CONFIG.SIZE;

/** `struct virtio_blk_zoned_characteristics`, at {@linkcode BLK_ZONED_OFFSET} (virtio 1.4 §5.2.4). */
export const BLK_ZONED: Layout<
  | "zone_sectors"
  | "max_open_zones"
  | "max_active_zones"
  | "max_append_sectors"
  | "write_granularity"
  | "model"
  | "unused2"
> = layout({
  zone_sectors: "u32",
  max_open_zones: "u32",
  max_active_zones: "u32",
  max_append_sectors: "u32",
  write_granularity: "u32",
  model: "u8",
  unused2: { bytes: 3 },
}, 24);

/** `model` of {@linkcode BLK_ZONED}: none or drive-managed, host-managed, host-aware (virtio 1.4 §5.2.4). */
export const BlkZonedModel = { NONE: 0, HM: 1, HA: 2 } as const;
/** A zoned model. */
export type BlkZonedModel = typeof BlkZonedModel[keyof typeof BlkZonedModel];

/** `z_type` of a zone: conventional, sequential write required, sequential write preferred. */
export const BlkZoneType = { CONV: 1, SWR: 2, SWP: 3 } as const;
/** The type of a zone. */
export type BlkZoneType = typeof BlkZoneType[keyof typeof BlkZoneType];

/** `z_state` of a zone (virtio 1.4 §5.2.6). */
export const BlkZoneState = {
  /** Conventional: there is no write pointer. */
  NOT_WP: 0,
  EMPTY: 1,
  /** Open by a write. */
  IOPEN: 2,
  /** Open by a request. */
  EOPEN: 3,
  CLOSED: 4,
  RDONLY: 13,
  FULL: 14,
  OFFLINE: 15,
} as const;
/** The state of a zone. */
export type BlkZoneState = typeof BlkZoneState[keyof typeof BlkZoneState];

/** The header of `struct virtio_blk_zone_report`, before the zones (virtio 1.4 §5.2.6). */
export const BLK_ZONE_REPORT: Layout<"nr_zones" | "reserved"> = layout({
  nr_zones: "u64",
  reserved: { bytes: 56 },
}, 64);

/** `struct virtio_blk_zone_descriptor` (virtio 1.4 §5.2.6). */
export const BLK_ZONE_DESCRIPTOR: Layout<
  "z_cap" | "z_start" | "z_wp" | "z_type" | "z_state" | "reserved"
> = layout({
  z_cap: "u64",
  z_start: "u64",
  z_wp: "u64",
  z_type: "u8",
  z_state: "u8",
  reserved: { bytes: 38 },
}, 64);

/** Bytes of `append_sector`, which ZONE_APPEND has before its status (virtio 1.4 §5.2.6). */
export const BLK_APPEND_SECTOR_SIZE = 8;

/** The header of `struct virtio_blk_req`, which the device reads (virtio 1.4 §5.2.6). */
export const BLK_REQ: Layout<"type" | "reserved" | "sector"> = layout({
  type: "u32",
  reserved: "u32",
  sector: "u64",
}, 16);

/** `struct virtio_blk_discard_write_zeroes`, one range (virtio 1.4 §5.2.6). */
export const BLK_RANGE: Layout<"sector" | "num_sectors" | "flags"> = layout({
  sector: "u64",
  num_sectors: "u32",
  flags: "u32",
}, 16);

/** `flags` of {@linkcode BLK_RANGE}: write zeroes may deallocate the sectors. */
export const BLK_RANGE_UNMAP = 1;

/** `struct virtio_blk_lifetime` (virtio 1.4 §5.2.6). */
export const BLK_LIFETIME: Layout<
  "pre_eol_info" | "device_lifetime_est_typ_a" | "device_lifetime_est_typ_b"
> = layout({
  pre_eol_info: "u16",
  device_lifetime_est_typ_a: "u16",
  device_lifetime_est_typ_b: "u16",
}, 6);

/** Request types (virtio 1.4 §5.2.6). */
export const BlkRequestType = {
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  /** Legacy: the same as FLUSH. */
  FLUSH_OUT: 5,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
  SECURE_ERASE: 14,
  ZONE_APPEND: 15,
  ZONE_REPORT: 16,
  ZONE_OPEN: 18,
  ZONE_CLOSE: 20,
  ZONE_FINISH: 22,
  ZONE_RESET: 24,
  ZONE_RESET_ALL: 26,
} as const;
/** A request type. */
export type BlkRequestType = typeof BlkRequestType[keyof typeof BlkRequestType];

/** Values of the status byte (virtio 1.4 §5.2.6). */
export const BlkStatus = {
  OK: 0,
  IOERR: 1,
  UNSUPP: 2,
  /** A zone is in no state for the request, or its range is not one that a zone takes. */
  ZONE_INVALID_CMD: 3,
  /** A write that is not at the write pointer, or does not end at a multiple of the granularity. */
  ZONE_UNALIGNED_WP: 4,
  /** As many zones are open as may be. */
  ZONE_OPEN_RESOURCE: 5,
  /** As many zones are open or closed as may be. */
  ZONE_ACTIVE_RESOURCE: 6,
} as const;
/** A value of the status byte. */
export type BlkStatus = typeof BlkStatus[keyof typeof BlkStatus];

/**
 * The name of a request type, or `type <n>`.
 *
 * @example
 * ```ts
 * import { blkRequestName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([blkRequestName(4), blkRequestName(99)], ["FLUSH", "type 99"]);
 * ```
 */
export function blkRequestName(type: number): string {
  return REQUEST_NAMES.get(type) ?? `type ${type}`;
}

const REQUEST_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(BlkRequestType).map(([name, type]) => [type, name]),
);
