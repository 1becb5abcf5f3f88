import { P9_HEADER } from "./p9.ts";

/** Room of a message at first, in bytes. */
const INITIAL = 128;
const MAX_TEXT = 0xffff;
const encoder = new TextEncoder();

/**
 * Writes a 9P message, which grows as needed; the header is written last.
 *
 * @example
 * ```ts
 * import { P9MessageWriter } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const message = new P9MessageWriter().u32(8192).text("9P2000.L");
 * // A header of 7 bytes, the number, and the text behind its length.
 * assertEquals(message.length, 7 + 4 + 2 + 8);
 * ```
 */
export class P9MessageWriter {
  #bytes = new Uint8Array(INITIAL);
  #view = new DataView(this.#bytes.buffer);
  #at = P9_HEADER.SIZE;
  /** Views of finished messages by their length: most have one that came before. */
  #views: Uint8Array[] = [];

  /** Bytes so far, with the header. */
  get length(): number {
    return this.#at;
  }

  /** Appends 8 bits. */
  u8(value: number): this {
    // `#take` may replace the view.
    const at = this.#take(1);
    this.#view.setUint8(at, value);
    return this;
  }

  /** Appends 16 bits. */
  u16(value: number): this {
    const at = this.#take(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  /** Appends 32 bits. */
  u32(value: number): this {
    const at = this.#take(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  /** Appends 64 bits. */
  u64(value: number | bigint): this {
    // Most are small numbers, which need no bigint.
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
      return this.u32(value >>> 0).u32(Math.floor(value / 2 ** 32));
    }
    const at = this.#take(8);
    this.#view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  /** Appends bytes. */
  bytes(value: Uint8Array): this {
    const at = this.#take(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Appends text with its length. @throws {RangeError} If it is over 65535 bytes. */
  text(value: string): this {
    const start = this.#at;
    const at = this.#take(2 + value.length) + 2;
    if (value.length <= MAX_TEXT && writeAscii(value, this.#bytes, at)) {
      this.#view.setUint16(start, value.length, true);
      return this;
    }
    this.#at = start;
    const bytes = encoder.encode(value);
    if (bytes.length > MAX_TEXT) {
      throw new RangeError(
        `Cannot send text of ${bytes.length} bytes: expected at most ${MAX_TEXT}`,
      );
    }
    return this.u16(bytes.length).bytes(bytes);
  }

  /** Forgets what was appended. */
  clear(): this {
    this.#at = P9_HEADER.SIZE;
    return this;
  }

  /**
   * Ends the message.
   *
   * @param type A value of `P9Type`.
   * @param more Length in bytes of data that the caller sends after the message.
   * @returns A view that is valid until the next message is begun.
   */
  finish(type: number, tag: number, more = 0): Uint8Array {
    this.#view.setUint32(P9_HEADER.size.offset, this.#at + more, true);
    this.#view.setUint8(P9_HEADER.type.offset, type);
    this.#view.setUint16(P9_HEADER.tag.offset, tag, true);
    const length = this.#at;
    if (length > INITIAL) return this.#bytes.subarray(0, length);
    return this.#views[length] ??= this.#bytes.subarray(0, length);
  }

  #take(length: number): number {
    const at = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
      this.#views = [];
    }
    return at;
  }
}

/** Writes text as most names are, without an encoder; false if it is of other characters too. */
function writeAscii(text: string, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return false;
    bytes[at + i] = code;
  }
  return true;
}

/** Up to this many bytes of text are read one by one. */
const SHORT = 24;

/**
 * Reads text as most names are, without a decoder: of four letters one takes 270 ns, and this 20.
 *
 * @returns Undefined if it is longer than 24 bytes, or of other characters than ASCII's.
 *
 * @example
 * ```ts
 * import { shortAscii } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new TextEncoder().encode("file, größer");
 * assertEquals([shortAscii(bytes, 0, 4), shortAscii(bytes, 0, bytes.length)], ["file", undefined]);
 * ```
 */
export function shortAscii(bytes: Uint8Array, at: number, length: number): string | undefined {
  if (length > SHORT) return undefined;
  let text = "";
  for (let i = 0; i < length; i++) {
    const code = bytes[at + i]!;
    if (code > 0x7f) return undefined;
    text += String.fromCharCode(code);
  }
  return text;
}
