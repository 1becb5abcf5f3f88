import { P9_HEADER, P9_MAX_NAME, P9Errno } from "@vireo/hal";
import { P9Refusal } from "./export.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Reads a request, of which nothing is believed: what is not there is refused with EINVAL. */
export class RequestReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = P9_HEADER.SIZE;

  /** Reads a message after its header. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Takes 16 bits. */
  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  /** Takes 32 bits. */
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** Takes 64 bits. @throws {P9Refusal} If they are over 2^53 - 1. */
  u64(): number {
    const low = this.u32();
    const value = this.u32() * 2 ** 32 + low;
    if (!Number.isSafeInteger(value)) throw new P9Refusal(P9Errno.EINVAL);
    return value;
  }

  /** Passes over bytes. */
  skip(length: number): void {
    this.#take(length);
  }

  /** Takes text. */
  text(): string {
    const length = this.u16();
    const at = this.#take(length);
    try {
      return decoder.decode(this.#bytes.subarray(at, at + length));
    } catch {
      throw new P9Refusal(P9Errno.EINVAL);
    }
  }

  /** Takes a name in a directory; `.` and `..` are none. */
  name(): string {
    const length = this.u16();
    const at = this.#take(length);
    if (length > P9_MAX_NAME) throw new P9Refusal(P9Errno.ENAMETOOLONG);
    this.#at = at - 2;
    const name = this.text();
    if (name === "." || name === "..") throw new P9Refusal(P9Errno.EEXIST);
    if (!isName(name)) throw new P9Refusal(P9Errno.EINVAL);
    return name;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new P9Refusal(P9Errno.EINVAL);
    this.#at = at + length;
    return at;
  }
}

/** Whether it can be the name of something in a directory. */
export function isName(name: string): boolean {
  return name !== "" && !name.includes("/") && !name.includes("\0");
}

/** Writes an answer. */
export class AnswerWriter {
  #bytes: Uint8Array = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = P9_HEADER.SIZE;

  /** Bytes so far. */
  get length(): number {
    return this.#at;
  }

  /** Appends 8 bits. */
  u8(value: number): this {
    // Taking may replace the view.
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

  /** Appends text. */
  text(value: string): this {
    const bytes = encoder.encode(value);
    return this.u16(bytes.length).bytes(bytes);
  }

  /** Forgets what was appended. */
  clear(): this {
    this.#at = P9_HEADER.SIZE;
    return this;
  }

  /** Ends the answer: a view that is valid until the next one is begun. */
  finish(type: number, tag: number, more = 0): Uint8Array {
    this.#view.setUint32(P9_HEADER.length.offset, this.#at + more, true);
    this.#view.setUint8(P9_HEADER.type.offset, type);
    this.#view.setUint16(P9_HEADER.tag.offset, tag, true);
    return this.#bytes.subarray(0, this.#at);
  }

  #take(length: number): number {
    const at = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }
}
