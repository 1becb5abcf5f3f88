import { type Layout, layout } from "@vireo/hal";
import { type DiskShape, type Partition, type ReadAt, readPadded, viewOf } from "./_fields.ts";

const SECTOR = 512;
const TABLE = 446;
const ENTRY: Layout<"status" | "first" | "type" | "last" | "lba" | "sectors"> = layout({
  status: "u8",
  first: { bytes: 3 },
  type: "u8",
  last: { bytes: 3 },
  lba: "u32",
  sectors: "u32",
}, 16);
/** Types of partitions that hold others: CHS, LBA and Linux's own. */
const EXTENDED: readonly number[] = [0x05, 0x0f, 0x85];
/** The type of a partition that keeps old programs away from a GPT. */
const PROTECTIVE = 0xee;
/** Most logical partitions that are followed: a chain may turn in a circle. */
const MAX_LOGICAL = 1024;

/** An entry in the table's own units. */
interface Entry {
  readonly type: number;
  readonly lba: number;
  readonly sectors: number;
}

/** A table of four entries. */
export interface Mbr {
  /** Whether it guards a GPT. */
  readonly protective: boolean;
  /** Its entries by number, 1 to 4. */
  readonly entries: readonly (Entry & { readonly number: number })[];
}

/** Whether partitions of this type, two hex digits, hold others. */
export function isExtended(type: string): boolean {
  return EXTENDED.includes(parseInt(type, 16));
}

/**
 * Reads the first sector as an MBR (UEFI 2.10 §5.2.1).
 *
 * @returns Nothing if it is none.
 */
export function parseMbr(sector: Uint8Array): Mbr | undefined {
  const view = viewOf(sector);
  if (view.getUint16(510, true) !== 0xaa55) return undefined;
  const entries = [];
  for (let i = 0; i < 4; i++) {
    // Other boot sectors may have the same signature, but code where the table would be.
    const status = view.getUint8(TABLE + i * ENTRY.SIZE + ENTRY.status.offset);
    if (status !== 0 && status !== 0x80) return undefined;
    const entry = entryAt(view, i);
    if (entry.type !== 0) entries.push({ number: i + 1, ...entry });
  }
  return { protective: entries.some(({ type }) => type === PROTECTIVE), entries };
}

function entryAt(view: DataView, index: number): Entry {
  const at = TABLE + index * ENTRY.SIZE;
  return {
    type: view.getUint8(at + ENTRY.type.offset),
    lba: view.getUint32(at + ENTRY.lba.offset, true),
    sectors: view.getUint32(at + ENTRY.sectors.offset, true),
  };
}

/**
 * Lists an MBR's partitions, the logical ones in its extended partitions from 5 on.
 *
 * @param unit The size in bytes of the blocks that it counts in.
 */
export async function mbrPartitions(
  read: ReadAt,
  { entries }: Mbr,
  disk: DiskShape,
  unit: number,
): Promise<{ readonly partitions: readonly Partition[]; readonly remarks: readonly string[] }> {
  const remarks: string[] = [];
  const make = (number: number, { type, lba, sectors }: Entry): Partition => ({
    number,
    start: lba * unit,
    length: sectors * unit,
    type: type.toString(16).padStart(2, "0"),
    name: "",
    beyond: (lba + sectors) * unit > disk.size,
  });
  const partitions = entries.map((entry) => make(entry.number, entry));
  let number = 5;
  for (const { type, lba: base } of entries) {
    if (!EXTENDED.includes(type)) continue;
    const seen = new Set<number>();
    for (let at: number | undefined = base; at !== undefined && number < 5 + MAX_LOGICAL;) {
      if (seen.has(at)) {
        remarks.push("the chain of logical partitions turns in a circle");
        break;
      }
      seen.add(at);
      const view = viewOf(await readPadded(read, at * unit, SECTOR));
      if (view.getUint16(510, true) !== 0xaa55) {
        // An extended partition that holds nothing may have no table yet.
        if (at !== base) {
          remarks.push(`the chain of logical partitions breaks off after ${number - 1}`);
        }
        break;
      }
      let next: number | undefined;
      for (let i = 0; i < 4; i++) {
        const entry = entryAt(view, i);
        if (EXTENDED.includes(entry.type)) next ??= base + entry.lba;
        else if (entry.type !== 0 && entry.sectors > 0) {
          partitions.push(make(number++, { ...entry, lba: at + entry.lba }));
        }
      }
      at = next;
    }
  }
  return { partitions, remarks };
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
  view.setUint8(TABLE + ENTRY.type.offset, 0x83);
  // Cylinder, head and sector of a disk that has none: 0xfeffff says "use the LBA".
  bytes.set([0xfe, 0xff, 0xff], TABLE + ENTRY.first.offset);
  bytes.set([0xfe, 0xff, 0xff], TABLE + ENTRY.last.offset);
  view.setUint32(TABLE + ENTRY.lba.offset, start, true);
  view.setUint32(TABLE + ENTRY.sectors.offset, sectors, true);
  view.setUint16(510, 0xaa55, true);
  return bytes;
}
