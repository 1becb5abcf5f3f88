import {
  BLK_CONFIG,
  BLK_SECTOR_SIZE,
  type BlkConfigField,
  BlkFeature,
  isPowerOfTwo,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import { type BlkZoned, readZoned } from "./zoned.ts";

/** The disk's made-up geometry (virtio 1.4 §5.2.4, GEOMETRY). */
export interface BlkGeometry {
  /** Cylinders. */
  readonly cylinders: number;
  /** Heads. */
  readonly heads: number;
  /** Sectors a track. */
  readonly sectors: number;
}

/** Alignment and preferred sizes (virtio 1.4 §5.2.4, TOPOLOGY). */
export interface BlkTopology {
  /** Physical block size in bytes. */
  readonly physicalBlockSize: number;
  /** Offset of the first aligned logical block, in logical blocks. */
  readonly alignmentOffset: number;
  /** Smallest I/O that is not slow, in logical blocks. */
  readonly minIoSize: number;
  /** Best size of a long I/O in logical blocks; 0 if the device has no wish. */
  readonly optIoSize: number;
}

/** Bounds of discard, write zeroes or secure erase. */
export interface BlkRangeLimits {
  /** Most sectors of one range. */
  readonly maxSectors: number;
  /** Most ranges of one request. */
  readonly maxSegments: number;
  /** Alignment in sectors: a hint for discard, a demand for secure erase. */
  readonly alignment: number;
}

/** The configuration space, checked. */
export interface BlkConfig {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  /** Most bytes of one buffer; 2^32-1 without SIZE_MAX, or if that is 0. */
  readonly sizeMax: number;
  /** Most buffers of one request; 1 without SEG_MAX. */
  readonly segMax: number;
  /** Logical block size in bytes; requests are whole blocks. */
  readonly blockSize: number;
  readonly geometry: BlkGeometry | undefined;
  readonly topology: BlkTopology | undefined;
  /** Request queues; 1 without MQ. */
  readonly queues: number;
  readonly discard: BlkRangeLimits | undefined;
  readonly writeZeroes: BlkRangeLimits | undefined;
  readonly secureErase: BlkRangeLimits | undefined;
  /** Undefined if the disk has no zones, or keeps them to itself. */
  readonly zoned: BlkZoned | undefined;
}

/** How long requests are, and how many there are; lengths in bytes. */
export interface RequestSizes {
  /** Requests in flight of each queue. */
  readonly depth: number;
  /** Most data of one slot. */
  readonly bytes: number;
  /** Most data of one element of a chain. */
  readonly segment: number;
  /** Most data of one request over several slots. */
  readonly longest: number;
}

/** The largest logical block that a driver takes, in bytes. */
const MAX_BLOCK_SIZE = 65536;
/** Bytes of a slot, unless the driver is told otherwise. */
const SLOT_BYTES = 32768;
/** Most bytes of one request over several slots, as Linux's block layer has it by default. */
const MAX_TOGETHER = 1280 * 1024;
/** Most data elements of one request over several slots, so that an indirect table takes it. */
const MAX_ELEMENTS = 30;

/**
 * Reads the capacity, in sectors (virtio 1.4 §5.2.5).
 *
 * @throws {VireoError} `CONFIG_INVALID` If its size in bytes is over 2^53 - 1.
 */
export function readCapacity(device: VirtioDevice): number {
  const at = BLK_CONFIG.capacity.offset;
  // Words, not read64: a lie over 2^53 must name the field.
  const [lo, hi] = device.config.stable(() =>
    [device.config.read32(at), device.config.read32(at + 4)] as const
  );
  const sectors = hi * 0x1_0000_0000 + lo;
  if (sectors * BLK_SECTOR_SIZE > Number.MAX_SAFE_INTEGER) {
    throw invalid(device, "capacity", sectors, "at most 2^44-1 sectors");
  }
  return sectors;
}

/**
 * Reads and checks the configuration space, as far as the negotiated features make it valid.
 *
 * @throws {VireoError} `CONFIG_INVALID` If a field cannot be true.
 */
export function readBlkConfig(device: VirtioDevice): BlkConfig {
  const { config } = device;
  const F = BlkFeature;
  const u8 = (name: BlkConfigField): number => config.read8(BLK_CONFIG[name].offset);
  const u16 = (name: BlkConfigField): number => config.read16(BLK_CONFIG[name].offset);
  const u32 = (name: BlkConfigField): number => config.read32(BLK_CONFIG[name].offset);
  const positive = (name: BlkConfigField, value: number): number => {
    if (value === 0) throw invalid(device, name, 0, "at least 1");
    return value;
  };
  // As Linux: 0 means that the device sets no bound; QEMU's storage daemon offers SIZE_MAX so.
  const some = (value: number): number => value === 0 ? 0xffffffff : value;
  const sizeMax = device.has(F.SIZE_MAX) ? some(u32("size_max")) : 0xffffffff;
  const segMax = device.has(F.SEG_MAX) ? positive("seg_max", u32("seg_max")) : 1;
  const blockSize = device.has(F.BLK_SIZE) ? u32("blk_size") : BLK_SECTOR_SIZE;
  if (blockSize < BLK_SECTOR_SIZE || blockSize > MAX_BLOCK_SIZE || !isPowerOfTwo(blockSize)) {
    throw invalid(device, "blk_size", blockSize, "a power of two from 512 to 65536");
  }
  const sectors = readCapacity(device);
  return {
    sectors,
    sizeMax,
    segMax,
    blockSize,
    geometry: device.has(F.GEOMETRY)
      ? { cylinders: u16("cylinders"), heads: u8("heads"), sectors: u8("sectors") }
      : undefined,
    topology: device.has(F.TOPOLOGY)
      ? {
        physicalBlockSize: blockSize * 2 ** exponent(device, u8("physical_block_exp")),
        alignmentOffset: u8("alignment_offset"),
        minIoSize: u16("min_io_size"),
        optIoSize: u32("opt_io_size"),
      }
      : undefined,
    queues: device.has(F.MQ) ? positive("num_queues", u16("num_queues")) : 1,
    discard: device.has(F.DISCARD)
      ? {
        maxSectors: some(u32("max_discard_sectors")),
        maxSegments: u32("max_discard_seg") || segMax,
        alignment: u32("discard_sector_alignment") || 1,
      }
      : undefined,
    writeZeroes: device.has(F.WRITE_ZEROES)
      ? {
        maxSectors: some(u32("max_write_zeroes_sectors")),
        maxSegments: u32("max_write_zeroes_seg") || 1,
        alignment: 1,
      }
      : undefined,
    // As Linux: an erase whose bounds are unknown must not be tried.
    secureErase: device.has(F.SECURE_ERASE)
      ? {
        maxSectors: positive("max_secure_erase_sectors", u32("max_secure_erase_sectors")),
        maxSegments: positive("max_secure_erase_seg", u32("max_secure_erase_seg")),
        alignment: positive("secure_erase_sector_alignment", u32("secure_erase_sector_alignment")),
      }
      : undefined,
    zoned: device.has(F.ZONED) ? readZoned(device) : undefined,
  };
}

/**
 * Chooses the sizes of requests by the device's bounds, its rings and what the driver was asked for.
 *
 * @throws {VireoError} `QUEUE_SIZE` If no request fits into a ring; `CONFIG_INVALID` If no block fits into one.
 */
export function requestSizes(
  device: VirtioDevice,
  config: BlkConfig,
  { ringSize, queues }: { readonly ringSize: number; readonly queues: number },
  wanted: { readonly depth?: number; readonly bytesPerRequest?: number },
): RequestSizes {
  if (ringSize < 3) {
    throw new VireoError("QUEUE_SIZE", "Cannot send block requests through so small a queue", {
      device: device.name,
      seen: ringSize,
      expected: "at least 3 descriptors",
    });
  }
  const { blockSize, sizeMax } = config;
  // A chain is never longer than the ring, indirect or not (virtio 1.4 §2.7.5.3.1).
  const segments = Math.min(config.segMax, ringSize - 2);
  const unit = Math.max(blockSize, config.zoned?.writeGranularity ?? 0);
  const most = Math.min(Math.max(wanted.bytesPerRequest ?? SLOT_BYTES, unit), sizeMax * segments);
  const bytes = most - most % blockSize;
  if (bytes < unit) {
    throw invalid(device, "size_max", sizeMax, "room for one block in seg_max buffers");
  }
  const depth = Math.min(
    wanted.depth ?? Math.max(16, Math.min(64, Math.floor(128 / queues))),
    ringSize,
  );
  // A long request takes several slots in a row, whose buffers are one: under TCG one request of
  // 1 MiB takes a fifth of the time of 32 requests of 32 KiB (bench/guest.ts).
  const together = Math.min(depth * bytes, MAX_TOGETHER);
  const segment = Math.min(sizeMax, together);
  const longest = Math.min(together, segment * Math.min(segments, MAX_ELEMENTS));
  return { depth, bytes, segment, longest: Math.max(longest - longest % blockSize, bytes) };
}

function exponent(device: VirtioDevice, value: number): number {
  if (value > 31) throw invalid(device, "physical_block_exp", value, "at most 31");
  return value;
}

/** The error for a configuration field that cannot be true. */
function invalid(
  device: VirtioDevice,
  field: BlkConfigField,
  seen: number,
  expected: string,
): VireoError {
  return new VireoError("CONFIG_INVALID", "Cannot use the block device's configuration", {
    device: device.name,
    register: field,
    base: 10,
    seen,
    expected,
  });
}
