/** Data of a display about itself (VESA E-EDID 1.4). */
export interface Edid {
  /** Three letters of its maker. */
  readonly manufacturer: string;
  /** Its name, if it has one. */
  readonly name: string | undefined;
  /** The mode that suits it best, in pixels. */
  readonly preferred: { readonly width: number; readonly height: number } | undefined;
}

/**
 * Reads an EDID.
 *
 * @returns Nothing if it is too short, has another header, or a wrong checksum.
 *
 * @example
 * ```ts
 * import { decodeEdid } from "@vireo/drivers/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(128);
 * // The header, and the three letters of the maker in 15 bits.
 * bytes.set([0, 255, 255, 255, 255, 255, 255, 0, 0x59, 0x32]);
 * bytes[127] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
 * assertEquals(decodeEdid(bytes)?.manufacturer, "VIR");
 * bytes[20] = 1;
 * assertEquals(decodeEdid(bytes), undefined, "its sum is wrong");
 * ```
 */
export function decodeEdid(bytes: Uint8Array): Edid | undefined {
  if (bytes.length < 128) return undefined;
  const block = bytes.subarray(0, 128);
  const header = [0, 255, 255, 255, 255, 255, 255, 0];
  if (header.some((byte, i) => block[i] !== byte)) return undefined;
  if (block.reduce((sum, byte) => sum + byte, 0) % 256 !== 0) return undefined;
  const id = block[8]! << 8 | block[9]!;
  const letter = (shift: number): string => String.fromCharCode(64 + (id >> shift & 31));
  let name: string | undefined;
  for (let at = 54; at < 126; at += 18) {
    const descriptor = block.subarray(at, at + 18);
    if (descriptor[0] !== 0 || descriptor[1] !== 0 || descriptor[3] !== 0xfc) continue;
    name = new TextDecoder().decode(descriptor.subarray(5)).split("\n")[0]!.trim();
  }
  const timing = block.subarray(54, 72);
  const width = timing[2]! | (timing[4]! & 0xf0) << 4;
  const height = timing[5]! | (timing[7]! & 0xf0) << 4;
  const detailed = timing[0] !== 0 || timing[1] !== 0;
  return {
    manufacturer: letter(10) + letter(5) + letter(0),
    name,
    preferred: detailed ? { width, height } : undefined,
  };
}
