import { type Layout, layout } from "@vireo/hal";
import { type DiskShape, number64, type Partition, type ReadAt, utf16, viewOf } from "./_fields.ts";

/** UEFI 2.10 §5.3.2, up to the end of PartitionEntryArrayCRC32. */
const HEADER: Layout<
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
const ENTRY: Layout<"type" | "unique" | "first" | "last" | "attributes" | "name"> = layout({
  type: { bytes: 16 },
  unique: { bytes: 16 },
  first: "u64",
  last: "u64",
  attributes: "u64",
  name: { bytes: 72 },
}, 128);
/** Most bytes of entries that are read: what a header says is only a claim. */
const MAX_TABLE = 16 * 1024 * 1024;

/** A GPT, with remarks about its oddities. */
interface Gpt {
  /** The partitions in use. */
  readonly partitions: readonly Partition[];
  /** Remarks about oddities. */
  readonly remarks: readonly string[];
}

/**
 * Reads a GPT (UEFI 2.10 §5.3): the primary in the second block, or the backup in the last one.
 *
 * @param unit The size in bytes of the blocks that it counts in.
 * @returns Nothing if neither is whole.
 */
export async function readGpt(
  read: ReadAt,
  disk: DiskShape,
  unit: number,
): Promise<Gpt | undefined> {
  const last = Math.floor(disk.size / unit) - 1;
  const primary = await readHeader(read, 1, unit);
  const entries = primary && await readEntries(read, primary, disk, unit);
  if (entries !== undefined) {
    const backup = await readHeader(read, primary!.alternate, unit);
    if (backup === undefined) {
      return { partitions: entries, remarks: ["the backup GPT is damaged or missing"] };
    }
    const moved = primary!.alternate === last
      ? []
      : ["the backup GPT is not at the end of the disk, which has another size than its GPT says"];
    return { partitions: entries, remarks: moved };
  }
  const backup = await readHeader(read, last, unit);
  const saved = backup && await readEntries(read, backup, disk, unit);
  if (saved === undefined) return undefined;
  return {
    partitions: saved,
    remarks: ["the primary GPT is damaged: these are the partitions of its backup"],
  };
}

/** Of Deno's own zlib, which is loaded if a disk has a GPT: in a guest that takes half a second. */
async function crc32(bytes: Uint8Array): Promise<number> {
  return (await import("node:zlib")).crc32(bytes);
}

interface Header {
  readonly alternate: number;
  readonly entriesLba: number;
  readonly entryCount: number;
  readonly entrySize: number;
  readonly entriesCrc: number;
}

async function readHeader(read: ReadAt, lba: number, unit: number): Promise<Header | undefined> {
  if (lba < 1 || !Number.isSafeInteger(lba * unit)) return undefined;
  const block = await read(lba * unit, unit);
  if (block.length < unit) return undefined;
  const view = viewOf(block);
  if (new TextDecoder().decode(block.subarray(0, 8)) !== "EFI PART") return undefined;
  const size = view.getUint32(HEADER.headerSize.offset, true);
  if (size < HEADER.SIZE || size > unit || number64(view, HEADER.myLba.offset) !== lba) {
    return undefined;
  }
  const copy = block.slice(0, size);
  viewOf(copy).setUint32(HEADER.headerCrc.offset, 0, true);
  if (await crc32(copy) !== view.getUint32(HEADER.headerCrc.offset, true)) return undefined;
  return {
    alternate: number64(view, HEADER.alternateLba.offset),
    entriesLba: number64(view, HEADER.entriesLba.offset),
    entryCount: view.getUint32(HEADER.entryCount.offset, true),
    entrySize: view.getUint32(HEADER.entrySize.offset, true),
    entriesCrc: view.getUint32(HEADER.entriesCrc.offset, true),
  };
}

async function readEntries(
  read: ReadAt,
  { entriesLba, entryCount: count, entrySize: size, entriesCrc }: Header,
  disk: DiskShape,
  unit: number,
): Promise<Partition[] | undefined> {
  const length = size * count;
  if (size < ENTRY.SIZE || size % 8 !== 0 || length > Math.min(MAX_TABLE, disk.size)) {
    return undefined;
  }
  const table = await read(entriesLba * unit, length);
  if (table.length < length || await crc32(table) !== entriesCrc) return undefined;
  const partitions: Partition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(i * size, (i + 1) * size);
    if (entry.subarray(0, 16).every((byte) => byte === 0)) continue;
    const view = viewOf(entry);
    const first = number64(view, ENTRY.first.offset);
    const last = number64(view, ENTRY.last.offset);
    partitions.push({
      number: i + 1,
      start: first * unit,
      length: Math.max(last - first + 1, 0) * unit,
      type: guid(entry.subarray(0, 16)),
      name: utf16(entry, ENTRY.name.offset, ENTRY.name.size),
      beyond: last < first || (last + 1) * unit > disk.size,
    });
  }
  return partitions;
}

/** A GUID in its mixed-endian text form (UEFI 2.10 appendix A). */
function guid(bytes: Uint8Array): string {
  const digits = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
    .map((i) => (bytes[i] ?? 0).toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
