import { type Dma, type DmaRegion, P9_HEADER } from "@vireo/hal";
import type { Loan } from "../virtqueue/exchange.ts";
import type { RequestOptions, RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList } from "../virtqueue/virtqueue.ts";
import type { WaitOptions } from "../wait/mod.ts";
import { P9Reader, type P9Writer } from "./_message.ts";
import { DEADLINE } from "./_payloads.ts";

/** Bytes of a message, and of an answer, that the memory of a call has room for; others get their own. */
const MESSAGE_ROOM = 512;
/** The message, data to send, the answer, and data to receive. */
const ELEMENTS = 4;

/** Memory with data of a request or an answer. */
interface P9Data extends Loan {
  /** First byte in the region. */
  readonly offset: number;
  /** Length in bytes. */
  readonly length: number;
}

/** A request without its message: its data, and what to do with the answer. */
export interface P9Handler<T> {
  /** The tag, for Tversion. */
  readonly tag?: number;
  /** Data that follows the message; at least a byte. */
  readonly send?: P9Data | undefined;
  /** Memory for the data that follows the answer. */
  readonly into?: P9Data | undefined;
  /** Whether nobody waits for it: what goes wrong is told to nobody. */
  readonly quiet?: boolean;
  /** Takes the answer after its header, which is valid during this call only. */
  take(answer: P9Reader): T | PromiseLike<T>;
  /** Takes the server's refusal, and throws it or another one; it is thrown by default. */
  refused?(error: unknown): T | PromiseLike<T>;
  /** Called once when the memory of the data is the driver's again. */
  onReturned?(): void;
  /**
   * Called once when the request failed for its caller and the server is done with it: with the answer if
   * it succeeded after all, as may one that was given up.
   */
  onFailed?(answer: P9Reader | undefined): void;
}

/** The parts of its session that a {@linkcode P9Call} uses. */
export interface CallHost {
  /** Reads an answer's header. @throws If it is none to this call, or a refusal. */
  check(answer: P9Reader, call: P9Call): void;
  /** The tag is free. */
  release(tag: number): void;
  /** Has the server forget a request that its caller gave up. */
  flush(call: P9Call): void;
  /** Keeps the call for the next request, or frees its memory. */
  keep(call: P9Call): void;
}

/** No request. */
const NOTHING: P9Handler<unknown> = { take: () => undefined };

/**
 * The memory of one request at a time with its answer, and the options of the request in the queue. A call that did
 * what it should serves the next request, so that a request allocates little more than its promise
 * (tests/machine/allocations_test.ts).
 */
export class P9Call implements RequestOptions, Disposable {
  /** The caller's signal. */
  signal: WaitOptions["signal"];
  /** The caller's deadline. */
  deadline: WaitOptions["deadline"];
  /** When the caller's call ends. */
  until: WaitOptions["until"];
  /** Value of `P9Type`. */
  type = 0;
  /** Its tag. */
  tag = 0;
  /** Most bytes of the answer and its data. */
  most = 0;
  /** Whether it has the room that most messages need. */
  readonly #usual: boolean;
  readonly #host: CallHost;
  readonly #region: DmaRegion;
  readonly #answerAt: number;
  readonly #chain = new SgList(ELEMENTS);
  readonly #answer: P9Reader;
  #handler: P9Handler<unknown> = NOTHING;
  #length = 0;
  #room = 0;
  /** Bytes that the device wrote; -1 if a reset took it back. */
  #used = 0;
  /** Whether the device is done with it. */
  #returned = false;
  #failed = false;
  /** The owners of the tag: the request, and the Tflush that follows it. */
  #holders = 0;

  /** Takes memory for a message and an answer. */
  constructor(host: CallHost, dma: Dma, message: number, answer: number) {
    this.#host = host;
    this.#usual = isUsual(message, answer);
    this.#answerAt = this.#usual ? MESSAGE_ROOM : message;
    this.#region = dma.alloc(this.#usual ? 2 * MESSAGE_ROOM : message + answer);
    this.#answer = new P9Reader(this.#region.bytes);
  }

