/** A 5 by 7 font: five columns a glyph, the lowest bit on top. */
const FONT: Readonly<Record<string, string>> = {
  A: "7e1111117e",
  B: "7f49494936",
  C: "3e41414122",
  D: "7f4141221c",
  E: "7f49494941",
  F: "7f09090901",
  G: "3e4149497a",
  H: "7f0808087f",
  I: "00417f4100",
  J: "2040413f01",
  K: "7f08142241",
  L: "7f40404040",
  M: "7f020c027f",
  N: "7f0408107f",
  O: "3e4141413e",
  P: "7f09090906",
  Q: "3e4151215e",
  R: "7f09192946",
  S: "4649494931",
  T: "01017f0101",
  U: "3f4040403f",
  V: "1f2040201f",
  W: "3f4038403f",
  X: "6314081463",
  Y: "0708700807",
  Z: "6151494543",
  "0": "3e5149453e",
  "1": "00427f4000",
  "2": "4261514946",
  "3": "2141454b31",
  "4": "1814127f10",
  "5": "2745454539",
  "6": "3c4a494930",
  "7": "0171090503",
  "8": "3649494936",
  "9": "064949291e",
  " ": "0000000000",
  ".": "0060600000",
  ",": "0050300000",
  ":": "0036360000",
  "-": "0808080808",
  "/": "2010080402",
  "!": "00005f0000",
  "?": "0201510906",
  "(": "001c224100",
  ")": "0041221c00",
  "+": "08083e0808",
  "=": "1414141414",
};
const GLYPH = { width: 6, height: 8 };

/** A colour: red, green and blue, 0 to 255 each. */
export type Colour = readonly [red: number, green: number, blue: number];

/** The eight colours of a test card's bars, from white to black. */
export const BARS: readonly Colour[] = [
  [255, 255, 255],
  [255, 255, 0],
  [0, 255, 255],
  [0, 255, 0],
  [255, 0, 255],
  [255, 0, 0],
  [0, 0, 255],
  [0, 0, 0],
];

/**
 * A surface to draw on: pixels in four bytes each, row after row.
 *
 * @example
 * ```ts
 * import { Canvas } from "@vireo/drivers/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * const canvas = new Canvas(new Uint8Array(4 * 4 * 4), 4, 4, [2, 1, 0, -1]);
 * canvas.fill(1, 1, 2, 2, [255, 0, 0]);
 * assertEquals([canvas.at(1, 1), canvas.at(0, 0)], [[255, 0, 0], [0, 0, 0]]);
 * ```
 */
export class Canvas {
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  readonly #bytes: Uint8Array;
  readonly #channels: readonly [number, number, number, number];

  /**
   * Draws on memory.
   *
   * @param channels Where red, green, blue and alpha are in a pixel; alpha -1 for none.
   */
  constructor(
    bytes: Uint8Array,
    width: number,
    height: number,
    channels: readonly [number, number, number, number],
  ) {
    this.#bytes = bytes;
    this.width = width;
    this.height = height;
    this.#channels = channels;
  }

  /** Fills a rectangle; what is outside is left out. */
  fill(x: number, y: number, width: number, height: number, colour: Colour): this {
    const [r, g, b, a] = this.#channels;
    const [right, bottom] = [Math.min(x + width, this.width), Math.min(y + height, this.height)];
    for (let row = Math.max(0, y); row < bottom; row++) {
      for (let column = Math.max(0, x); column < right; column++) {
        const at = (row * this.width + column) * 4;
        this.#bytes[at + r] = colour[0];
        this.#bytes[at + g] = colour[1];
        this.#bytes[at + b] = colour[2];
        if (a >= 0) this.#bytes[at + a] = 255;
      }
    }
    return this;
  }

  /** The colour of a pixel. */
  at(x: number, y: number): Colour {
    const [r, g, b] = this.#channels;
    const at = (y * this.width + x) * 4;
    return [this.#bytes[at + r]!, this.#bytes[at + g]!, this.#bytes[at + b]!];
  }

  /** Writes text in capitals; a character that the font lacks is a question mark. */
  text(x: number, y: number, words: string, colour: Colour, scale = 1): this {
    [...words.toUpperCase()].forEach((character, i) => {
      const columns = FONT[character] ?? FONT["?"]!;
      for (let column = 0; column < 5; column++) {
        const bits = parseInt(columns.slice(column * 2, column * 2 + 2), 16);
        for (let row = 0; row < 7; row++) {
          if ((bits >> row & 1) === 0) continue;
          const left = x + (i * GLYPH.width + column) * scale;
          this.fill(left, y + row * scale, scale, scale, colour);
        }
      }
    });
    return this;
  }

  /** Draws a test card: bars, a ramp of grey, a border, and words. */
  testCard(words: string): this {
    const { width, height } = this;
    const bar = Math.ceil(width / BARS.length);
    const edge = Math.floor(height * 3 / 4);
    BARS.forEach((colour, i) => this.fill(i * bar, 0, bar, edge, colour));
    for (let x = 0; x < width; x++) {
      const grey = Math.floor(x * 256 / width);
      this.fill(x, edge, 1, height - edge, [grey, grey, grey]);
    }
    const white: Colour = [255, 255, 255];
    for (
      const [x, y, w, h] of [
        [0, 0, width, 1],
        [0, height - 1, width, 1],
        [0, 0, 1, height],
        [width - 1, 0, 1, height],
      ] as const
    ) this.fill(x, y, w, h, white);
    const scale = Math.max(1, Math.floor(width / (words.length + 2) / GLYPH.width));
    const left = Math.floor((width - words.length * GLYPH.width * scale) / 2);
    const top = Math.floor(edge / 2 - GLYPH.height * scale / 2);
    this.fill(left - scale, top - scale, words.length * GLYPH.width * scale + scale, 9 * scale, [
      ...[0, 0, 0] as const,
    ]);
    return this.text(left, top, words, white, scale);
  }
}
