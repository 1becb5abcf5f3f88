import {
  type FileSystem,
  isPower,
  number64,
  type ReadAt,
  readPadded,
  text,
  utf16,
  utf8,
  uuid,
  viewOf,
} from "./_fields.ts";
import { bootSectorFileSystem } from "./boot_sector.ts";
import { imageFormat, luks, lvm } from "./container.ts";

export type { FileSystem } from "./_fields.ts";

/** How much of a partition is looked at: up to the end of btrfs' superblock. */
const PROBE_LENGTH = 69632;

/**
 * Recognises the file system, image or volume that starts at a byte of a disk, by its superblock.
 *
 * @param read Reads the disk.
 * @param start First byte of the partition.
 * @param length Length of the partition in bytes.
 * @returns The file system, or undefined if none is recognised.
 *
 * @example
 * ```ts
 * import { readSuperblock } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = new Uint8Array(4096);
 * disk.set(new TextEncoder().encode("XFSB"));
 * new DataView(disk.buffer).setUint32(4, 4096); // bytes of a block
 * const read = (offset: number, length: number) =>
 *   Promise.resolve(disk.subarray(offset, offset + length));
 * assertEquals((await readSuperblock(read, 0, disk.length))?.type, "xfs");
 * ```
 */
export async function readSuperblock(
  read: ReadAt,
  start: number,
  length: number,
): Promise<FileSystem | undefined> {
  if (length < 512) return undefined;
  const within: ReadAt = (offset, bytes) =>
    read(offset, Math.max(Math.min(bytes, start + length - offset), 0));
  const bytes = await readPadded(within, start, PROBE_LENGTH);
  const view = viewOf(bytes);
  return imageFormat(bytes) ?? luks(bytes) ?? lvm(bytes) ?? ext(bytes, view) ?? xfs(bytes, view) ??
    f2fs(bytes, view) ?? erofs(bytes, view) ?? btrfs(bytes, view) ?? squashfs(bytes, view) ??
    swap(bytes) ?? await udf(within, start, bytes) ?? iso9660(bytes, view) ??
    await bootSectorFileSystem(within, start, bytes.subarray(0, 512));
}

/** ext2, ext3 and ext4: superblock at byte 1024 (Linux fs/ext4/ext4.h `struct ext4_super_block`). */
function ext(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 1024;
  if (view.getUint16(base + 56, true) !== 0xef53) return undefined;
  // Two bytes prove little: the rest must make sense.
  const log = view.getUint32(base + 24, true);
  const inodes = view.getUint32(base, true);
  const perGroup = view.getUint32(base + 32, true);
  if (log > 6 || inodes === 0 || perGroup === 0) return undefined;
  const compatible = view.getUint32(base + 92, true);
  const incompatible = view.getUint32(base + 96, true);
  const readOnly = view.getUint32(base + 100, true);
  const blocks = view.getUint32(base + 4, true) +
    ((incompatible & 0x80) !== 0 ? view.getUint32(base + 0x150, true) * 2 ** 32 : 0);
  // A feature that ext3 does not know makes it ext4; a journal alone makes it ext3.
  const newer = (incompatible & ~0x1e) !== 0 || (readOnly & ~7) !== 0;
  return {
    type: (incompatible & 8) !== 0
      ? "jbd"
      : newer
      ? "ext4"
      : (compatible & 4) !== 0
      ? "ext3"
      : "ext2",
    label: utf8(bytes, base + 120, 16),
    uuid: uuid(bytes, base + 104),
    size: blocks * 1024 * 2 ** log,
  };
}

function xfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 0, 4) !== "XFSB" || !isPower(view.getUint32(4), 512, 65536)) return undefined;
  const blocks = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
  return {
    type: "xfs",
    label: utf8(bytes, 108, 12),
    uuid: uuid(bytes, 32),
    size: blocks * view.getUint32(4),
  };
}

/** Linux include/linux/f2fs_fs.h `struct f2fs_super_block`. */
function f2fs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 1024;
  const log = view.getUint32(base + 16, true);
  if (view.getUint32(base, true) !== 0xf2f52010 || log < 12 || log > 16) return undefined;
  return {
    type: "f2fs",
    label: utf16(bytes, base + 124, 1024),
    uuid: uuid(bytes, base + 108),
    size: number64(view, base + 36) * 2 ** log,
  };
}

