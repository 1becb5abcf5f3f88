import { P9MessageWriter, P9QidType, shortAscii, VireoError } from "@vireo/hal";

const HIGH = 2 ** 32;
const decoder = new TextDecoder();

/** Names a file on its server, while the server runs. */
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
export class P9Writer extends P9MessageWriter {
  static readonly #only = new P9Writer();
  #type = 0;

  /**
   * Begins a request. All requests have one writer, so nothing may be awaited before it is sent: the session
   * copies it then.
   *
   * @param type A value of `P9Type`.
   */
  static begin(type: number): P9Writer {
    const writer = P9Writer.#only.clear();
    writer.#type = type;
    return writer;
  }

  /** Its type. */
  get type(): number {
    return this.#type;
  }
}

/** Reads an answer, or the entries of a directory; what it says of itself is only a claim. */
export class P9Reader {
  // Read byte by byte: a view of each answer would cost more than its fields.
  readonly #bytes: Uint8Array;
  #start = 0;
  #at = 0;
  #end: number;
  #total: number;

  /** Reads bytes from the first one on. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = this.#total = bytes.length;
  }

  /**
   * Begins with another answer in the same bytes.
   *
   * @param at Its first byte.
   * @param length Its bytes here.
   * @param total Bytes that the device wrote in all.
   */
  begin(at: number, length: number, total: number): void {
    this.#start = this.#at = at;
    this.#end = at + length;
    this.#total = total;
  }

  /** A reader of the same with bytes of its own. */
  copy(): P9Reader {
    const copy = new P9Reader(this.#bytes.slice(this.#start, this.#end));
    copy.#at = this.#at - this.#start;
    return copy;
  }

  /** Bytes that the device wrote in all: these, and data behind them in memory of its own. */
  get total(): number {
    return this.#total;
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** Takes 8 bits. @throws {VireoError} `BAD_LENGTH` If the message ends before; so do the others. */
  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  /** Takes 16 bits. */
  u16(): number {
    const at = this.#take(2);
    return this.#bytes[at]! | this.#bytes[at + 1]! << 8;
  }

  /** Takes 32 bits. */
  u32(): number {
    const bytes = this.#bytes;
    const at = this.#take(4);
    const high = bytes[at + 2]! | bytes[at + 3]! << 8;
    return (bytes[at]! | bytes[at + 1]! << 8 | high << 16) >>> 0;
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
    return shortAscii(this.#bytes, at, length) ??
      decoder.decode(this.#bytes.subarray(at, at + length));
  }

  /** Takes a qid. */
  qid(): P9Qid {
    const type = this.u8();
    const version = this.u32();
    const low = this.u32().toString(16);
    const high = this.u32();
    const path = high === 0 ? low : high.toString(16) + low.padStart(8, "0");
    return { type, version, path: `0x${path}` };
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#end) {
      throw new VireoError("BAD_LENGTH", "9P answer ends in the middle of a field", {
        seen: `${this.#end - this.#start} bytes`,
        expected: `at least ${at + length - this.#start}`,
      });
    }
    this.#at = at + length;
    return at;
  }
}
