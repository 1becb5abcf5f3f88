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
import { FreeList } from "../virtqueue/free_list.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { waitOn, type WaitOptions, within } from "../wait/mod.ts";
import { type CallHost, ERROR_SIZE, isUsual, P9Call, type P9Handler } from "./_call.ts";
import { P9Error } from "./errors.ts";
import { type P9Qid, type P9Reader, P9Writer } from "./_message.ts";
import { DEADLINE, Payloads } from "./_payloads.ts";

/** Most reads and writes that have memory at the same time. */
const WINDOW = 8;
/** Bytes of an Rread or Rreaddir before the data, after the header. */
const COUNT_ROOM = 4;

/** No deadline. */
const FOREVER: WaitOptions = { deadline: Infinity };

function copyOf(answer: P9Reader): P9Reader {
  return answer.copy();
}

/** A Tclunk, after which the fid may be used again whatever the server says. */
class Clunk implements P9Handler<void> {
  readonly #session: P9Session;
  readonly #fid: number;
  readonly quiet: boolean;

  constructor(session: P9Session, fid: number, quiet: boolean) {
    this.#session = session;
    this.#fid = fid;
    this.quiet = quiet;
  }

  take(): void {
    this.#session.giveFid(this.#fid);
  }

  onFailed(): void {
    this.#session.giveFid(this.#fid);
  }
}

/** A Twalk to a new fid, or of a fid. */
export abstract class P9Step<T> implements P9Handler<T> {
  /** The fid that it begins at. */
  readonly from: number;
  /** The fid that it moves or makes. */
  readonly to: number;
  /** At most 16 names. */
  readonly names: readonly string[];
  protected readonly session: P9Session;

  /** Makes one that was not sent. */
  constructor(session: P9Session, from: number, to: number, names: readonly string[]) {
    this.session = session;
    this.from = from;
    this.to = to;
    this.names = names;
  }

  /** Takes the answer. */
  abstract take(answer: P9Reader): T | PromiseLike<T>;

  /** Takes the file of each name, as far as the walk came. */
  protected qids(answer: P9Reader): P9Qid[] {
    const count = answer.u16();
    if (count > this.names.length) {
      const what = "9P server found more than was asked for";
      throw this.session.error("BAD_LENGTH", what, count);
    }
    const qids: P9Qid[] = [];
    for (let i = 0; i < count; i++) qids.push(answer.qid());
    return qids;
  }

  /** Gives the fid back. */
  onFailed(answer: P9Reader | undefined): void {
    // One that moves a fid leaves it where it was.
    if (this.from === this.to) return;
    // It was given up, but found all: the server has the fid.
    if (answer !== undefined && answer.left >= 2 && answer.u16() === this.names.length) {
      return this.session.forget(this.to);
    }
    this.session.giveFid(this.to);
  }
}

