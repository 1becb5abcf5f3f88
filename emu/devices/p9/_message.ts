import { P9_HEADER, P9_MAX_NAME, P9Errno, shortAscii } from "@vireo/hal";
import { P9Refusal } from "./export.ts";

// A name may begin with a byte order mark, which is kept.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a request, of which nothing is believed: what is not there is refused with EINVAL. */
export class RequestReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = P9_HEADER.SIZE;
  #end = 0;

  /** Reads the messages that are put into these bytes, one after the other. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Begins after the header of a message of so many bytes. */
  begin(length: number): this {
    this.#at = P9_HEADER.SIZE;
    this.#end = length;
    return this;
  }

  /** Takes 8 bits. */
  u8(): number {
    return this.#view.getUint8(this.#take(1));
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

  /** Takes text. */
  text(): string {
    const length = this.u16();
    const at = this.#take(length);
    const short = shortAscii(this.#bytes, at, length);
    if (short !== undefined) return short;
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
    if (at + length > this.#end) throw new P9Refusal(P9Errno.EINVAL);
    this.#at = at + length;
    return at;
  }
}

/** Whether it can be the name of something in a directory. */
export function isName(name: string): boolean {
  return name !== "" && !name.includes("/") && !name.includes("\0");
}
