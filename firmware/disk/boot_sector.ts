/**
 * File systems that start with a boot sector, whose signature is that of an MBR: FAT, exFAT and NTFS.
 *
 * @module
 */
import {
  type FileSystem,
  hex,
  isPower,
  number64,
  type ReadAt,
  readPadded,
  text,
  utf16,
  viewOf,
} from "./_fields.ts";

const SIGNATURE = 0xaa55;
/** Bytes of a folder that are searched for the volume's label. */
const FOLDER = 65536;

/** Whether a sector is the first of a FAT, exFAT or NTFS, by what it says of them. */
export function isBootSector(sector: Uint8Array): boolean {
  return isFat(sector) || isExfat(sector) || isNtfs(sector);
}

/** Reads such a file system's boot sector, and its label where that is. */
export async function bootSectorFileSystem(
  read: ReadAt,
  start: number,
  sector: Uint8Array,
): Promise<FileSystem | undefined> {
  if (isExfat(sector)) return await exfat(read, start, viewOf(sector));
  if (isNtfs(sector)) return await ntfs(read, start, viewOf(sector));
  if (isFat(sector)) return await fat(read, start, sector);
  return undefined;
}

/** Linux fs/fat/inode.c `fat_read_bpb`: what must be true of a FAT's parameters. */
function isFat(sector: Uint8Array): boolean {
  const view = viewOf(sector);
  const media = view.getUint8(21);
  return view.getUint16(510, true) === SIGNATURE && !isNtfs(sector) && !isExfat(sector) &&
    isPower(view.getUint16(11, true), 512, 4096) && isPower(view.getUint8(13), 1, 128) &&
    view.getUint16(14, true) > 0 && view.getUint8(16) > 0 && view.getUint8(16) <= 4 &&
    (media >= 0xf8 || media === 0xf0) &&
    (view.getUint16(22, true) || view.getUint32(36, true)) > 0;
}

async function fat(read: ReadAt, start: number, sector: Uint8Array): Promise<FileSystem> {
  const view = viewOf(sector);
  const size = view.getUint16(11, true);
  const reserved = view.getUint16(14, true);
  const copies = view.getUint8(16);
  const wide = view.getUint16(22, true) === 0;
  const length = wide ? view.getUint32(36, true) : view.getUint16(22, true);
  const data = reserved + copies * length;
  // FAT32 has its root folder in a cluster, whose first is number 2.
  const root = data + (wide ? (view.getUint32(44, true) - 2) * view.getUint8(13) : 0);
  const bytes = wide ? view.getUint8(13) * size : view.getUint16(17, true) * 32;
  const folder = await readPadded(read, start + root * size, Math.min(bytes, FOLDER));
  const at = wide ? 67 : 39;
  const extended = (sector[at - 1]! & 0xfe) === 0x28;
  const boot = extended ? text(sector, at + 4, 11) : "";
  const serial = view.getUint32(at, true).toString(16).padStart(8, "0").toUpperCase();
  return {
    type: "vfat",
    label: fatLabel(folder) ?? (boot === "NO NAME" ? "" : boot),
    uuid: extended ? `${serial.slice(0, 4)}-${serial.slice(4)}` : "",
    size: (view.getUint16(19, true) || view.getUint32(32, true)) * size,
  };
}

function fatLabel(folder: Uint8Array): string | undefined {
  // A folder ends with its bytes, or with an entry that begins with a zero.
  for (let at = 0; folder[at]; at += 32) {
    const attributes = folder[at + 11]! & 0x3f;
    // Neither a deleted entry nor a part of a long name, and no folder; DOS marks a label as to be archived, too.
    if (folder[at] === 0xe5 || attributes === 0x0f) continue;
    if ((attributes & 0x18) === 0x08) return text(folder, at, 11);
  }
  return undefined;
}

/** Microsoft's exFAT specification §3.1. */
function isExfat(sector: Uint8Array): boolean {
  return text(sector, 3, 8) === "EXFAT" && viewOf(sector).getUint16(510, true) === SIGNATURE &&
    sector[108]! >= 9 && sector[108]! <= 12 && sector[109]! <= 25 - sector[108]!;
}

async function exfat(read: ReadAt, start: number, view: DataView): Promise<FileSystem> {
  const sector = 2 ** view.getUint8(108);
  const cluster = sector * 2 ** view.getUint8(109);
  const root = view.getUint32(88, true) * sector + (view.getUint32(96, true) - 2) * cluster;
  const folder = await readPadded(read, start + Math.max(root, 0), Math.min(cluster, FOLDER));
  let label = "";
  for (let at = 0; folder[at]; at += 32) {
    // §7.3: the volume's label, its length in characters.
    if (folder[at] === 0x83) label = utf16(folder, at + 2, Math.min(folder[at + 1]!, 11) * 2);
  }
  const serial = view.getUint32(100, true).toString(16).padStart(8, "0").toUpperCase();
  return {
    type: "exfat",
    label,
    uuid: `${serial.slice(0, 4)}-${serial.slice(4)}`,
    size: number64(view, 72) * sector,
  };
}

function isNtfs(sector: Uint8Array): boolean {
  const view = viewOf(sector);
  return new TextDecoder("latin1").decode(sector.subarray(3, 11)) === "NTFS    " &&
    view.getUint16(510, true) === SIGNATURE && isPower(view.getUint16(11, true), 256, 4096) &&
    view.getUint8(13) > 0 && view.getUint16(14, true) === 0;
}

/** Linux fs/ntfs3/ntfs.h `struct NTFS_BOOT`. */
async function ntfs(read: ReadAt, start: number, view: DataView): Promise<FileSystem> {
  const sector = view.getUint16(11, true);
  const clusterField = view.getUint8(13);
  // Above 128 it is a negative power of two.
  const cluster = sector * (clusterField <= 128 ? clusterField : 2 ** (256 - clusterField));
  const recordField = view.getInt8(64);
  const record = recordField > 0 ? recordField * cluster : 2 ** -recordField;
  const bytes = Array.from({ length: 8 }, (_, i) => view.getUint8(72 + 7 - i));
  const volume = number64(view, 48) * cluster + 3 * record;
  const label = record <= FOLDER && Number.isSafeInteger(start + volume)
    ? ntfsLabel(await readPadded(read, start + volume, record))
    : "";
  return { type: "ntfs", label, uuid: hex(bytes).toUpperCase(), size: number64(view, 40) * sector };
}

/** The label in the record of the file `$Volume`: the value of its attribute VOLUME_NAME. */
function ntfsLabel(record: Uint8Array): string {
  if (text(record, 0, 4) !== "FILE") return "";
  const view = viewOf(record);
  for (let at = view.getUint16(20, true); at + 24 <= record.length;) {
    const type = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (type === 0xffffffff || length < 24) return "";
    if (type === 0x60) {
      return utf16(record, at + view.getUint16(at + 20, true), view.getUint32(at + 16, true));
    }
    at += length;
  }
  return "";
}
