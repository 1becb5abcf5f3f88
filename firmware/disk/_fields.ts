/** Reads bytes of a disk at a byte offset; what lies past its end is left out. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Reads exactly so many bytes: zeroes stand for what the disk does not have. */
export async function readPadded(
  read: ReadAt,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await read(offset, length);
  if (bytes.length === length) return bytes;
  const padded = new Uint8Array(length);
  padded.set(bytes.subarray(0, length));
  return padded;
}

/** A view of the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Text of single bytes, up to the first zero, without spaces around. */
export function text(bytes: Uint8Array, offset: number, length: number): string {
  const raw = new TextDecoder("latin1").decode(bytes.subarray(offset, offset + length));
  return raw.replace(/\0.*$/s, "").trim();
}

/** UTF-8 text up to the first zero. */
export function utf8(bytes: Uint8Array, offset: number, length: number): string {
  const raw = new TextDecoder().decode(bytes.subarray(offset, offset + length));
  return raw.replace(/\0.*$/s, "");
}

/** UTF-16 text up to the first zero. */
export function utf16(bytes: Uint8Array, offset: number, length: number): string {
  const raw = new TextDecoder("utf-16le").decode(bytes.subarray(offset, offset + length));
  return raw.replace(/\0.*$/s, "");
}

/** Two digits a byte. */
export function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Sixteen bytes as a UUID's text. */
export function uuid(bytes: Uint8Array, offset: number): string {
  return hex(bytes.subarray(offset, offset + 16))
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** A little-endian number of 64 bits. */
export function number64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

/** A big-endian number of 64 bits. */
export function big64(view: DataView, offset: number): number {
  return view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
}

/** Whether a number is a power of two within bounds. */
export function isPower(value: number, least: number, most: number): boolean {
  return value >= least && value <= most && (value & (value - 1)) === 0;
}

/** One entry of a partition table. */
export interface Partition {
  /** Number as Linux counts: 1 is the first; logical partitions of an MBR start at 5. */
  readonly number: number;
  /** First byte. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
  /** Type: two hex digits (MBR) or a GUID (GPT). */
  readonly type: string;
  /** Name, for GPT. */
  readonly name: string;
  /** Whether it ends past the end of the disk. */
  readonly beyond: boolean;
}

/** The parts of a disk that reading its table needs. */
export interface DiskShape {
  /** Size in bytes. */
  readonly size: number;
  /** Logical block size in bytes, in which tables count. */
  readonly blockSize: number;
}

/** Data of a file system from its superblock. */
export interface FileSystem {
  /** Type as `mount` and `blkid` name it, for example `ext4`; of an image as `qemu-img` does, `qcow2`. */
  readonly type: string;
  /** Volume label, if there is one. */
  readonly label: string;
  /** Volume UUID or serial, if there is one. */
  readonly uuid: string;
  /** Size in bytes by the superblock, 0 if it does not say. */
  readonly size: number;
  /** Set for an image in a format of its own, which holds a disk but is none. */
  readonly image?: true;
}
