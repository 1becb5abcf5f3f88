import {
  BLK_SECTOR_SIZE,
  BLK_ZONED,
  BLK_ZONED_OFFSET,
  BlkZonedModel,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";

/** Geometry and limits of a zoned disk (virtio 1.4 §5.2.4). */
export interface BlkZoned {
  /** Host-managed or host-aware. */
  readonly model: BlkZonedModel;
  /** Sectors of a zone; the last one may have fewer. */
  readonly zoneSectors: number;
  /** Most zones that are open at a time; 0 is any number. */
  readonly maxOpenZones: number;
  /** Most zones that are open or closed at a time; 0 is any number. */
  readonly maxActiveZones: number;
  /** Most sectors of one append; 0 if there are no appends. */
  readonly maxAppendSectors: number;
  /** Bytes that writes and appends to sequential zones are multiples of. */
  readonly writeGranularity: number;
}

/** The largest granularity of writes that is driven, in bytes: one request has room for it. */
const MAX_GRANULARITY = 1 << 20;

/** The model of a zoned disk, without its other fields: drivers ask for it before FEATURES_OK. */
export function readZonedModel({ config }: VirtioDevice): number {
  return config.read8(BLK_ZONED_OFFSET + BLK_ZONED.model.offset);
}

/**
 * Reads and checks the zoned part of the configuration space.
 *
 * @returns Nothing for a drive-managed disk, which is driven as any other.
 * @throws {VireoError} `CONFIG_INVALID` If a field cannot be true.
 */
export function readZoned(device: VirtioDevice): BlkZoned | undefined {
  const u32 = ({ offset }: { offset: number }): number =>
    device.config.read32(BLK_ZONED_OFFSET + offset);
  const invalid = (register: string, seen: number, expected: string): VireoError =>
    new VireoError("CONFIG_INVALID", "Cannot use the block device's zones", {
      device: device.name,
      register,
      base: 10,
      seen,
      expected,
    });
  const model = readZonedModel(device);
  if (model === BlkZonedModel.NONE) return undefined;
  if (model !== BlkZonedModel.HM && model !== BlkZonedModel.HA) {
    throw invalid("zoned.model", model, "0, 1 or 2");
  }
  const zoneSectors = u32(BLK_ZONED.zone_sectors);
  if (zoneSectors === 0) throw invalid("zoned.zone_sectors", 0, "at least 1");
  const writeGranularity = u32(BLK_ZONED.write_granularity);
  const possible = writeGranularity > 0 && writeGranularity <= MAX_GRANULARITY;
  if (!possible || writeGranularity % BLK_SECTOR_SIZE !== 0) {
    throw invalid(
      "zoned.write_granularity",
      writeGranularity,
      `a multiple of 512, at most ${MAX_GRANULARITY}`,
    );
  }
  return {
    model,
    zoneSectors,
    maxOpenZones: u32(BLK_ZONED.max_open_zones),
    maxActiveZones: u32(BLK_ZONED.max_active_zones),
    maxAppendSectors: u32(BLK_ZONED.max_append_sectors),
    writeGranularity,
  };
}
