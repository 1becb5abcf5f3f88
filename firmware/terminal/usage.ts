/**
 * The command line was wrong: shown as one line, exit code 2.
 *
 * @example
 * ```ts
 * import { parseBlk, UsageError } from "@vireo/firmware";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(parseBlk("disk.img,ro").readOnly, true);
 * assertThrows(() => parseBlk("disk.img,rw"), UsageError, "got 'rw'");
 * ```
 */
export class UsageError extends Error {
  /** For `instanceof`-less checks and traces. */
  override name = "UsageError";
}

/** The board can be opened in a guest only: the command line has been found right by then. */
export class NeedsGuest extends UsageError {
  override name = "NeedsGuest";
}

/** The command ended with this exit code, in a guest: nothing is left to do. */
export class Finished extends Error {
  override name = "Finished";
  /** The exit code. */
  readonly exitCode: number;

  /** @param exitCode The command's exit code. */
  constructor(exitCode: number) {
    super(`Finished with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/**
 * Parses a size in bytes.
 *
 * @param text A whole number with an optional suffix `K`, `M` or `G` (powers of 1024), or hex `0x..`.
 * @param what What the number is, for the message.
 * @throws {UsageError} If it is not such a number.
 */
export function parseSize(text: string, what: string): number {
  const match = /^(0x[0-9a-f]+|\d+)([kmg])?$/i.exec(text);
  const unit = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[match?.[2]?.toLowerCase() ?? ""] ?? 1;
  const value = match?.[1] === undefined ? NaN : Number(match[1]) * unit;
  if (value > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(`${what}: expected at most ${Number.MAX_SAFE_INTEGER}, got ${text}`);
  }
  if (!Number.isSafeInteger(value)) {
    throw new UsageError(`${what}: expected a number such as 4096, 0x1000 or 64K, got '${text}'`);
  }
  return value;
}

/**
 * Parses a whole number within bounds.
 *
 * @throws {UsageError} If it is not one.
 */
export function parseCount(text: string, what: string, min = 0, max: number = 0xffffffff): number {
  const value = parseSize(text, what);
  if (value < min || value > max) {
    throw new UsageError(`${what}: expected ${min} to ${max}, got ${text}`);
  }
  return value;
}

/**
 * Parses an even number of hex digits to bytes; spaces and colons between bytes are allowed.
 *
 * @throws {UsageError} If there is anything else.
 */
export function parseHexBytes(text: string, what: string): Uint8Array {
  const digits = text.replaceAll(/[\s:]/g, "");
  if (digits.length === 0 || digits.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(digits)) {
    throw new UsageError(`${what}: expected pairs of hex digits, got '${text}'`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Why a board of QEMU refuses `--net hub`. */
export const NO_HUB = "QEMU has user, tap:NAME or none, got 'hub'";
