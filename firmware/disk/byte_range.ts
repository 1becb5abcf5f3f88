import type { Blk } from "@vireo/drivers/blk";
import { BLK_SECTOR_SIZE } from "@vireo/hal";

/** How many bytes of a disk are whole logical blocks, which is what a device transfers. */
export function wholeBytes(blk: Pick<Blk, "capacity" | "blockSize">): number {
  return blk.capacity - blk.capacity % blk.blockSize;
}

/**
 * Reads bytes of a disk wherever they lie, in whole logical blocks as the device demands.
 *
 * @param offset First byte.
 * @param length Number of bytes; what lies past the last whole block of the disk is left out.
 */
export async function readBytes(blk: Blk, offset: number, length: number): Promise<Uint8Array> {
  const block = blk.blockSize;
  const end = Math.min(offset + length, wholeBytes(blk));
  if (end <= offset) return new Uint8Array(0);
  const first = Math.floor(offset / block) * block;
  const last = Math.ceil(end / block) * block;
  const bytes = await blk.read(first / BLK_SECTOR_SIZE, last - first);
  return bytes.subarray(offset - first, end - first);
}

/**
 * Writes bytes of a disk wherever they lie: the rest of the first and last block is read and kept.
 *
 * @param offset First byte.
 */
export async function writeBytes(blk: Blk, offset: number, data: Uint8Array): Promise<void> {
  const block = blk.blockSize;
  const before = offset % block;
  const after = (block - (offset + data.length) % block) % block;
  if (before === 0 && after === 0) return await blk.write(offset / BLK_SECTOR_SIZE, data);
  const whole = new Uint8Array(before + data.length + after);
  const start = offset - before;
  whole.set(await readBytes(blk, start, before));
  whole.set(await readBytes(blk, offset + data.length, after), before + data.length);
  whole.set(data, before);
  await blk.write(start / BLK_SECTOR_SIZE, whole);
}
