import type { ConfigWidth } from "../../device.ts";

/** Reads a little-endian number. */
export function readBytes(bytes: Uint8Array, offset: number, width: ConfigWidth): number {
  let value = 0;
  for (let i = 0; i < width; i++) value += bytes[offset + i]! * 2 ** (8 * i);
  return value;
}

/** Writes a little-endian number. */
export function writeBytes(
  bytes: Uint8Array,
  offset: number,
  width: ConfigWidth,
  value: number,
): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
}
