import { assertEquals } from "@std/assert";
import { Canvas, type Colour } from "./canvas.ts";

function canvas(width: number, height: number): Canvas {
  return new Canvas(new Uint8Array(width * height * 4), width, height, [2, 1, 0, 3]);
}

/** The rows of a canvas, with a mark for each pixel that is not black. */
function art(canvas: Canvas): string[] {
  return Array.from({ length: canvas.height }, (_, y) =>
    Array.from(
      { length: canvas.width },
      (_, x) => canvas.at(x, y).some((value) => value > 0) ? "#" : ".",
    ).join(""));
}

Deno.test("canvas: a rectangle is cut at each side", () => {
  const cases = [
    [[1, 1, 2, 1], ["....", ".##.", "...."]],
    [[-1, -1, 3, 2], ["##..", "....", "...."]],
    [[3, 2, 5, 5], ["....", "....", "...#"]],
    [[-2, 1, 9, 1], ["....", "####", "...."]],
    [[-2, 0, 2, 3], ["....", "....", "...."]],
    [[4, 0, 2, 3], ["....", "....", "...."]],
    [[0, 3, 4, 1], ["....", "....", "...."]],
  ] as const;
  for (const [[x, y, width, height], expected] of cases) {
    assertEquals(art(canvas(4, 3).fill(x, y, width, height, [1, 2, 3])), [...expected]);
  }
});

Deno.test("canvas: colours are where the format has them", () => {
  for (
    const [channels, expected] of [
      [[2, 1, 0, 3], [30, 20, 10, 255]],
      [[0, 1, 2, -1], [10, 20, 30, 7]],
      [[1, 2, 3, 0], [255, 10, 20, 30]],
    ] as const
  ) {
    const bytes = new Uint8Array(8).fill(7);
    const drawn = new Canvas(bytes, 2, 1, channels).fill(1, 0, 1, 1, [10, 20, 30]);
    assertEquals([[...bytes], drawn.at(1, 0)], [[7, 7, 7, 7, ...expected], [10, 20, 30]]);
  }
});

Deno.test("canvas: text is in capitals of 5 by 7, of any size; what the font lacks is a question mark", () => {
  const drawn = (words: string, scale?: number) =>
    art(canvas(13 * (scale ?? 1), 9 * (scale ?? 1)).text(1, 1, words, [1, 1, 1], scale));
  const once = drawn("lt");
  assertEquals(once, [
    ".............",
    ".#.....#####.",
    ".#.......#...",
    ".#.......#...",
    ".#.......#...",
    ".#.......#...",
    ".#.......#...",
    ".#####...#...",
    ".............",
  ]);
  assertEquals(drawn("LT"), once);
  assertEquals(drawn("\u00e9"), drawn("?"));
  // Twice the size, but for the margin.
  const doubled = once.slice(1).flatMap((row) => {
    const wide = "." + [...row.slice(1)].map((pixel) => pixel + pixel).join("");
    return [wide, wide];
  });
  assertEquals(
    drawn("lt", 2).slice(1, 15).map((row) => row.slice(0, 24)),
    doubled.slice(0, 14).map((row) => row.slice(0, 24)),
  );
});

Deno.test("canvas: a test card has bars, a ramp of grey, a border and words in a box", () => {
  const card = canvas(80, 40).testCard("LT");
  const white: Colour = [255, 255, 255];
  const row = (y: number) => Array.from({ length: 8 }, (_, i) => card.at(i * 10 + 5, y));
  const bars: Colour[] = [
    white,
    [255, 255, 0],
    [0, 255, 255],
    [0, 255, 0],
    [255, 0, 255],
    [255, 0, 0],
    [0, 0, 255],
    [0, 0, 0],
  ];
  // They take three quarters; the ramp begins below them.
  assertEquals([row(28), row(29)], [bars, bars]);
  assertEquals([card.at(1, 30), card.at(15, 30), card.at(78, 38)], [
    [3, 3, 3],
    [48, 48, 48],
    [249, 249, 249],
  ]);
  for (const [x, y] of [[0, 5], [79, 5], [75, 0], [3, 39], [79, 39]] as const) {
    assertEquals(card.at(x, y), white);
  }
  assertEquals([card.at(1, 5), card.at(78, 5), card.at(75, 1)], [white, [0, 0, 0], [0, 0, 0]]);
  // The box is as wide as the words, three times the font's size, and a margin.
  const black = [0, 0, 0];
  assertEquals([card.at(18, 3), card.at(19, 3), card.at(57, 3), card.at(58, 3)], [
    [255, 255, 0],
    black,
    black,
    [255, 0, 0],
  ]);
  assertEquals([card.at(20, 26), card.at(20, 27)], [black, [0, 255, 255]]);
  const words = canvas(11, 7).text(0, 0, "LT", white);
  const seen = Array.from(
    { length: 7 },
    (_, y) => Array.from({ length: 11 }, (_, x) => card.at(22 + 3 * x, 3 + 3 * y)),
  );
  assertEquals(
    seen,
    seen.map((line, y) => line.map((_, x) => words.at(x, y))),
  );
});
