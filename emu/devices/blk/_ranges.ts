import {
  BLK_RANGE,
  BLK_RANGE_UNMAP,
  BLK_REQ,
  BLK_SECTOR_SIZE,
  BlkFeature,
  BlkRequestType,
  BlkStatus,
  type FeatureSet,
} from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";
import type { Chain } from "../../device.ts";
import type { WorkMeter } from "../../work.ts";
import type { BlkSetup } from "./config.ts";

/** The parts of a device that {@linkcode applyRanges} uses. */
interface RangeTarget {
  readonly disk: DiskBackend;
  readonly setup: BlkSetup;
  readonly stats: { ranges: number };
}

/** When what a request asked for goes on. */
export interface RequestTurn {
  /** Divides the work into turns. */
  readonly work: WorkMeter;
  /** Whether the request was not voided by a reset. */
  readonly valid: () => boolean;
}

/** The most ranges one request may have, whatever the options say: what is kept is bounded. */
const MAX_RANGES = 256;

/**
 * Serves DISCARD, WRITE_ZEROES and SECURE_ERASE: every range is checked before any is applied, so
 * that a refused request changed nothing.
 *
 * @returns A status, or the disk's promise.
 */
export function applyRanges(
  target: RangeTarget,
  features: FeatureSet,
  chain: Chain,
  type: number,
  turn: RequestTurn,
): number | Promise<void> {
  const { setup, disk } = target;
  const limits = type === BlkRequestType.DISCARD
    ? setup.discard
    : type === BlkRequestType.WRITE_ZEROES
    ? setup.writeZeroes
    : setup.secureErase;
  const feature = type === BlkRequestType.DISCARD
    ? BlkFeature.DISCARD
    : type === BlkRequestType.WRITE_ZEROES
    ? BlkFeature.WRITE_ZEROES
    : BlkFeature.SECURE_ERASE;
  if (!features.has(feature)) return BlkStatus.UNSUPP;
  if (setup.readOnly || chain.writableLength > 1) return BlkStatus.IOERR;
  const length = chain.readableLength - BLK_REQ.SIZE;
  const count = length / BLK_RANGE.SIZE;
  if (!Number.isInteger(count) || count < 1 || count > Math.min(limits.maxSegments, MAX_RANGES)) {
    return BlkStatus.IOERR;
  }
  const allowed = type === BlkRequestType.WRITE_ZEROES ? BLK_RANGE_UNMAP : 0;
  const alignment = type === BlkRequestType.SECURE_ERASE ? limits.alignment ?? 1 : 1;
  const block = setup.blockSize;
  const offsets = new Float64Array(count);
  const lengths = new Float64Array(count);
  let status: number = BlkStatus.OK;
  for (let i = 0; i < count; i++) {
    const sector = chain.readU64();
    const sectors = chain.readU32();
    const flags = chain.readU32();
    // dev.blk.operation.4 and .5: an unknown flag, or unmap outside write zeroes, is UNSUPP.
    if ((flags & ~allowed) !== 0) return BlkStatus.UNSUPP;
    const offset = offsets[i] = sector * BLK_SECTOR_SIZE;
    const bytes = lengths[i] = sectors * BLK_SECTOR_SIZE;
    if (
      sectors > limits.maxSectors || offset + bytes > disk.size || offset % block !== 0 ||
      bytes % block !== 0 || sector % alignment !== 0 || sectors % alignment !== 0
    ) {
      status = BlkStatus.IOERR;
    }
  }
  if (status === BlkStatus.OK) status = askZones(setup, type, { offsets, lengths });
  if (status !== BlkStatus.OK) return status;
  target.stats.ranges++;
  return applyFrom(disk, type === BlkRequestType.DISCARD, { offsets, lengths }, turn);
}

/** Ranges of a disk in bytes. */
interface Ranges {
  readonly offsets: Float64Array;
  readonly lengths: Float64Array;
}

/**
 * Asks the zones of a disk for ranges: a status. Zones that must be written in order take no zeroes, and erasing
 * empties zones (dev.blk.operation.35).
 */
function askZones({ zones }: BlkSetup, type: number, { offsets, lengths }: Ranges): number {
  if (zones === undefined || type === BlkRequestType.DISCARD) return BlkStatus.OK;
  const erases = type === BlkRequestType.SECURE_ERASE;
  const each = (ask: (sector: number, sectors: number) => number): number => {
    for (let i = 0; i < offsets.length; i++) {
      const status = ask(offsets[i]! / BLK_SECTOR_SIZE, lengths[i]! / BLK_SECTOR_SIZE);
      if (status !== BlkStatus.OK) return status;
    }
    return BlkStatus.OK;
  };
  const status = each((sector, sectors) => {
    if (erases) return zones.erasable(sector, sectors);
    return zones.requiresOrder(sector, sectors) ? BlkStatus.ZONE_INVALID_CMD : BlkStatus.OK;
  });
  if (status !== BlkStatus.OK) return status;
  return each((sector, sectors) => {
    if (!erases) return zones.write(sector, sectors);
    zones.erase(sector, sectors);
    return BlkStatus.OK;
  });
}

/** Makes one range of a disk read as zeroes, in turns: a status, or the disk's promise. */
export function clearRange(
  disk: DiskBackend,
  offset: number,
  length: number,
  turn: RequestTurn,
): number | Promise<void> {
  const offsets = Float64Array.of(offset);
  return applyFrom(disk, false, { offsets, lengths: Float64Array.of(length) }, turn);
}

/** Discards or clears ranges in turns of the event loop; what a reset voided goes no further. */
function applyFrom(
  disk: DiskBackend,
  discards: boolean,
  ranges: Ranges,
  turn: RequestTurn,
  next = 0,
): number | Promise<void> {
  const after = async (wait: Promise<void>, i: number): Promise<void> => {
    await wait;
    if (turn.valid()) await applyFrom(disk, discards, ranges, turn, i);
  };
  const { offsets, lengths } = ranges;
  for (let i = next; i < offsets.length; i++) {
    const [offset, length] = [offsets[i]!, lengths[i]!];
    // A discard is a hint, which a disk may ignore; all else makes zeroes.
    const wait = discards ? disk.discard?.(offset, length) : disk.zero(offset, length);
    const more = turn.work.spend(1, length);
    if (wait !== undefined) return after(wait, i + 1);
    if (!more && i + 1 < offsets.length) return after(turn.work.turn(), i + 1);
  }
  return BlkStatus.OK;
}
