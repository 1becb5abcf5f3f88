import { type DiskShape, type Partition, type ReadAt, readPadded } from "./_fields.ts";
import { isBootSector } from "./boot_sector.ts";
import { readGpt } from "./gpt.ts";
import { type Mbr, mbrPartitions, parseMbr } from "./mbr.ts";

export type { DiskShape, Partition, ReadAt } from "./_fields.ts";

/** A partition table. */
export interface PartitionTable {
  /** Its format; null if the disk has none that is whole. */
  readonly scheme: "mbr" | "gpt" | null;
  /** The size in bytes of the blocks that it counts in. */
  readonly unit: number;
  /** The partitions in use. */
  readonly partitions: readonly Partition[];
  /** Remarks about its oddities. */
  readonly remarks: readonly string[];
}

/** Block sizes that disks are made with. */
const UNITS = [512, 4096];

/**
 * Reads a disk's partition table: GPT (UEFI 2.10 §5.3) behind a protective MBR, or MBR with its chains of
 * logical partitions. Tables count in logical blocks, but an image may come from a disk with others: if the
 * table makes sense only in those, they are taken, and a remark says so.
 *
 * @param read Reads the disk.
 *
 * @example
 * ```ts
 * import { readPartitionTable } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * // A disk of zeroes has no table.
 * const bytes = new Uint8Array(1 << 20);
 * const { scheme, partitions } = await readPartitionTable(
 *   (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
 *   { size: bytes.length, blockSize: 512 },
 * );
 * assertEquals([scheme, partitions.length], [null, 0]);
 * ```
 */
export async function readPartitionTable(
  read: ReadAt,
  disk: DiskShape,
): Promise<PartitionTable> {
  const units = [disk.blockSize, ...UNITS.filter((unit) => unit !== disk.blockSize)];
  const none: PartitionTable = { scheme: null, unit: disk.blockSize, partitions: [], remarks: [] };
  const first = await readPadded(read, 0, 512);
  // A bare file system has the signature of an MBR, and zeroes where the table would be.
  const mbr = isBootSector(first) ? undefined : parseMbr(first);
  if (mbr !== undefined && !mbr.protective) return await mbrTable(read, mbr, disk, units);
  for (const unit of units) {
    const gpt = await readGpt(read, disk, unit);
    if (gpt === undefined) continue;
    if (mbr === undefined) {
      return {
        ...none,
        remarks: ["there is a GPT, but no protective MBR before it, so it is not used"],
      };
    }
    return { scheme: "gpt", unit, ...gpt, remarks: [...otherUnit(unit, disk), ...gpt.remarks] };
  }
  if (mbr === undefined) return none;
  return { ...none, remarks: ["there is a protective MBR, but neither of its GPTs is whole"] };
}

async function mbrTable(
  read: ReadAt,
  mbr: Mbr,
  disk: DiskShape,
  units: readonly number[],
): Promise<PartitionTable> {
  const tables = [];
  for (const unit of units) {
    const table = await mbrPartitions(read, mbr, disk, unit);
    if (!table.partitions.some(({ beyond }) => beyond)) {
      return {
        scheme: "mbr",
        unit,
        ...table,
        remarks: [...otherUnit(unit, disk), ...table.remarks],
      };
    }
    tables.push({ scheme: "mbr", unit, ...table } as const);
  }
  // Past the end in any: a disk that was cut.
  return tables[0]!;
}

function otherUnit(unit: number, { blockSize }: DiskShape): string[] {
  if (unit === blockSize) return [];
  return [`the table counts in blocks of ${unit} bytes, but the device's are ${blockSize}`];
}
