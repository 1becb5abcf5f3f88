import { assertEquals } from "@std/assert";
import {
  BLK_APPEND_SECTOR_SIZE,
  BLK_CONFIG,
  BLK_LIFETIME,
  BLK_RANGE,
  BLK_REQ,
  BLK_ZONE_DESCRIPTOR,
  BLK_ZONE_REPORT,
  BLK_ZONED,
  BLK_ZONED_OFFSET,
  BlkFeature,
  blkRequestName,
  BlkRequestType,
  BlkStatus,
  BlkZonedModel,
  BlkZoneState,
  BlkZoneType,
} from "./blk.ts";

// The numbers below are typed from the specification, not from the code under test.
Deno.test("the configuration space lies as in virtio 1.4 §5.2.4", () => {
  const offsets = Object.entries(BLK_CONFIG).filter(([name]) => name !== "SIZE")
    .map(([name, field]) => [name, (field as { offset: number }).offset]);
  assertEquals(Object.fromEntries(offsets), {
    capacity: 0,
    size_max: 8,
    seg_max: 12,
    cylinders: 16,
    heads: 18,
    sectors: 19,
    blk_size: 20,
    physical_block_exp: 24,
    alignment_offset: 25,
    min_io_size: 26,
    opt_io_size: 28,
    writeback: 32,
    unused0: 33,
    num_queues: 34,
    max_discard_sectors: 36,
    max_discard_seg: 40,
    discard_sector_alignment: 44,
    max_write_zeroes_sectors: 48,
    max_write_zeroes_seg: 52,
    write_zeroes_may_unmap: 56,
    unused1: 57,
    max_secure_erase_sectors: 60,
    max_secure_erase_seg: 64,
    secure_erase_sector_alignment: 68,
  });
  assertEquals(BLK_CONFIG.SIZE, 72);
});

Deno.test("zones lie as in virtio 1.4 §5.2.4 and §5.2.6", () => {
  const offsets = (layout: object): number[] =>
    Object.values(layout).filter((field) => typeof field !== "number")
      .map((field) => field.offset);
  assertEquals(offsets(BLK_ZONED), [0, 4, 8, 12, 16, 20, 21]);
  assertEquals([BLK_ZONED_OFFSET, BLK_ZONED.SIZE], [72, 24]);
  assertEquals([offsets(BLK_ZONE_REPORT), BLK_ZONE_REPORT.SIZE], [[0, 8], 64]);
  assertEquals(offsets(BLK_ZONE_DESCRIPTOR), [0, 8, 16, 24, 25, 26]);
  assertEquals([BLK_ZONE_DESCRIPTOR.SIZE, BLK_APPEND_SECTOR_SIZE], [64, 8]);
});

Deno.test("requests lie as in virtio 1.4 §5.2.6", () => {
  assertEquals([BLK_REQ.type.offset, BLK_REQ.sector.offset, BLK_REQ.SIZE], [0, 8, 16]);
  assertEquals(
    [BLK_RANGE.sector.offset, BLK_RANGE.num_sectors.offset, BLK_RANGE.flags.offset, BLK_RANGE.SIZE],
    [0, 8, 12, 16],
  );
  assertEquals([
    BLK_LIFETIME.device_lifetime_est_typ_a.offset,
    BLK_LIFETIME.device_lifetime_est_typ_b.offset,
  ], [2, 4]);
  assertEquals(BLK_LIFETIME.SIZE, 6);
});

Deno.test("features, types and statuses have the numbers of virtio 1.4 §5.2", () => {
  assertEquals(Object.values(BlkFeature), [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
  assertEquals(Object.values(BlkRequestType), [
    ...[0, 1, 4, 5, 8, 10, 11, 13, 14],
    ...[15, 16, 18, 20, 22, 24, 26],
  ]);
  assertEquals(BlkStatus, {
    OK: 0,
    IOERR: 1,
    UNSUPP: 2,
    ZONE_INVALID_CMD: 3,
    ZONE_UNALIGNED_WP: 4,
    ZONE_OPEN_RESOURCE: 5,
    ZONE_ACTIVE_RESOURCE: 6,
  });
  assertEquals([BlkZonedModel.NONE, BlkZonedModel.HM, BlkZonedModel.HA], [0, 1, 2]);
  assertEquals([BlkZoneType.CONV, BlkZoneType.SWR, BlkZoneType.SWP], [1, 2, 3]);
  assertEquals(BlkZoneState, {
    NOT_WP: 0,
    EMPTY: 1,
    IOPEN: 2,
    EOPEN: 3,
    CLOSED: 4,
    RDONLY: 13,
    FULL: 14,
    OFFLINE: 15,
  });
  assertEquals([blkRequestName(13), blkRequestName(99)], ["WRITE_ZEROES", "type 99"]);
});
