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
} as const;
/** A request type. */
export type BlkRequestType = typeof BlkRequestType[keyof typeof BlkRequestType];

/** Values of the status byte (virtio 1.4 §5.2.6). */
export const BlkStatus = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
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
