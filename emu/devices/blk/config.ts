import {
  BLK_CONFIG,
  BLK_SECTOR_SIZE,
  BLK_ZONED,
  BLK_ZONED_OFFSET,
  BlkFeature,
  BlkZonedModel,
  FeatureSet,
  setU64,
} from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";
import { type BlkZonedOptions, EmulatedZones } from "./zones.ts";

/** `struct virtio_blk_config.geometry`. */
export interface BlkGeometry {
  /** Cylinders. */
  readonly cylinders: number;
  /** Heads. */
  readonly heads: number;
  /** Sectors a track. */
  readonly sectors: number;
}

/** `struct virtio_blk_config.topology`, in logical blocks. */
export interface BlkTopology {
  /** Logical blocks per physical block, as a power of two. */
  readonly physicalBlockExp: number;
  /** Offset of the first aligned logical block. */
  readonly alignmentOffset: number;
  /** Suggested smallest I/O. */
  readonly minIoSize: number;
  /** Suggested largest I/O. */
  readonly optIoSize: number;
}

/** Bounds of one kind of range request; sectors of 512 bytes. */
export interface BlkRangeLimits {
  /** Most sectors of one range. */
  readonly maxSectors: number;
  /** Most ranges of one request. */
  readonly maxSegments: number;
  /** Alignment hint in sectors (discard and secure erase). */
  readonly alignment?: number;
}

/** `struct virtio_blk_lifetime` (virtio 1.4 §5.2.6). */
export interface BlkLifetimeReport {
  /** 1 normal, 2 warning, 3 urgent; 0 undefined. */
  readonly preEolInfo: number;
  /** Tenths of the lifetime used, 1 to 11; 0 undefined. */
  readonly estTypA: number;
  /** As `estTypA`, of type B blocks. */
  readonly estTypB: number;
}

/**
 * When an emulated disk completes requests; anything but `in-order` is for tests: each batch in
 * `reverse` or at `random`; `deferred` a random part of what waits in each later turn; `held` when
 * `BlkDevice.release` says so.
 */
export type BlkOrder = "in-order" | "reverse" | "random" | "deferred" | "held";

/** How to make a {@linkcode BlkDevice}. */
export interface BlkDeviceOptions {
  /** Where the sectors are; the device does not dispose it unless `ownsDisk` is set. */
  readonly disk: DiskBackend;
  /** Disposes the disk with the device. */
  readonly ownsDisk?: boolean;
  /** Offers RO and refuses writes; the disk's own flag by default. */
  readonly readOnly?: boolean;
  /** Up to 20 bytes of ASCII; `vireo-disk` by default. */
  readonly serial?: string;
  /** Logical block size in bytes, a power of two from 512; requests must be whole blocks. */
  readonly blockSize?: number;
  /** Request queues, 1 by default. */
  readonly queues?: number;
  /** Largest ring size, 256 by default. */
  readonly queueSize?: number;
  /** Most bytes of one buffer (SIZE_MAX), 1 MiB by default. */
  readonly sizeMax?: number;
  /** Most buffers of one request (SEG_MAX), 126 by default. */
  readonly segMax?: number;
  /** Geometry in the configuration; made up by default. */
  readonly geometry?: BlkGeometry;
  /** Topology in the configuration; one logical block a physical one by default. */
  readonly topology?: BlkTopology;
  /** Bounds of DISCARD. */
  readonly discard?: BlkRangeLimits;
  /** Bounds of WRITE_ZEROES, and whether it may deallocate (true by default). */
  readonly writeZeroes?: BlkRangeLimits & { readonly mayUnmap?: boolean };
  /** Bounds of SECURE_ERASE. */
  readonly secureErase?: BlkRangeLimits;
  /**
   * Divides the disk into zones and offers ZONED. A host-managed disk offers DISCARD only if `discard` is given, and
   * must be driven with ZONED and without DISCARD.
   */
  readonly zoned?: BlkZonedOptions;
  /** Offers LIFETIME with these figures; without them it is not offered. */
  readonly lifetime?: BlkLifetimeReport;
  /** Whether the write cache starts as writeback; true by default. */
  readonly writeCache?: boolean;
  /** Feature bits not to offer. */
  readonly withhold?: readonly number[];
  /** Order of completion; `in-order` by default. */
  readonly order?: BlkOrder;
  /** Seed of the `random` and `deferred` orders. */
  readonly seed?: number;
}

