import type { ReadAt } from "./partitions.ts";

/** What a file system's superblock says of it. */
export interface FileSystem {
  /** Type as `mount` names it, for example `ext4`. */
  readonly type: string;
  /** Volume label, if there is one. */
  readonly label: string;
  /** Volume UUID or serial, if there is one. */
  readonly uuid: string;
  /** Size in bytes by the superblock, 0 if it does not say. */
  readonly size: number;
}

/** How much of a partition is looked at: up to the end of btrfs' superblock. */
const PROBE_LENGTH = 69632;

/**
 * Recognises the file system that starts at a byte of a disk, by its superblock.
 *
 * @param read Reads the disk.
 * @param start First byte of the partition.
 * @param length Length of the partition in bytes.
 * @returns The file system, or undefined if none is recognised.
 */
export async function readSuperblock(
  read: ReadAt,
  start: number,
  length: number,
): Promise<FileSystem | undefined> {
  const bytes = await read(start, Math.min(PROBE_LENGTH, Math.floor(length / 512) * 512));
  if (bytes.length < 2048) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return ext(bytes, view) ?? fat(bytes, view) ?? xfs(bytes, view) ?? squashfs(bytes, view) ??
    swap(bytes) ?? iso9660(bytes, view) ?? btrfs(bytes, view);
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  const raw = new TextDecoder("latin1").decode(bytes.subarray(offset, offset + length));
  return raw.replace(/\0.*$/s, "").trim();
}

function uuid(bytes: Uint8Array, offset: number): string {
  const hex = [...bytes.subarray(offset, offset + 16)].map((b) => b.toString(16).padStart(2, "0"));
  return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** ext2, ext3 and ext4: superblock at byte 1024 (Linux fs/ext4/ext4.h `struct ext4_super_block`). */
function ext(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 1024;
  if (view.getUint16(base + 56, true) !== 0xef53) return undefined;
  const compatible = view.getUint32(base + 92, true);
  const incompatible = view.getUint32(base + 96, true);
  const blocks = view.getUint32(base + 4, true) +
    ((incompatible & 0x80) !== 0 ? view.getUint32(base + 0x150, true) * 2 ** 32 : 0);
  return {
    // Extents or 64-bit blocks make it ext4; a journal alone makes it ext3.
    type: (incompatible & (0x40 | 0x80 | 0x200)) !== 0
      ? "ext4"
      : (compatible & 4) !== 0
      ? "ext3"
      : "ext2",
    label: text(bytes, base + 120, 16),
    uuid: uuid(bytes, base + 104),
    size: blocks * 1024 * 2 ** view.getUint32(base + 24, true),
  };
}

function fat(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (view.getUint16(510, true) !== 0xaa55) return undefined;
  const wide = text(bytes, 82, 8).startsWith("FAT32");
  const name = wide ? "FAT32" : text(bytes, 54, 8);
  if (!name.startsWith("FAT")) return undefined;
  const at = wide ? 67 : 39;
  const sectors = view.getUint16(19, true) || view.getUint32(32, true);
  const serial = view.getUint32(at, true).toString(16).padStart(8, "0").toUpperCase();
  return {
    type: "vfat",
    label: text(bytes, at + 4, 11),
    uuid: `${serial.slice(0, 4)}-${serial.slice(4)}`,
    size: sectors * view.getUint16(11, true),
  };
}

function xfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 0, 4) !== "XFSB") return undefined;
  const blocks = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
  return {
    type: "xfs",
    label: text(bytes, 108, 12),
    uuid: uuid(bytes, 32),
    size: blocks * view.getUint32(4),
  };
}

function squashfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 0, 4) !== "hsqs") return undefined;
  const size = view.getUint32(44, true) * 2 ** 32 + view.getUint32(40, true);
  return { type: "squashfs", label: "", uuid: "", size };
}

function swap(bytes: Uint8Array): FileSystem | undefined {
  if (text(bytes, 4086, 10) !== "SWAPSPACE2") return undefined;
  return { type: "swap", label: text(bytes, 1052, 16), uuid: uuid(bytes, 1036), size: 0 };
}

function iso9660(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 32769, 5) !== "CD001") return undefined;
  const size = view.getUint32(32848, true) * view.getUint16(32896, true);
  return { type: "iso9660", label: text(bytes, 32808, 32), uuid: "", size };
}

function btrfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 65536 + 64, 8) !== "_BHRfS_M") return undefined;
  const size = view.getUint32(65536 + 116, true) * 2 ** 32 + view.getUint32(65536 + 112, true);
  return {
    type: "btrfs",
    label: text(bytes, 65536 + 299, 256),
    uuid: uuid(bytes, 65536 + 32),
    size,
  };
}