/** A part of a walk. */
class Part extends P9Step<P9Qid[]> {
  take(answer: P9Reader): P9Qid[] {
    return this.qids(answer);
  }
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
  readonly #queue: RequestQueue;
  readonly #asked: number;
  readonly #tags = new FreeList<number>();
  #nextTag = 0;
  readonly #fids = new FreeList<number>();
  #nextFid = 1;
  #msize = P9_MIN_MSIZE;
  #payloads: Payloads | undefined;
  #version: Promise<void> | undefined;
  #failure: Error | undefined;
  /** Calls that are over, whose memory the next ones use. */
  readonly #calls = new FreeList<P9Call>();
  readonly #host: CallHost = {
    check: (answer, call) => this.#check(answer, call),
    release: (tag) => {
      if (tag !== P9_NO_TAG) this.#tags.push(tag);
    },
    flush: (call) => {
      call.hold();
      this.#flush(call.tag).finally(() => call.release());
    },
    keep: (call) => {
      const room = this.#failure === undefined && this.#calls.length < WINDOW;
      if (room && call.reusable) this.#calls.push(call);
      else call[Symbol.dispose]();
    },
  };

  /** Makes a session. @param msize Size of messages to ask for, in bytes. */
  constructor(device: VirtioDevice, msize: number, queue: RequestQueue) {
    this.#device = device;
    this.#asked = msize;
    this.#queue = queue;
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
    extra: Partial<P9Handler<P9Reader>> = {},
  ): Promise<P9Reader> {
    return this.ask(message, room, options, { take: copyOf, ...extra });
  }

  /**
   * Sends a request, and has its handler take the answer where the device wrote it.
   *
   * @param room Most bytes of the answer after its header, without its data.
   * @returns What the handler made of it.
   * @throws As {@linkcode P9Session.call}, and what the handler throws.
   */
  ask<T>(
    message: P9Writer,
    room: number,
    options: WaitOptions,
    handler: P9Handler<T>,
  ): Promise<T> {
    const size = Math.max(P9_HEADER.SIZE + room, ERROR_SIZE);
    let tag: number | undefined;
    let call: P9Call | undefined;
    try {
      if (this.#failure !== undefined) throw this.#failure;
      tag = handler.tag ?? this.#takeTag();
      if (isUsual(message.length, size)) call = this.#calls.pop();
      call ??= new P9Call(this.#host, this.#device.dma, message.length, size);
      return call.send(this.#queue, message, tag, size, options, handler);
    } catch (error) {
      call?.[Symbol.dispose]();
      if (tag !== undefined) this.#host.release(tag);
      handler.onReturned?.();
      handler.onFailed?.(undefined);
      return handler.quiet ? Promise.resolve(undefined as T) : Promise.reject(error);
    }
  }

  /**
   * Sends a request whose answer is a number and so many bytes of data: Tread or Treaddir.
   *
   * @param handler Where the data goes, and what to do with it.
   * @throws As {@linkcode P9Session.ask}.
   */
  read<T>(message: P9Writer, options: WaitOptions, handler: P9Handler<T>): Promise<T> {
    // The answer's own part has just the size that puts the data in its place.
    return this.ask(message, COUNT_ROOM, options, handler);
  }

  /** Takes the number of bytes of data from an answer to {@linkcode P9Session.read}. */
  count(answer: P9Reader): number {
    const length = answer.total - P9_HEADER.SIZE - COUNT_ROOM;
    const count = answer.u32();
    if (count === length) return count;
    throw new VireoError("BAD_LENGTH", "9P answer has another number of bytes than it says", {
      device: this.name,
      seen: `${length} bytes`,
      expected: `${count} bytes`,
    });
  }

  /** A fid that is not in use. */
  takeFid(): number {
    return this.#fids.pop() ?? this.#nextFid++;
  }

  /** Gives a fid back that the server does not know. */
  giveFid(fid: number): void {
    this.#fids.push(fid);
  }

  /** Sends a Twalk. @throws As {@linkcode P9Session.ask}. */
  step<T>(step: P9Step<T>, options: WaitOptions): Promise<T> {
    const { from, to, names } = step;
    const message = P9Writer.begin(P9Type.WALK).u32(from).u32(to).u16(names.length);
    for (const name of names) message.text(name);
    return this.ask(message, 2 + P9_QID.SIZE * names.length, options, step);
  }

  /**
   * Walks from a fid to a new one.
   *
   * @returns What was found; if there are fewer qids than names, there is no new fid.
   */
  async walk(from: number, names: readonly string[], options: WaitOptions): Promise<P9Walk> {
    const fid = this.takeFid();
    const qids = await this.step(new Part(this, from, fid, names.slice(0, P9_MAX_WALK)), options);
    if (qids.length < Math.min(names.length, P9_MAX_WALK)) {
      this.giveFid(fid);
      return { fid, qids };
    }
    for (let at = P9_MAX_WALK; at < names.length; at += P9_MAX_WALK) {
      const part = names.slice(at, at + P9_MAX_WALK);
      let found: readonly P9Qid[];
      try {
        found = await this.step(new Part(this, fid, fid, part), options);
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
    await waitOn(this.#clunk(fid, false), subject, within(options, DEADLINE));
  }

  /** The same, without waiting for it. */
  forget(fid: number): void {
    void this.#clunk(fid, true);
  }

  #clunk(fid: number, quiet: boolean): Promise<void> {
    const message = P9Writer.begin(P9Type.CLUNK).u32(fid);
    // The fid is gone then, whatever the server says.
    return this.ask(message, 0, FOREVER, new Clunk(this, fid, quiet));
  }

  /** Ends it: every call fails from now on. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#payloads?.fail(this.#failure);
    for (const call of this.#calls.drain()) call[Symbol.dispose]();
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

  async #flush(tag: number): Promise<void> {
    if (tag === P9_NO_TAG) return;
    try {
      const message = P9Writer.begin(P9Type.FLUSH).u16(tag);
      await this.call(message, 0, FOREVER);
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
  #check(reader: P9Reader, { type, tag, most }: P9Call): void {
    const used = reader.total;
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
    if (kind === type + 1) return;
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
