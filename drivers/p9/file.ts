import { type DmaRegion, P9OpenFlag, P9Type, VireoError } from "@vireo/hal";
import { type WaitOptions, within } from "../wait/mod.ts";
import { getAttributes, setAttributes } from "./_attributes.ts";
import { getLock, lock, type P9Lock, type P9LockResult } from "./_locks.ts";
import { P9Writer } from "./_message.ts";
import type { P9Data, P9Session } from "./_session.ts";

/** Most bytes of a file that is read whole, unless told otherwise. */
const READ_LIMIT = 1 << 30;

/** How to read a whole file. */
export interface P9ReadOptions extends WaitOptions {
  /** Most bytes that it may have; 1 GiB by default. */
  readonly limit?: number;
}

/** Where data of the device's goes. */
export interface P9Target extends WaitOptions {
  /** First byte in the file. */
  readonly offset: number;
  /** How many bytes. */
  readonly length: number;
  /** First byte in the region; 0 by default. */
  readonly at?: number;
  /**
   * Called once when the device has given the region back. After an abort or a deadline that may be
   * later than the rejection, and the region must not be freed before.
   */
  readonly onReturned?: () => void;
}

/**
 * An open file of a server.
 *
 * @example
 * ```ts
 * import type { P9File } from "@vireo/drivers/p9";
 *
 * // Appends bytes and returns the new size.
 * async function append(file: P9File, bytes: Uint8Array): Promise<number> {
 *   await file.write(await file.size(), bytes);
 *   return await file.size();
 * }
 * ```
 */
export class P9File implements AsyncDisposable {
  /** Most bytes of one message. */
  readonly chunk: number;
  readonly #session: P9Session;
  readonly #fid: number;
  #closed = false;

  /** Wraps a fid that was opened. @param ioUnit Most bytes of a message, as the server wants it; or 0. */
  constructor(session: P9Session, fid: number, ioUnit: number) {
    this.#session = session;
    this.#fid = fid;
    this.chunk = Math.min(session.chunk, ioUnit || session.chunk);
  }

  /**
   * Reads; several messages are under way at once where it takes more than one.
   *
   * @returns Fewer bytes than asked for only at the file's end.
   * @throws {P9Error} If the server refuses it. {VireoError} `TIMEOUT`, `BAD_LENGTH` or why the device
   * failed; the signal's reason. {RangeError} If the numbers are none of a file.
   */
  async read(offset: number, length: number, options: WaitOptions = {}): Promise<Uint8Array> {
    checkRange(offset, length);
    const call = within(options);
    const into = new Uint8Array(length);
    if (length <= this.chunk) {
      const got = await this.#fill(offset, into, call);
      return got === length ? into : into.subarray(0, got);
    }
    const parts: Promise<number>[] = [];
    for (let at = 0; at < length; at += this.chunk) {
      const part = into.subarray(at, at + this.chunk);
      parts.push(this.#fill(offset + at, part, call));
    }
    return into.subarray(0, contiguous(await settle(parts), this.chunk));
  }

  /**
   * Reads into memory that the device can reach, without a copy.
   *
   * @param region Memory of the machine's `dma`.
   * @returns How many bytes there were; fewer than asked for only at the file's end.
   * @throws As {@linkcode P9File.read}.
   */
  async readInto(region: DmaRegion, target: P9Target): Promise<number> {
    const { offset, length, at = 0, onReturned } = target;
    checkRange(offset, length);
    if (at < 0 || at + length > region.bytes.length) {
      throw new RangeError(
        `Cannot read ${length} bytes to byte ${at}: the region has ${region.bytes.length}`,
      );
    }
    const call = within(target);
    let owners = 1;
    const release = (): void => {
      if (--owners === 0) onReturned?.();
    };
    const fill = async (from: number, size: number): Promise<number> => {
      let done = 0;
      while (done < size) {
        owners++;
        const got = await this.#receive(
          offset + from + done,
          {
            region,
            offset: at + from + done,
            length: size - done,
            direction: "from-device",
          },
          call,
          release,
        );
        if (got === 0) break;
        done += got;
      }
      return done;
    };
    const parts: Promise<number>[] = [];
    for (let from = 0; from < length; from += this.chunk) {
      parts.push(fill(from, Math.min(this.chunk, length - from)));
    }
    try {
      return contiguous(await settle(parts), this.chunk);
    } finally {
      release();
    }
  }

