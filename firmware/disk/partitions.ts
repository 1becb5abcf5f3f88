import { type Layout, layout } from "@vireo/hal";
import { crc32 } from "node:zlib";

/** Reads bytes of a disk at a byte offset. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** One entry of a partition table. */
export interface Partition {
  /** Number as Linux counts: 1 is the first. */
  readonly number: number;
  /** First byte. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
  /** Type: two hex digits (MBR) or a GUID (GPT). */
  readonly type: string;
  /** Name, for GPT. */
  readonly name: string;
}

/** A partition table. */
export interface PartitionTable {
  /** Its format. */
  readonly scheme: "mbr" | "gpt";
  /** The partitions in use. */
  readonly partitions: readonly Partition[];
}

const SECTOR = 512;
const MBR_TABLE = 446;
const MBR_ENTRY: Layout<"status" | "first" | "type" | "last" | "lba" | "sectors"> = layout({
  status: "u8",
  first: { bytes: 3 },
  type: "u8",
  last: { bytes: 3 },
  lba: "u32",
  sectors: "u32",
}, 16);
const GPT_PROTECTIVE = 0xee;
/** UEFI 2.10 §5.3.2, up to the end of PartitionEntryArrayCRC32. */
const GPT_HEADER: Layout<
  | "signature"
  | "revision"
  | "headerSize"
  | "headerCrc"
  | "reserved"
  | "myLba"
  | "alternateLba"
  | "firstUsable"
  | "lastUsable"
  | "diskGuid"
  | "entriesLba"
  | "entryCount"
  | "entrySize"
  | "entriesCrc"
> = layout({
  signature: "u64",
  revision: "u32",
  headerSize: "u32",
  headerCrc: "u32",
  reserved: "u32",
  myLba: "u64",
  alternateLba: "u64",
  firstUsable: "u64",
  lastUsable: "u64",
  diskGuid: { bytes: 16 },
  entriesLba: "u64",
  entryCount: "u32",
  entrySize: "u32",
  entriesCrc: "u32",
}, 92);
/** UEFI 2.10 §5.3.3. */
const GPT_ENTRY: Layout<"type" | "unique" | "first" | "last" | "attributes" | "name"> = layout({
  type: { bytes: 16 },
  unique: { bytes: 16 },
  first: "u64",
  last: "u64",
  attributes: "u64",
  name: { bytes: 72 },
}, 128);

/**
 * Reads a disk's partition table: GPT (UEFI 2.10 §5.3) behind a protective MBR, or MBR.
 *
 * @param read Reads the disk.
 * @returns The table, or undefined if the disk has none.
 *
 * @example
 * ```ts
 * import { makeMbr, readPartitionTable } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = new Uint8Array(1 << 20);
 * disk.set(makeMbr(64, 1024));
 * const table = await readPartitionTable((offset, length) =>
 *   Promise.resolve(disk.subarray(offset, offset + length))
 * );
 * assertEquals([table?.scheme, table?.partitions.length], ["mbr", 1]);
 * ```
 */
export async function readPartitionTable(read: ReadAt): Promise<PartitionTable | undefined> {
  const mbr = await read(0, SECTOR);
  const view = new DataView(mbr.buffer, mbr.byteOffset, mbr.byteLength);
  if (view.getUint16(510, true) !== 0xaa55) return undefined;
  const partitions: Partition[] = [];
  for (let i = 0; i < 4; i++) {
    const at = MBR_TABLE + i * MBR_ENTRY.SIZE;
    const status = view.getUint8(at + MBR_ENTRY.status.offset);
    // A boot sector of a bare file system has the same signature, but code where the table would be.
    if (status !== 0 && status !== 0x80) return undefined;
    const type = view.getUint8(at + MBR_ENTRY.type.offset);
    if (type === GPT_PROTECTIVE) return await readGpt(read);
    if (type === 0) continue;
    partitions.push({
      number: i + 1,
      start: view.getUint32(at + MBR_ENTRY.lba.offset, true) * SECTOR,
      length: view.getUint32(at + MBR_ENTRY.sectors.offset, true) * SECTOR,
      type: type.toString(16).padStart(2, "0"),
      name: "",
    });
  }
  return { scheme: "mbr", partitions };
}

async function readGpt(read: ReadAt): Promise<PartitionTable | undefined> {
  const header = await read(SECTOR, SECTOR);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (new TextDecoder().decode(header.subarray(0, 8)) !== "EFI PART") return undefined;
  const headerSize = view.getUint32(GPT_HEADER.headerSize.offset, true);
  const stored = view.getUint32(GPT_HEADER.headerCrc.offset, true);
  const copy = header.slice(0, Math.min(Math.max(headerSize, GPT_HEADER.SIZE), SECTOR));
  new DataView(copy.buffer).setUint32(GPT_HEADER.headerCrc.offset, 0, true);
  if (crc32(copy) !== stored) return undefined;
  const lba = number64(view, GPT_HEADER.entriesLba.offset);
  const size = view.getUint32(GPT_HEADER.entrySize.offset, true);
  const count = Math.min(view.getUint32(GPT_HEADER.entryCount.offset, true), 1024);
  if (size < GPT_ENTRY.SIZE || size > 4096) return undefined;
  const length = Math.ceil(size * count / SECTOR) * SECTOR;
  const table = (await read(lba * SECTOR, length)).subarray(0, size * count);
  if (crc32(table) !== view.getUint32(GPT_HEADER.entriesCrc.offset, true)) return undefined;
  const partitions: Partition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(i * size, (i + 1) * size);
    const type = guid(entry.subarray(0, 16));
    if (/^[0-]+$/.test(type)) continue;
    const at = new DataView(entry.buffer, entry.byteOffset, entry.byteLength);
    const first = number64(at, GPT_ENTRY.first.offset);
    const last = number64(at, GPT_ENTRY.last.offset);
    const { offset, size: nameSize } = GPT_ENTRY.name;
    const name = new TextDecoder("utf-16le").decode(entry.subarray(offset, offset + nameSize));
    partitions.push({
      number: i + 1,
      start: first * SECTOR,
      length: (last - first + 1) * SECTOR,
      type,
      name: name.replace(/\0.*$/s, ""),
    });
  }
  return { scheme: "gpt", partitions };
}

/**
 * Makes an MBR with one Linux partition that fills a disk from the given sector on.
 *
 * @param start First sector of the partition.
 * @param sectors Length of the partition in sectors of 512 bytes.
 * @returns The first sector of the disk.
 */
export function makeMbr(start: number, sectors: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  view.setUint8(MBR_TABLE + MBR_ENTRY.type.offset, 0x83);
  // Cylinder, head and sector of a disk that has none: 0xfeffff says "use the LBA".
  bytes.set([0xfe, 0xff, 0xff], MBR_TABLE + MBR_ENTRY.first.offset);
  bytes.set([0xfe, 0xff, 0xff], MBR_TABLE + MBR_ENTRY.last.offset);
  view.setUint32(MBR_TABLE + MBR_ENTRY.lba.offset, start, true);
  view.setUint32(MBR_TABLE + MBR_ENTRY.sectors.offset, sectors, true);
  view.setUint16(510, 0xaa55, true);
  return bytes;
}

function number64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

/** A GUID in its mixed-endian text form (UEFI 2.10 appendix A). */
export function guid(bytes: Uint8Array): string {
  const hex = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
    .map((i) => (bytes[i] ?? 0).toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