/** Linux fs/erofs/erofs_fs.h `struct erofs_super_block`. */
function erofs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 1024;
  const log = view.getUint8(base + 12);
  if (view.getUint32(base, true) !== 0xe0f5e1e2 || log < 9 || log > 16) return undefined;
  return {
    type: "erofs",
    label: utf8(bytes, base + 64, 16),
    uuid: uuid(bytes, base + 48),
    size: view.getUint32(base + 36, true) * 2 ** log,
  };
}

function squashfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  if (text(bytes, 0, 4) !== "hsqs" || view.getUint16(28, true) !== 4) return undefined;
  return { type: "squashfs", label: "", uuid: "", size: number64(view, 40) };
}

/** Linux include/linux/swap.h `union swap_header`: the signature ends the first page. */
function swap(bytes: Uint8Array): FileSystem | undefined {
  for (const page of [4096, 8192, 16384, 32768, 65536]) {
    if (text(bytes, page - 10, 10) !== "SWAPSPACE2") continue;
    const last = viewOf(bytes).getUint32(1028, true);
    return {
      type: "swap",
      label: text(bytes, 1052, 16),
      uuid: uuid(bytes, 1036),
      size: (last + 1) * page,
    };
  }
  return undefined;
}

/** ECMA-119: the primary volume descriptor is in block 16. */
function iso9660(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 32768;
  if (text(bytes, base + 1, 5) !== "CD001" || bytes[base] !== 1 || bytes[base + 6] !== 1) {
    return undefined;
  }
  // blkid's: when it was changed, or made.
  const when = [830, 813].map((at) => text(bytes, base + at, 16)).find((date) =>
    /^\d*[1-9]/.test(date)
  );
  return {
    type: "iso9660",
    label: text(bytes, base + 40, 32),
    uuid: (when ?? "").replace(/^(.{4})(..)(..)(..)(..)(..)(..)$/, "$1-$2-$3-$4-$5-$6-$7"),
    size: view.getUint32(base + 80, true) * view.getUint16(base + 128, true),
  };
}

/** ECMA-167: an NSR descriptor, an anchor in block 256, and from there the logical volume's name. */
async function udf(
  read: ReadAt,
  start: number,
  bytes: Uint8Array,
): Promise<FileSystem | undefined> {
  const descriptors = Array.from({ length: 16 }, (_, i) => text(bytes, 32768 + i * 2048 + 1, 5));
  if (!descriptors.some((id) => id === "NSR02" || id === "NSR03")) return undefined;
  const found: FileSystem = { type: "udf", label: "", uuid: "", size: 0 };
  for (const block of [512, 1024, 2048, 4096]) {
    const anchor = viewOf(await readPadded(read, start + 256 * block, 512));
    if (anchor.getUint16(0, true) !== 2 || anchor.getUint32(12, true) !== 256) continue;
    const count = Math.min(Math.floor(anchor.getUint32(16, true) / block), 64);
    const first = anchor.getUint32(20, true);
    for (let i = 0; i < count; i++) {
      const descriptor = await readPadded(read, start + (first + i) * block, 512);
      // §3/10.6: a logical volume descriptor.
      if (viewOf(descriptor).getUint16(0, true) !== 6) continue;
      return { ...found, label: osta(descriptor.subarray(84, 84 + 128)) };
    }
  }
  return found;
}

/** A dstring in OSTA's compressed Unicode: the last byte is its length, the first the bits a character. */
function osta(bytes: Uint8Array): string {
  const length = Math.min(bytes.at(-1)!, bytes.length - 1);
  const body = bytes.subarray(1, Math.max(length, 1));
  if (bytes[0] === 8) return new TextDecoder("latin1").decode(body);
  return bytes[0] === 16 ? new TextDecoder("utf-16be").decode(body) : "";
}

function btrfs(bytes: Uint8Array, view: DataView): FileSystem | undefined {
  const base = 65536;
  if (text(bytes, base + 64, 8) !== "_BHRfS_M") return undefined;
  return {
    type: "btrfs",
    label: utf8(bytes, base + 299, 256),
    uuid: uuid(bytes, base + 32),
    size: number64(view, base + 112),
  };
}
