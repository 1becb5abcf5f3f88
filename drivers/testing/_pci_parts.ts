import type { Field } from "@vireo/hal";

/** Where the first capability of the list is that matches; 0 for none. */
export function findCapability(space: Uint8Array, matches: (at: number) => boolean): number {
  let at = space[0x34]! & ~3;
  for (let i = 0; i < 48 && at >= 0x40; i++) {
    if (matches(at)) return at;
    at = space[at + 1]! & ~3;
  }
  return 0;
}

/** Name of the field at an offset of a struct; `..._hi` for the second half of a wide one. */
export function fieldName(
  layout: Readonly<Record<string, Field | number>>,
  offset: number,
): string | undefined {
  for (const [name, field] of Object.entries(layout)) {
    if (typeof field !== "object") continue;
    if (offset === field.offset) return name;
    // Half of a 64-bit field.
    if (offset === field.offset + 4 && field.size === 8) return `${name}_hi`;
  }
  return undefined;
}

/** Reads a little-endian number. */
export function read(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value += (bytes[offset + i] ?? 0) * 2 ** (8 * i);
  return value;
}

/** Writes a little-endian number. */
export function write(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
}
