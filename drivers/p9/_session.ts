import {
  nameIn,
  P9_HEADER,
  P9_IO_HEADER,
  P9_MAX_WALK,
  P9_MIN_MSIZE,
  P9_NO_TAG,
  P9_QID,
  P9_VERSION,
  P9Errno,
  P9Type,
  VireoError,
  type VireoErrorCode,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { Answer, ExchangeOptions, Loan } from "../virtqueue/exchange.ts";
import { type Deadline, waitOn, type WaitOptions, within } from "../wait/mod.ts";
import { P9Error } from "./errors.ts";
import { type P9Qid, P9Reader, P9Writer } from "./_message.ts";
import { DEADLINE, Payloads } from "./_payloads.ts";

/** Most reads and writes that have memory at the same time. */
const WINDOW = 8;
/** Bytes of an Rlerror after the header. */
const ERROR_ROOM = 4;
/** Bytes of an Rread or Rreaddir before the data, after the header. */
const COUNT_ROOM = 4;

/** Sends a request and waits for the answer, as {@linkcode QueueDriver} does. */
type P9Ask = (
  parts: readonly (Uint8Array | Loan)[],
  room: readonly (number | Loan)[],
  options: ExchangeOptions,
) => Promise<Answer>;

/** Memory with data of a request or an answer. */
export type P9Data = Loan & { readonly length: number };

/** Data and options of a request, besides its message. */
interface P9Extra {
  /** Data that follows the message; at least a byte. */
  readonly send?: P9Data;
  /** Called once when the data's memory is the driver's again. */
  readonly onReturned?: () => void;
  /**
   * Called once when the request failed for its caller and the server is done with it: with the answer if
   * it succeeded after all, as may one that was given up.
   */
  readonly onFailed?: (answer: P9Reader | undefined) => void;
  /** The tag, for Tversion. */
  readonly tag?: number;
}

const NO_EXTRA: P9Extra = {};

/** The parts of its session that a {@linkcode Call} uses. */
interface CallHost {
  /** Checks an answer and reads its header. */
  answer(answer: Answer, call: Call): P9Reader;
  /** The tag is free. */
  release(tag: number): void;
  /** Has the server forget a request that its caller gave up. */
  flush(call: Call): void;
}

/** A request under way: the options of its exchange. */
class Call implements ExchangeOptions {
  readonly signal: Deadline["signal"];
  readonly deadline: Deadline["deadline"];
  readonly until: Deadline["until"];
  /** Value of `P9Type`. */
  readonly type: number;
  readonly tag: number;
  /** Most bytes of the answer. */
  readonly most: number;
  /** Whether the device is done with it. */
  #returned = false;
  readonly #extra: P9Extra;
  readonly #host: CallHost;
  /** The owners of the tag: the request, and the Tflush that follows it. */
  #holders = 1;

  constructor(
    type: number,
    tag: number,
    most: number,
    { signal, deadline, until }: Deadline,
    extra: P9Extra,
    host: CallHost,
  ) {
    this.type = type;
    this.tag = tag;
    this.most = most;
    this.signal = signal;
    this.deadline = deadline;
    this.until = until;
    this.#extra = extra;
    this.#host = host;
  }

  /** The tag has one more owner. */
  hold(): void {
    this.#holders++;
  }

  /** The tag has one owner less. */
  release(): void {
    if (--this.#holders === 0) this.#host.release(this.tag);
  }

  /** The device is done with it. */
  onReturned(): void {
    this.#returned = true;
    this.#extra.onReturned?.();
    this.release();
  }

  /** It failed for its caller; an answer may have come after all. */
  onFailed(late: Answer | undefined): void {
    if (this.#extra.onFailed === undefined) return;
    let answer: P9Reader | undefined;
    try {
      answer = late && this.#host.answer(late, this);
    } catch {
      // It was refused, or is no answer.
    }
    this.#extra.onFailed(answer);
  }

  /** It was answered in time. */
  readonly answered = (answer: Answer): P9Reader => {
    try {
      return this.#host.answer(answer, this);
    } catch (error) {
      this.#extra.onFailed?.(undefined);
      throw error;
    }
  };

  /** It failed for its caller. */
  readonly rejected = (error: unknown): never => {
    if (!this.#returned) this.#host.flush(this);
    throw error;
  };
}

/** Result of a walk. */
interface P9Walk {
  /** The new fid; of no use if the walk was not complete. */
  readonly fid: number;
  /** The file of each name, as far as the walk came. */
  readonly qids: readonly P9Qid[];
}

/** One conversation with a server, from Tversion to a reset: tags, fids and messages. */
export class P9Session {
  readonly #device: VirtioDevice;
  readonly #ask: P9Ask;
  readonly #asked: number;
  readonly #tags: number[] = [];
  #nextTag = 0;
  readonly #fids: number[] = [];
  #nextFid = 1;
  #msize = P9_MIN_MSIZE;
  #payloads: Payloads | undefined;
  #version: Promise<void> | undefined;
  #failure: Error | undefined;
  readonly #host: CallHost = {
    answer: (answer, call) => this.#answer(answer, call),
    release: (tag) => {
      if (tag !== P9_NO_TAG) this.#tags.push(tag);
    },
    flush: (call) => {
      call.hold();
      this.#flush(call.tag).finally(() => call.release());
    },
  };

  /** Makes a session. @param msize Size of messages to ask for, in bytes. */
  constructor(device: VirtioDevice, msize: number, ask: P9Ask) {
    this.#device = device;
    this.#asked = msize;
    this.#ask = ask;
  }

  /** Largest message, in bytes; 4096 before it was negotiated. */
  get msize(): number {
    return this.#msize;
  }

  /** Most data of one read or write, in bytes. */
  get chunk(): number {
    return this.#msize - P9_IO_HEADER;
  }

  /** Name of the device, for errors. */
  get name(): string {
    return this.#device.name;
  }

  /** Memory for reads and writes. */
  get payloads(): Payloads {
    if (this.#payloads === undefined) {
      this.#payloads = new Payloads(this.#device.dma, this.chunk, WINDOW);
      if (this.#failure !== undefined) this.#payloads.fail(this.#failure);
    }
    return this.#payloads;
  }

  /** Agrees on the dialect and the size of messages, once. */
  async ready(options: WaitOptions): Promise<void> {
    if (this.#version === undefined) {
      this.#version = this.#negotiate();
      // The next one tries again.
      this.#version.catch(() => this.#version = undefined);
    }
    // Others may wait for it longer.
    const details = (): { device: string } => ({ device: this.name });
    const subject = { what: "the 9P server to agree on a version", details };
    await waitOn(this.#version, subject, within(options, DEADLINE));
  }

  /**
   * Sends a request.
   *
   * @param room Most bytes of the answer after its header.
   * @returns The answer after its header.
   * @throws {P9Error} If the server refuses it. {VireoError} `TIMEOUT`, `BAD_LENGTH`, `BAD_STATUS`,
   * `OUT_OF_MEMORY` or why the device failed; the signal's reason.
   */
  call(
    message: P9Writer,
    room: number,
    options: WaitOptions,
    extra: P9Extra = NO_EXTRA,
  ): Promise<P9Reader> {
    const size = P9_HEADER.SIZE + Math.max(room, ERROR_ROOM);
    return this.#call(message, [size], size, options, extra);
  }

  /**
   * Sends a request whose answer is a number and so many bytes of data: Tread or Treaddir.
   *
   * @param onReturned Called once when the memory is the driver's again.
   * @returns How many bytes the server wrote to the memory.
   * @throws As {@linkcode P9Session.call}.
   */
  async read(
    message: P9Writer,
    into: P9Data,
    options: WaitOptions,
    onReturned: () => void,
  ): Promise<number> {
    // The answer's own part has just the size that puts the data in its place.
    const size = P9_HEADER.SIZE + COUNT_ROOM;
    const most = size + into.length;
    const reader = await this.#call(message, [size, into], most, options, { onReturned });
    const length = reader.total;
    const count = reader.u32();
    if (count === length - size) return count;
    throw new VireoError("BAD_LENGTH", "9P answer has another number of bytes than it says", {
      device: this.name,
      seen: `${length - size} bytes`,
      expected: `${count} bytes`,
    });
  }

  #call(
    message: P9Writer,
    room: readonly (number | Loan)[],
    most: number,
    options: WaitOptions,
    extra: P9Extra,
  ): Promise<P9Reader> {
    const { send } = extra;
    let wait: Deadline;
    let tag: number;
    try {
      wait = within(options, DEADLINE);
      if (this.#failure !== undefined) throw this.#failure;
      tag = extra.tag ?? this.#takeTag();
    } catch (error) {
      extra.onReturned?.();
      extra.onFailed?.(undefined);
      return Promise.reject(error);
    }
    const head = message.finish(message.type, tag, send?.length ?? 0);
    const call = new Call(message.type, tag, most, wait, extra, this.#host);
    const parts = send === undefined ? [head] : [head, send];
    return this.#ask(parts, room, call).then(call.answered, call.rejected);
  }

  /** A fid that is not in use. */
  takeFid(): number {
    return this.#fids.pop() ?? this.#nextFid++;
  }

  /** Gives a fid back that the server does not know. */
  giveFid(fid: number): void {
    this.#fids.push(fid);
  }

  /**
   * Walks from a fid to a new one.
   *
   * @returns What was found; if there are fewer qids than names, there is no new fid.
   */
  async walk(from: number, names: readonly string[], options: WaitOptions): Promise<P9Walk> {
    const fid = this.takeFid();
    const qids = await this.#step(from, fid, names.slice(0, P9_MAX_WALK), options);
    if (qids.length < Math.min(names.length, P9_MAX_WALK)) {
      this.giveFid(fid);
      return { fid, qids };
    }
    for (let at = P9_MAX_WALK; at < names.length; at += P9_MAX_WALK) {
      const part = names.slice(at, at + P9_MAX_WALK);
      let found: readonly P9Qid[];
      try {
        found = await this.#step(fid, fid, part, options);
      } catch (error) {
        this.forget(fid);
        throw error;
      }
      qids.push(...found);
      if (found.length < part.length) {
        this.forget(fid);
        break;
      }
    }
    return { fid, qids };
  }

  /** Tells the server that a fid is not needed any more; it hears of it even if this wait ends before. */
  async clunk(fid: number, options: WaitOptions = {}): Promise<void> {
    const details = (): { device: string } => ({ device: this.name });
    const subject = { what: "the 9P server to close a file", details };
    await waitOn(this.#clunk(fid), subject, within(options, DEADLINE));
  }

  /** The same, without waiting for it. */
  forget(fid: number): void {
    this.#clunk(fid).catch(() => {});
  }

  async #clunk(fid: number): Promise<void> {
    const message = P9Writer.begin(P9Type.CLUNK).u32(fid);
    // The fid is gone then, whatever the server says.
    await this.call(message, 0, { deadline: Infinity }, { onFailed: () => this.giveFid(fid) });
    this.giveFid(fid);
  }

  /** Ends it: every call fails from now on. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#payloads?.fail(this.#failure);
  }

  /** An error of this device. */
  error(code: VireoErrorCode, what: string, seen?: number | string): VireoError {
    return new VireoError(code, what, { device: this.name, seen });
  }

  async #negotiate(): Promise<void> {
    const message = P9Writer.begin(P9Type.VERSION).u32(this.#asked).text(P9_VERSION);
    const answer = await this.call(message, 64, {}, { tag: P9_NO_TAG });
    const msize = answer.u32();
    const version = answer.text();
    if (version !== P9_VERSION) {
      throw new VireoError("UNSUPPORTED", "9P server speaks another dialect", {
        device: this.name,
        seen: JSON.stringify(version),
        expected: P9_VERSION,
      });
    }
    if (msize < P9_MIN_MSIZE || msize > this.#asked) {
      throw new VireoError("OUT_OF_RANGE", "9P server wants messages of another size", {
        device: this.name,
        seen: msize,
        expected: `${P9_MIN_MSIZE} to ${this.#asked} bytes`,
      });
    }
    this.#msize = msize;
  }

  /** One Twalk. */
  async #step(
    from: number,
    to: number,
    names: readonly string[],
    options: WaitOptions,
  ): Promise<P9Qid[]> {
    const message = P9Writer.begin(P9Type.WALK).u32(from).u32(to).u16(names.length);
    for (const name of names) message.text(name);
    const room = 2 + P9_QID.SIZE * names.length;
    const onFailed = (answer: P9Reader | undefined): void => {
      // One that moves a fid leaves it where it was.
      if (from === to) return;
      // It was given up, but found all: the server has the fid.
      if (answer !== undefined && answer.left >= 2 && answer.u16() === names.length) {
        return this.forget(to);
      }
      this.giveFid(to);
    };
    const answer = await this.call(message, room, options, { onFailed });
    const count = answer.u16();
    if (count > names.length) {
      throw this.error("BAD_LENGTH", "9P server found more than was asked for", count);
    }
    return Array.from({ length: count }, () => answer.qid());
  }

  async #flush(tag: number): Promise<void> {
    if (this.#failure !== undefined || tag === P9_NO_TAG) return;
    try {
      const message = P9Writer.begin(P9Type.FLUSH).u16(tag);
      await this.call(message, 0, { deadline: Infinity });
    } catch {
      // The device failed, or the server knows no Tflush: nothing is left to do.
    }
  }

  #takeTag(): number {
    const tag = this.#tags.pop();
    if (tag !== undefined) return tag;
    if (this.#nextTag === P9_NO_TAG) {
      throw this.error("QUEUE_FULL", "No tag is left for a 9P request", "65535 in flight");
    }
    return this.#nextTag++;
  }

  /** Checks an answer's header; lengths are the device's word. */
  #answer({ bytes, length: used }: Answer, { type, tag, most }: Call): P9Reader {
    const reader = new P9Reader(bytes, 0, used);
    if (used < P9_HEADER.SIZE || used > most) {
      throw new VireoError("BAD_LENGTH", "Cannot use a 9P answer of this length", {
        device: this.name,
        seen: `${used} bytes`,
        expected: `${P9_HEADER.SIZE} to ${most} bytes`,
      });
    }
    const length = reader.u32();
    const kind = reader.u8();
    const answered = reader.u16();
    if (length !== used) {
      throw new VireoError("BAD_LENGTH", "9P answer has another length than it says", {
        device: this.name,
        seen: `${used} bytes`,
        expected: `${length} bytes`,
      });
    }
    if (answered !== tag || (kind !== type + 1 && kind !== P9Type.LERROR + 1)) {
      throw new VireoError("BAD_STATUS", "9P answer is one to another request", {
        device: this.name,
        seen: `type ${kind}, tag ${answered}`,
        expected: `type ${type + 1}, tag ${tag}`,
      });
    }
    if (kind === type + 1) return reader;
    throw new P9Error(
      `9P server refuses ${typeName(type)}`,
      reader.u32() || P9Errno.EIO,
      this.name,
    );
  }
}

function typeName(type: number): string {
  const name = nameIn(P9Type, type) ?? `${type}`;
  return `T${name.toLowerCase()}`;
}
