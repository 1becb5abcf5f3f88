import { VireoError } from "@vireo/hal";
import type { MmioSlot } from "./slot.ts";

/** The most slots that one `--mmio` may name. */
const MAX_COUNT = 4096;

/**
 * Parses `BASE,SIZE,COUNT`: slots of the same size, one after the other.
 *
 * @param text Three numbers, decimal or `0x` hex; COUNT may be missing and is then 1.
 * @throws {VireoError} `CONFIG_INVALID` If the text has another form.
 *
 * @example
 * ```ts
 * import { parseMmioOption } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const slots = parseMmioOption("0x0a000000,0x200,2");
 * assertEquals(slots.map(({ base }) => base), [0x0a00_0000, 0x0a00_0200]);
 * ```
 */
export function parseMmioOption(text: string): MmioSlot[] {
  const words = text.split(",");
  const [base = NaN, size = NaN, count = 1] = words.map((word) =>
    /^(?:0[xX][0-9a-fA-F]+|\d+)$/.test(word) ? Number(word) : NaN
  );
  const fits = Number.isSafeInteger(base + size * count) && size >= 0x100 && base % 4 === 0 &&
    count >= 1 && count <= MAX_COUNT && words.length <= 3;
  if (!fits) {
    throw new VireoError("CONFIG_INVALID", "Cannot use these register windows", {
      device: "--mmio",
      seen: text,
      expected: "BASE,SIZE,COUNT with SIZE from 0x100, for example 0x0a000000,0x200,32",
    });
  }
  return Array.from({ length: count }, (_, i) => ({ base: base + i * size, size, irq: undefined }));
}
