import { deflateSync } from "node:zlib";

/** A picture: red, green, blue and alpha of each pixel, row after row. */
export interface Picture {
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Four bytes a pixel. */
  readonly rgba: Uint8Array;
}

/**
 * Writes a picture as PNG, without alpha (ISO 15948).
 *
 * @example
 * ```ts
 * import { encodePng } from "@vireo/emu/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * const red = encodePng({ width: 1, height: 1, rgba: Uint8Array.of(255, 0, 0, 255) });
 * assertEquals(new TextDecoder().decode(red.subarray(1, 4)), "PNG");
 * ```
 */
export function encodePng({ width, height, rgba }: Picture): Uint8Array {
  const raw = new Uint8Array(height * (width * 3 + 1));
  for (let y = 0; y < height; y++) {
    const row = y * (width * 3 + 1) + 1;
    for (let x = 0; x < width; x++) {
      raw.set(rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + 3), row + x * 3);
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2, 0, 0, 0], 8);
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("IDAT", new Uint8Array(deflateSync(raw, { level: 9 }))),
    chunk("IEND", new Uint8Array(0)),
  ];
  const png = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    png.set(part, at);
    at += part.length;
  }
  return png;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
