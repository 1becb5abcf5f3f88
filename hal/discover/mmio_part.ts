import { hex, type Mmio } from "@vireo/hal";

/**
 * A part of a register window; offsets count from the start of the part.
 *
 * @example
 * ```ts
 * import { FileMmio, MmioPart } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * await Deno.writeFile(path, Uint8Array.from({ length: 64 }, (_, i) => i));
 * using whole = new FileMmio("all", path);
 * const part = new MmioPart("a part", whole, 16, 8);
 * assertEquals([part.size, part.read8(0), part.read32(4)], [8, 16, 0x17161514]);
 * await Deno.remove(path);
 * ```
 */
export class MmioPart implements Mmio {
  /** Name for messages. */
  readonly name: string;
  /** Bytes of the part. */
  readonly size: number;
  readonly #whole: Mmio;
  readonly #start: number;

  /**
   * Makes a window of `size` bytes from `start` of the whole.
   */
  constructor(name: string, whole: Mmio, start: number, size: number) {
    this.name = name;
    this.size = size;
    this.#whole = whole;
    this.#start = start;
  }

  /** Implements {@linkcode Mmio.read8}. @throws {RangeError} If the access is outside. */
  read8(offset: number): number {
    return this.#whole.read8(this.#at(offset, 1));
  }

  /** Implements {@linkcode Mmio.read16}. @throws {RangeError} If the access is outside. */
  read16(offset: number): number {
    return this.#whole.read16(this.#at(offset, 2));
  }

  /** Implements {@linkcode Mmio.read32}. @throws {RangeError} If the access is outside. */
  read32(offset: number): number {
    return this.#whole.read32(this.#at(offset, 4));
  }

  /** Implements {@linkcode Mmio.write8}. @throws {RangeError} If the access is outside. */
  write8(offset: number, value: number): void {
    this.#whole.write8(this.#at(offset, 1), value);
  }

  /** Implements {@linkcode Mmio.write16}. @throws {RangeError} If the access is outside. */
  write16(offset: number, value: number): void {
    this.#whole.write16(this.#at(offset, 2), value);
  }

  /** Implements {@linkcode Mmio.write32}. @throws {RangeError} If the access is outside. */
  write32(offset: number, value: number): void {
    this.#whole.write32(this.#at(offset, 4), value);
  }

  #at(offset: number, width: number): number {
    checkAccess(this, offset, width);
    return this.#start + offset;
  }
}

/**
 * Refuses an access that is misaligned or outside a window.
 *
 * @throws {RangeError} If it is.
 *
 * @example
 * ```ts
 * import { checkAccess } from "@vireo/hal/discover";
 * import { assertThrows } from "@std/assert";
 *
 * checkAccess({ size: 256 }, 252, 4);
 * assertThrows(() => checkAccess({ size: 256 }, 254, 4), RangeError, "expected a multiple of 4");
 * ```
 */
export function checkAccess({ size }: Pick<Mmio, "size">, offset: number, width: number): void {
  if (offset >= 0 && offset + width <= size && offset % width === 0) return;
  throw new RangeError(
    `Cannot access ${width} bytes at offset ${hex(offset)}: ` +
      `expected a multiple of ${width} inside the window of ${size} bytes`,
  );
}
