import { createHash } from "node:crypto";
import type { Blk } from "@vireo/drivers";
import { readBytes } from "./byte_range.ts";
import { sizeText } from "../terminal/output.ts";
import { type Partition, type ReadAt, readPartitionTable } from "./partitions.ts";
import { type FileSystem, readSuperblock } from "./superblock.ts";

const SECTOR = 512;
/** Bytes of a request while a disk is hashed. */
const CHUNK = 128 * 1024;
/** Requests in flight while a disk is hashed. */
const DEPTH = 4;

/** What is on a disk. */
export interface DiskContents {
  /** Format of the partition table, if there is one. */
  readonly scheme: "mbr" | "gpt" | null;
  /** The partitions with their file systems; a disk without a table may hold one itself, as number 0. */
  readonly partitions: readonly (Partition & { readonly fileSystem: FileSystem | null })[];
}

/** Reads a disk's partition table and superblocks through its driver. */
export async function diskContents(blk: Blk): Promise<DiskContents> {
  const read: ReadAt = (offset, length) => readBytes(blk, offset, length);
  const table = await readPartitionTable(read);
  const whole = { number: 0, start: 0, length: blk.capacity, type: "", name: "" };
  const partitions = [];
  for (const partition of table?.partitions ?? [whole]) {
    const fileSystem = await readSuperblock(read, partition.start, partition.length) ?? null;
    if (table !== undefined || fileSystem !== null) partitions.push({ ...partition, fileSystem });
  }
  return { scheme: table?.scheme ?? null, partitions };
}

/** Writes a disk's contents as lines of text. */
export function diskText(contents: DiskContents): string[] {
  const lines = [contents.scheme === null ? "no partition table" : `${contents.scheme} partitions`];
  for (const { number, start, length, type, name, fileSystem } of contents.partitions) {
    const where = number === 0 ? "whole disk" : `partition ${number}`;
    const kind = [type, name].filter((part) => part !== "").join(" ");
    const fs = fileSystem === null
      ? "no known file system"
      : `${fileSystem.type} '${fileSystem.label}' ${fileSystem.uuid}`;
    lines.push(`${where}: ${sizeText(length)} at ${sizeText(start)}${kind && `, ${kind}`}, ${fs}`);
  }
  return lines;
}

/** What to hash. */
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
  const total = (options.count ?? blk.sectors - first) * SECTOR;
  const hash = createHash("sha256");
  const start = (offset: number): Promise<Uint8Array> =>
    readBytes(blk, first * SECTOR + offset, Math.min(CHUNK, total - offset));
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