  /** Whether it may serve the next message; one that was given up may still own its tag. */
  get reusable(): boolean {
    return this.#usual && !this.#failed;
  }

  /** Sends a message. @param room Most bytes of the answer with its header, without its data. */
  send<T>(
    queue: RequestQueue,
    message: P9Writer,
    tag: number,
    room: number,
    { signal, deadline = DEADLINE, until }: WaitOptions,
    handler: P9Handler<T>,
  ): Promise<T> {
    this.signal = signal;
    this.deadline = deadline;
    this.until = until;
    this.type = message.type;
    this.tag = tag;
    this.#handler = handler;
    this.#room = room;
    this.#returned = false;
    this.#holders = 1;
    const { send, into } = handler;
    this.most = room + (into?.length ?? 0);
    const head = message.finish(this.type, tag, send?.length ?? 0);
    const region = this.#region;
    region.bytes.set(head);
    region.copied?.(head.length);
    this.#length = head.length;
    const chain = this.#chain.clear();
    chain.addReadable(region.share(0, head.length, "to-device"), head.length);
    if (send !== undefined) chain.addReadable(share(send), send.length);
    chain.addWritable(region.share(this.#answerAt, room, "from-device"), room);
    if (into !== undefined) chain.addWritable(share(into), into.length);
    return queue.submit(chain, this).then(this.#answered, this.#rejected) as Promise<T>;
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
  onReturned(used: number): void {
    const handler = this.#handler;
    const { send, into } = handler;
    this.#region.unshare(0, this.#length, "to-device");
    if (send !== undefined) unshare(send);
    this.#region.unshare(this.#answerAt, this.#room, "from-device");
    if (into !== undefined) unshare(into);
    this.#used = used;
    this.#returned = true;
    handler.onReturned?.();
    this.release();
    if (this.#failed) this.#late();
  }

  /** It was answered in time. */
  readonly #answered = (): unknown => {
    const handler = this.#handler;
    try {
      this.#open();
    } catch (error) {
      handler.onFailed?.(undefined);
      this.#done();
      if (handler.quiet) return undefined;
      if (handler.refused !== undefined) return handler.refused(error);
      throw error;
    }
    try {
      return handler.take(this.#answer);
    } finally {
      this.#done();
    }
  };

  /** It failed for its caller. */
  readonly #rejected = (error: unknown): void => {
    const handler = this.#handler;
    this.#failed = true;
    // The device may have returned it between the end of the wait and here.
    if (this.#returned) this.#late();
    else this.#host.flush(this);
    if (!handler.quiet) throw error;
  };

  /** It failed for its caller, and the device is done with it: an answer may have come after all. */
  #late(): void {
    const handler = this.#handler;
    if (handler.onFailed !== undefined) {
      let answer: P9Reader | undefined;
      try {
        this.#open();
        answer = this.#answer;
      } catch {
        // It was refused, is no answer, or there is none.
      }
      handler.onFailed(answer);
    }
    this.#done();
  }

  /** Reads the header of the answer. */
  #open(): void {
    const used = this.#used;
    this.#answer.begin(this.#answerAt, Math.min(used, this.#room), used);
    this.#host.check(this.#answer, this);
  }

  #done(): void {
    this.#handler = NOTHING;
    const { bytes } = this.#region;
    bytes.fill(0, 0, this.#length);
    bytes.fill(0, this.#answerAt, this.#answerAt + this.#room);
    this.#host.keep(this);
  }

  /** Frees the memory; the device must not have it. */
  [Symbol.dispose](): void {
    this.#region[Symbol.dispose]();
  }
}

/** Whether a message and an answer have room in the memory that most calls have. */
export function isUsual(message: number, answer: number): boolean {
  return message <= MESSAGE_ROOM && answer <= MESSAGE_ROOM;
}

/** Bytes of an Rlerror, which any answer may be. */
export const ERROR_SIZE: number = P9_HEADER.SIZE + 4;

function share({ region, offset, length, direction }: P9Data): number {
  return region.share(offset, length, direction);
}

function unshare({ region, offset, length, direction }: P9Data): void {
  region.unshare(offset, length, direction);
}
