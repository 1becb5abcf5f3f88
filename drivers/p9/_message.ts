import { P9_QID, P9MessageWriter, P9QidType, VireoError } from "@vireo/hal";

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
  /** Its type. */
  readonly type: number;

  /** Begins a request. @param type A value of `P9Type`. */
  constructor(type: number) {
    super();
    this.type = type;
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
        expected: `at least ${at + length}`,
      });
    }
    this.#at = at + length;
    return at;
  }
}