/** Checked options, with the configuration space that they make. */
export interface BlkSetup {
  /** Features that the device offers. */
  readonly features: FeatureSet;
  /** `struct virtio_blk_config` as the driver sees it. */
  readonly config: DataView;
  /** Logical block size in bytes. */
  readonly blockSize: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Request queues. */
  readonly queues: number;
  /** Bounds of DISCARD. */
  readonly discard: BlkRangeLimits;
  /** Bounds of WRITE_ZEROES. */
  readonly writeZeroes: BlkRangeLimits;
  /** Bounds of SECURE_ERASE. */
  readonly secureErase: BlkRangeLimits;
  /** Zones of the disk; undefined without ZONED, and of a disk that has them for itself. */
  readonly zones: EmulatedZones | undefined;
}

/**
 * Checks the options and lays out the configuration space.
 *
 * @throws {RangeError} If a number is outside what the specification allows.
 */
export function blkSetup(options: BlkDeviceOptions): BlkSetup {
  const blockSize = options.blockSize ?? BLK_SECTOR_SIZE;
  if (blockSize < BLK_SECTOR_SIZE || blockSize > 65536 || (blockSize & (blockSize - 1)) !== 0) {
    throw new RangeError(
      `Cannot use blocks of ${blockSize} bytes: expected a power of two from 512 to 65536`,
    );
  }
  const queues = options.queues ?? 1;
  if (!Number.isInteger(queues) || queues < 1 || queues > 1024) {
    throw new RangeError(`Cannot make ${queues} request queues: expected 1 to 1024`);
  }
  const { disk } = options;
  const readOnly = options.readOnly ?? disk.readOnly;
  if (disk.readOnly && !readOnly) {
    throw new RangeError("Cannot offer a writable device: its disk is read-only");
  }
  const discard = options.discard ?? { maxSectors: 1 << 15, maxSegments: 16, alignment: 8 };
  const writeZeroes = options.writeZeroes ?? { maxSectors: 1 << 15, maxSegments: 16 };
  const sectors = disk.size / BLK_SECTOR_SIZE;
  const { segMax = 126, sizeMax: longest = 1 << 20 } = options;
  // dev.blk.init.14: an append is one request.
  const mostAppended = Math.floor(segMax * longest / BLK_SECTOR_SIZE);
  const made = options.zoned &&
    new EmulatedZones(options.zoned, { sectors, blockSize, mostAppended });
  const zones = made?.model === BlkZonedModel.NONE ? undefined : made;
  const unit = zones?.zoneSectors ?? 1;
  const secureErase = options.secureErase ??
    { maxSectors: Math.max(1 << 15, unit), maxSegments: 4, alignment: unit };
  if ((secureErase.alignment ?? 1) % unit !== 0) {
    // dev.blk.operation.33
    throw new RangeError(
      `Cannot align erasing to ${
        secureErase.alignment ?? 1
      } sectors: expected whole zones of ${unit}`,
    );
  }
  const geometry = options.geometry ?? chs(sectors);
  const topology = options.topology ??
    { physicalBlockExp: 0, alignmentOffset: 0, minIoSize: 1, optIoSize: 0 };

  const config = new DataView(
    new ArrayBuffer(made === undefined ? BLK_CONFIG.SIZE : BLK_ZONED_OFFSET + BLK_ZONED.SIZE),
  );
  made?.fillConfig(config, BLK_ZONED_OFFSET);
  setCapacity(config, sectors);
  const u8 = (at: { offset: number }, value: number): void => config.setUint8(at.offset, value);
  const u16 = (at: { offset: number }, value: number): void =>
    config.setUint16(at.offset, value, true);
  const u32 = (at: { offset: number }, value: number): void =>
    config.setUint32(at.offset, value, true);
  const C = BLK_CONFIG;
  const sizeMax = options.withhold?.includes(BlkFeature.SIZE_MAX) ? 0 : longest;
  u32(C.size_max, sizeMax);
  u32(C.seg_max, segMax);
  u16(C.cylinders, geometry.cylinders);
  u8(C.heads, geometry.heads);
  u8(C.sectors, geometry.sectors);
  u32(C.blk_size, blockSize);
  u8(C.physical_block_exp, topology.physicalBlockExp);
  u8(C.alignment_offset, topology.alignmentOffset);
  u16(C.min_io_size, topology.minIoSize);
  u32(C.opt_io_size, topology.optIoSize);
  u8(C.writeback, options.writeCache ?? true ? 1 : 0);
  u16(C.num_queues, queues);
  u32(C.max_discard_sectors, discard.maxSectors);
  u32(C.max_discard_seg, discard.maxSegments);
  u32(C.discard_sector_alignment, discard.alignment ?? 1);
  u32(C.max_write_zeroes_sectors, writeZeroes.maxSectors);
  u32(C.max_write_zeroes_seg, writeZeroes.maxSegments);
  u8(C.write_zeroes_may_unmap, options.writeZeroes?.mayUnmap ?? true ? 1 : 0);
  u32(C.max_secure_erase_sectors, secureErase.maxSectors);
  u32(C.max_secure_erase_seg, secureErase.maxSegments);
  u32(C.secure_erase_sector_alignment, secureErase.alignment ?? 1);

  const F = BlkFeature;
  let features = FeatureSet.of(
    ...[F.SIZE_MAX, F.SEG_MAX, F.GEOMETRY, F.BLK_SIZE, F.FLUSH, F.TOPOLOGY, F.CONFIG_WCE],
    ...[F.DISCARD, F.WRITE_ZEROES, F.SECURE_ERASE],
  );
  if (made !== undefined) features = features.with(F.ZONED);
  if (zones?.model === BlkZonedModel.HM && options.discard === undefined) {
    features = features.without(F.DISCARD);
  }
  if (queues > 1) features = features.with(F.MQ);
  if (readOnly) features = features.with(F.RO);
  if (options.lifetime !== undefined) {
    checkLifetime(options.lifetime);
    features = features.with(F.LIFETIME);
  }
  features = features.without(...options.withhold ?? []);
  // dev.blk.init.2: a device that offers CONFIG_WCE must offer FLUSH.
  if (!features.has(F.FLUSH)) features = features.without(F.CONFIG_WCE);
  return {
    features,
    config,
    blockSize,
    readOnly,
    queues,
    discard,
    writeZeroes,
    secureErase,
    zones,
  };
}

/** @throws {RangeError} If a figure is one that the specification reserves (dev.blk.operation.12). */
function checkLifetime({ preEolInfo, estTypA, estTypB }: BlkLifetimeReport): void {
  for (
    const [name, value, most] of [
      ["preEolInfo", preEolInfo, 3],
      ["estTypA", estTypA, 11],
      ["estTypB", estTypB, 11],
    ] as const
  ) {
    if (Number.isInteger(value) && value >= 0 && value <= most) continue;
    throw new RangeError(`Cannot report ${value} as ${name} of a disk: expected 0 to ${most}`);
  }
}

/** Writes the capacity, in sectors. */
export function setCapacity(config: DataView, sectors: number): void {
  setU64(config, BLK_CONFIG.capacity.offset, sectors);
}

/** The usual made-up geometry: 16 heads of 63 sectors, as many cylinders as fit 16 bits. */
function chs(sectors: number): BlkGeometry {
  return { cylinders: Math.min(65535, Math.ceil(sectors / (16 * 63))), heads: 16, sectors: 63 };
}