  /**
   * Reads from an offset to the file's end, wherever that is.
   *
   * @throws {VireoError} `OUT_OF_RANGE` If there is more than the limit; else as {@linkcode P9File.read}.
   */
  async readToEnd(offset = 0, options: P9ReadOptions = {}): Promise<Uint8Array> {
    const { limit = READ_LIMIT } = options;
    const call = within(options);
    // The size is the server's word: memory is taken as the data comes.
    const parts: Uint8Array[] = [];
    let total = 0;
    let expected = Math.max(0, await this.size(call) - offset);
    for (;;) {
      const length = Math.min(Math.max(expected - total, 1), 64 * this.chunk);
      const part = await this.read(offset + total, length, call);
      if (part.length > 0) parts.push(part);
      total += part.length;
      if (total > limit) {
        throw new VireoError("OUT_OF_RANGE", "Cannot read the whole 9P file", {
          device: this.#session.name,
          expected: `at most ${limit} bytes`,
        });
      }
      if (part.length < length) break;
      // It may have grown, or be one that has no size.
      if (total >= expected) expected = total + this.chunk;
    }
    if (parts.length === 1) return parts[0]!;
    const all = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /**
   * Writes all bytes; several messages are under way at once where it takes more than one.
   *
   * @throws As {@linkcode P9File.read}; some of it may have been written then.
   */
  async write(offset: number, bytes: Uint8Array, options: WaitOptions = {}): Promise<void> {
    checkRange(offset, bytes.length);
    const call = within(options);
    if (bytes.length <= this.chunk) return void await this.#drain(offset, bytes, call);
    const parts: Promise<number>[] = [];
    for (let at = 0; at < bytes.length; at += this.chunk) {
      parts.push(this.#drain(offset + at, bytes.subarray(at, at + this.chunk), call));
    }
    await settle(parts);
  }

  /** Asks how many bytes it has. */
  async size(options: WaitOptions = {}): Promise<number> {
    return (await getAttributes(this.#session, this.#fid, options)).size;
  }

  /** Makes it this many bytes long. */
  async truncate(size: number, options: WaitOptions = {}): Promise<void> {
    checkRange(size, 0);
    await setAttributes(this.#session, this.#fid, { size }, options);
  }

  /**
   * Asks for a lock of a range, or gives it back. Nothing waits: a caller that is told `blocked` asks again.
   * Closing the file gives its locks back.
   *
   * @throws {RangeError} If a number is out of its range, and as {@linkcode P9File.read}.
   */
  lock(wanted: P9Lock, options: WaitOptions = {}): Promise<P9LockResult> {
    return lock(this.#session, this.#fid, wanted, options);
  }

  /**
   * Asks whether a lock could be had.
   *
   * @returns The lock that is in its way; undefined if none is.
   * @throws As {@linkcode P9File.lock}.
   */
  getLock(wanted: P9Lock, options: WaitOptions = {}): Promise<Required<P9Lock> | undefined> {
    return getLock(this.#session, this.#fid, wanted, options);
  }

  /** Makes what was written durable. */
  async sync(options: WaitOptions = {}): Promise<void> {
    await this.#session.call(P9Writer.begin(P9Type.FSYNC).u32(this.#fid).u32(0), 0, options);
  }

  /** Closes it; more than once does no harm. @throws As {@linkcode P9File.read}. */
  async close(options: WaitOptions = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#session.clunk(this.#fid, options);
  }

  /** Closes it; one whose device is gone is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  /** Fills a part as far as the file goes. */
  async #fill(offset: number, into: Uint8Array, options: WaitOptions): Promise<number> {
    const { payloads } = this.#session;
    let done = 0;
    while (done < into.length) {
      const region = await payloads.take(options);
      const length = into.length - done;
      // The last user gives it back: the device, or the copy.
      let owners = 2;
      const release = (): void => {
        if (--owners === 0) payloads.give(region);
      };
      try {
        const data = { region, offset: 0, length, direction: "from-device" } as const;
        const got = await this.#receive(offset + done, data, options, release);
        if (got === 0) break;
        into.set(region.bytes.subarray(0, got), done);
        region.copied?.(got);
        done += got;
      } finally {
        release();
      }
    }
    return done;
  }

  /** One Tread. */
  #receive(
    offset: number,
    into: P9Data,
    options: WaitOptions,
    onReturned: () => void,
  ): Promise<number> {
    const message = P9Writer.begin(P9Type.READ).u32(this.#fid).u64(offset).u32(into.length);
    return this.#session.read(message, into, options, onReturned);
  }

  async #drain(offset: number, bytes: Uint8Array, options: WaitOptions): Promise<number> {
    const { payloads } = this.#session;
    for (let done = 0; done < bytes.length;) {
      const region = await payloads.take(options);
      const length = bytes.length - done;
      region.bytes.set(bytes.subarray(done));
      region.copied?.(length);
      const send = { region, offset: 0, length, direction: "to-device" } as const;
      const onReturned = (): void => payloads.give(region);
      const message = P9Writer.begin(P9Type.WRITE).u32(this.#fid).u64(offset + done).u32(length);
      const answer = await this.#session.call(message, 4, options, { send, onReturned });
      const count = answer.u32();
      if (count === 0 || count > length) {
        throw this.#session.error("BAD_LENGTH", "9P server wrote another length", count);
      }
      done += count;
    }
    return bytes.length;
  }
}

/** Whether flags ask to make the file. */
export function creates(flags: number): boolean {
  return (flags & P9OpenFlag.CREATE) !== 0;
}

/** Bytes from the first part on without a gap. */
function contiguous(lengths: readonly number[], chunk: number): number {
  const short = lengths.findIndex((length) => length < chunk);
  return short < 0 ? lengths.length * chunk : short * chunk + lengths[short]!;
}

function checkRange(offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(offset + length)) {
    throw new RangeError(
      `Cannot use ${length} bytes at offset ${offset}: expected integers from 0 to 2^53-1`,
    );
  }
}

/** Waits for all, so that none is under way any more, then throws what the first threw. */
async function settle(parts: readonly Promise<number>[]): Promise<number[]> {
  const results = await Promise.allSettled(parts);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}
