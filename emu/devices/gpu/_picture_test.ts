import { assertEquals } from "@std/assert";
import { overlay } from "./_picture.ts";

const SIDE = 64;

Deno.test("gpu picture: a pointer is mixed into what is below it by its alpha, and ends at the border", () => {
  const picture = { width: 4, height: 2, rgba: new Uint8Array(4 * 2 * 4).fill(100) };
  const image = new Uint8Array(SIDE * SIDE * 4);
  const put = (x: number, y: number, ...rgba: number[]): void =>
    image.set(rgba, (y * SIDE + x) * 4);
  put(0, 0, 200, 0, 50, 255);
  put(1, 0, 200, 0, 50, 51);
  put(0, 1, 200, 0, 50, 0);
  // Outside of the picture.
  put(2, 0, 9, 9, 9, 255);
  put(0, 2, 9, 9, 9, 255);
  overlay(picture, image, 2, 0);
  const pixel = (x: number, y: number): number[] =>
    [...picture.rgba.subarray((y * 4 + x) * 4)]
      .slice(0, 4);
  assertEquals([pixel(2, 0), pixel(3, 0), pixel(2, 1)], [
    [200, 0, 50, 100],
    // A fifth of the pointer and four of the picture.
    [120, 80, 90, 100],
    [100, 100, 100, 100],
  ]);
  assertEquals(
    [pixel(0, 0), pixel(1, 0), pixel(0, 1), pixel(3, 1)],
    Array(4).fill(Array(4).fill(100)),
  );
});
