import { P9_HEADER, P9_QID, P9QidType, VireoError } from "@vireo/hal";

/** Room of a message at first. */
const INITIAL = 128;
const HIGH = 2 ** 32;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What names a file on its server, while the server runs. */
export interface P9Qid {
  /** Bits of `P9QidType`. */
  readonly type: number;
  /** Changes with the file's contents, where the server knows; else 0. */
  readonly version: number;
  /** The file's number in hex: 64 bits. */
  readonly path: string;
}

/** Whether a qid is of a symbolic link. */
export function isSymlink({ type }: P9Qid): boolean {
  return (type & P9QidType.SYMLINK) !== 0;
}

/** Whether a qid is of a directory. */
export function isDirectory({ type }: P9Qid): boolean {
  return (type & P9QidType.DIRECTORY) !== 0;
}

/** Writes a request. */
export class P9Writer {
  /** Its type. */
  readonly type: number;
  #bytes = new Uint8Array(INITIAL);
  #view = new DataView(this.#bytes.buffer);
  #at = P9_HEADER.SIZE;

  /** Begins a request. @param type A value of `P9Type`. */
  constructor(type: number) {
    this.type = type;
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
  u64(value: number): this {
    return this.u32(value % HIGH).u32(Math.floor(value / HIGH));
  }

  /** Appends text with its length. @throws {RangeError} If it is over 65535 bytes. */
  text(value: string): this {
    const bytes = encoder.encode(value);
    if (bytes.length > 0xffff) {
      throw new RangeError(`Cannot send text of ${bytes.length} bytes, at most 65535`);
    }
    this.u16(bytes.length);
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Ends the request. @param more Bytes that follow it from elsewhere. */
  finish(tag: number, more: number): Uint8Array {
    this.#view.setUint32(P9_HEADER.length.offset, this.#at + more, true);
    this.#view.setUint8(P9_HEADER.type.offset, this.type);
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

/** Reads an answer, or the entries of a directory; what it says of itself is only a claim. */
export class P9Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  /** Reads bytes from a place on. */
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Takes 8 bits. @throws {VireoError} `BAD_LENGTH` If the message ends before; so do the others. */
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

  /** Takes 64 bits; of what is over 2^53 the low ones are lost. */
  u64(): number {
    const low = this.u32();
    return this.u32() * HIGH + low;
  }

  /** Takes text with its length. */
  text(): string {
    const length = this.u16();
    const at = this.#take(length);
    return decoder.decode(this.#bytes.subarray(at, at + length));
  }

  /** Takes a qid. */
  qid(): P9Qid {
    const type = this.u8();
    const version = this.u32();
    const at = this.#take(P9_QID.path.size);
    return { type, version, path: `0x${this.#view.getBigUint64(at, true).toString(16)}` };
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) {
      throw new VireoError("BAD_LENGTH", "9P answer ends in the middle of a field", {
        seen: `${this.#bytes.length} bytes`,
        expected: `${at + length} at least`,
      });
    }
    this.#at = at + length;
    return at;
  }
}
