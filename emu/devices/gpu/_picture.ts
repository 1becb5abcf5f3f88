import { GPU_CHANNELS, GPU_CURSOR_SIZE } from "@vireo/hal";
import type { Picture } from "./png.ts";

/** A part of a picture, in pixels. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A picture as the guest has it. */
interface Pixels {
  readonly width: number;
  readonly height: number;
  /** One of `GpuFormat`. */
  readonly format: number;
  /** Four bytes a pixel. */
  readonly pixels: Uint8Array;
}

/** Whether a rectangle is a part of a picture. */
export function inside({ x, y, width, height }: Rectangle, of: Pixels): boolean {
  return width > 0 && height > 0 && x + width <= of.width && y + height <= of.height;
}

/** Copies what was flushed of a picture to the part of it that a display shows. */
export function show(resource: Pixels, shown: Rectangle, part: Rectangle, picture: Picture): void {
  const [r, g, b, a] = GPU_CHANNELS[resource.format]!;
  const left = Math.max(shown.x, part.x);
  const top = Math.max(shown.y, part.y);
  const right = Math.min(shown.x + shown.width, part.x + part.width);
  const bottom = Math.min(shown.y + shown.height, part.y + part.height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const from = (y * resource.width + x) * 4;
      const to = ((y - shown.y) * picture.width + x - shown.x) * 4;
      picture.rgba[to] = resource.pixels[from + r]!;
      picture.rgba[to + 1] = resource.pixels[from + g]!;
      picture.rgba[to + 2] = resource.pixels[from + b]!;
      picture.rgba[to + 3] = a < 0 ? 255 : resource.pixels[from + a]!;
    }
  }
}

/** A whole picture as red, green, blue and alpha. */
export function toRgba(resource: Pixels): Uint8Array {
  const { width, height } = resource;
  const picture = { width, height, rgba: new Uint8Array(width * height * 4) };
  const all = { x: 0, y: 0, width, height };
  show(resource, all, all, picture);
  return picture.rgba;
}

/** Lays a pointer's image over a picture. */
export function overlay(picture: Picture, image: Uint8Array, left: number, top: number): void {
  for (let y = 0; y < GPU_CURSOR_SIZE && top + y < picture.height; y++) {
    for (let x = 0; x < GPU_CURSOR_SIZE && left + x < picture.width; x++) {
      const from = (y * GPU_CURSOR_SIZE + x) * 4;
      const to = ((top + y) * picture.width + left + x) * 4;
      const alpha = image[from + 3]! / 255;
      for (let c = 0; c < 3; c++) {
        picture.rgba[to + c] = Math.round(
          image[from + c]! * alpha + picture.rgba[to + c]! * (1 - alpha),
        );
      }
    }
  }
}
