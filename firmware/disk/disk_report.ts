import type { Blk } from "@vireo/drivers/blk";
import { BLK_SECTOR_SIZE } from "@vireo/hal";
import { sha256 } from "./sha256.ts";
import { readBytes } from "./byte_range.ts";
import { sizeText } from "../terminal/output.ts";
import { vhdFooter } from "./container.ts";
import { isExtended } from "./mbr.ts";
import {
  type DiskShape,
  type Partition,
  type PartitionTable,
  type ReadAt,
  readPartitionTable,
} from "./partitions.ts";
import { type FileSystem, readSuperblock } from "./superblock.ts";

/** Bytes of a request while a disk is hashed. */
const CHUNK = 128 * 1024;
/** Requests in flight while a disk is hashed. */
const DEPTH = 4;

/** Contents of a disk. */
export interface DiskContents {
  /** Format of the partition table, if there is one. */
  readonly scheme: PartitionTable["scheme"];
  /** The size in bytes of the blocks that the table counts in. */
  readonly unit: number;
  /** The partitions with their file systems; what the disk holds as a whole is number 0, and first. */
  readonly partitions: readonly (Partition & { readonly fileSystem: FileSystem | null })[];
  /** Remarks about oddities of the table. */
  readonly remarks: readonly string[];
}

/**
 * Reads a disk's partition table and superblocks through its driver.
 *
 * @example
 * ```ts
 * import { diskContents, diskText, makeDemoDisk, openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * const path = `${folder}/demo.img`;
 * await makeDemoDisk(path);
 * {
 *   await using vireo = await openVireo({ blk: [{ path, readOnly: true }] });
 *   const contents = await diskContents(vireo.blk);
 *   assertEquals([contents.scheme, diskText(contents)[0]], ["mbr", "mbr partitions"]);
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function diskContents(blk: Blk): Promise<DiskContents> {
  const read: ReadAt = (offset, length) => readBytes(blk, offset, length);
  return await readContents(read, { size: blk.capacity, blockSize: blk.blockSize });
}

/**
 * Reads a disk's partition table and superblocks.
 *
 * @example
 * ```ts
 * import { readContents } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * // A disk of zeroes.
 * const read = (_offset: number, length: number) => Promise.resolve(new Uint8Array(length));
 * const { scheme, partitions } = await readContents(read, { size: 1 << 20, blockSize: 512 });
 * assertEquals([scheme, partitions.length], [null, 0]);
 * ```
 */
export async function readContents(read: ReadAt, disk: DiskShape): Promise<DiskContents> {
  const { partitions: entries, ...table } = await readPartitionTable(read, disk);
  const partitions = [];
  const whole = await readSuperblock(read, 0, disk.size) ?? await vhdFooter(read, disk.size);
  if (whole !== undefined) {
    const length = disk.size;
    const all = { number: 0, start: 0, length, type: "", name: "", beyond: false };
    partitions.push({ ...all, fileSystem: whole });
  }
  for (const partition of entries) {
    const { start, length, type } = partition;
    // An extended partition holds others.
    const holds = table.scheme === "mbr" && isExtended(type)
      ? undefined
      : await readSuperblock(read, start, length);
    partitions.push({ ...partition, fileSystem: holds ?? null });
  }
  return { ...table, partitions };
}

/**
 * Writes a disk's contents as lines of text.
 *
 * @example
 * ```ts
 * import { diskText } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const contents = { scheme: null, unit: 512, partitions: [], remarks: ["it is empty"] };
 * assertEquals(diskText(contents), ["no partition table", "but it is empty"]);
 * ```
 */
export function diskText(contents: DiskContents): string[] {
  const { scheme } = contents;
  const lines = [scheme === null ? "no partition table" : `${scheme} partitions`];
  for (const remark of contents.remarks) lines.push(`but ${remark}`);
  for (const partition of contents.partitions) {
    const { number, start, length, type, name, beyond, fileSystem } = partition;
    const where = number === 0 ? "whole disk" : `partition ${number}`;
    const kind = [type, name].filter((part) => part !== "").join(" ");
    const outer = scheme === "mbr" && number > 0 && isExtended(type);
    const holds = outer ? "holds the logical partitions" : holdsText(fileSystem);
    const end = beyond ? ", ENDS PAST THE END OF THE DISK" : "";
    lines.push(
      `${where}: ${sizeText(length)} at ${sizeText(start)}${kind && `, ${kind}`}, ${holds}${end}`,
    );
  }
  return lines;
}

function holdsText(fileSystem: FileSystem | null): string {
  if (fileSystem === null) return "no known file system";
  const { type, label, uuid, size, image } = fileSystem;
  if (image) {
    const of = size === 0 ? "" : ` of ${sizeText(size)}`;
    return `a ${type} image${of}, which is not read: 'qemu-img convert -O raw' makes a disk of it`;
  }
  return `${type} '${label}' ${uuid}`.trimEnd();
}

/** The bytes to hash. */
export interface HashOptions {
  /** First sector; 0 by default. */
  readonly sector?: number;
  /** Number of sectors; to the end by default. */
  readonly count?: number;
  /** Told the part that is done, 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/**
 * The SHA-256 of a disk, read through its driver with several requests in flight.
 *
 * @example
 * ```ts
 * import { hashDisk, openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * // The SHA-256 of the first sector.
 * const hash = await hashDisk(vireo.blk, { count: 1 });
 * assertEquals(hash.length, 64);
 * ```
 */
export async function hashDisk(blk: Blk, options: HashOptions = {}): Promise<string> {
  const first = options.sector ?? 0;
  const total = (options.count ?? blk.sectors - first) * BLK_SECTOR_SIZE;
  const hash = await sha256();
  const start = (offset: number): Promise<Uint8Array> =>
    readBytes(blk, first * BLK_SECTOR_SIZE + offset, Math.min(CHUNK, total - offset));
  const pending: Promise<Uint8Array>[] = [];
  let next = 0;
  try {
    for (let done = 0; done < total;) {
      for (; next < total && pending.length < DEPTH; next += CHUNK) pending.push(start(next));
      const bytes = await pending.shift()!;
      hash.update(bytes);
      done += bytes.length;
      options.onProgress?.(done / total);
    }
  } finally {
    await Promise.allSettled(pending);
  }
  return hash.digest("hex");
}
