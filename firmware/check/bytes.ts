/** Little-endian integers and bytes, one after the other: `u32(1)`, `u64(2)`, raw bytes. */
export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A little-endian 16-bit integer. */
export function u16(...values: readonly number[]): Uint8Array {
  return join(...values.map((value) => [value & 0xff, value >>> 8 & 0xff]));
}

/** A little-endian 32-bit integer. */
export function u32(...values: readonly number[]): Uint8Array {
  return join(...values.map((value) => [value, value >>> 8, value >>> 16, value >>> 24]));
}

/** A little-endian 64-bit integer. */
export function u64(...values: readonly (number | bigint)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, i) => view.setBigUint64(8 * i, BigInt(value), true));
  return new Uint8Array(view.buffer);
}

/** Zeroes. */
export function zeroes(length: number): Uint8Array {
  return new Uint8Array(length);
}

/** Reads a little-endian integer of 1, 2 or 4 bytes. */
export function get(bytes: Uint8Array, at: number, width: 1 | 2 | 4): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
