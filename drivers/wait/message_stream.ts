import { VireoError } from "@vireo/hal";
import type { WaitOptions } from "./options.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/** Options of {@linkcode MessageStream}. */
export interface MessageStreamOptions<T> extends WaitOptions {
  /** Name of the device, for errors. */
  readonly device: string;
  /** Name of its messages in errors: `input event`. */
  readonly what: string;
  /** Messages that a listener may be behind. */
  readonly limit: number;
  /** Messages in place of those that it missed when it is further behind; none by default. */
  readonly missed?: readonly T[];
  /** Called when a message that had waited was taken. */
  readonly onTake?: () => void;
  /** Called once when it takes no more messages. */
  readonly onEnd?: () => void;
  /** Looks once more before a wait gives up, and pushes what it finds. */
  readonly last?: LastLook;
}

/**
 * The messages of a device that one listener has not taken yet.
 *
 * @example
 * ```ts
 * import { MessageStream } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * using stream = new MessageStream<number>({ device: "virtio0", what: "event", limit: 8 });
 * stream.push(1);
 * stream.push(2);
 * assertEquals([await stream.take({ deadline: 1000 }), (await stream.next()).value], [1, 2]);
 * ```
 */
export class MessageStream<T> implements AsyncIterableIterator<T>, Disposable {
  readonly #options: MessageStreamOptions<T>;
  #messages: T[] = [];
  readonly #waiters: Waiter<IteratorResult<T>>[] = [];
  readonly #subject: WaitSubject<IteratorResult<T>>;
  #failure: Error | undefined;
  #ended = false;

  /** Makes a listener. */
  constructor(options: MessageStreamOptions<T>) {
    this.#options = options;
    const { device, what, last: { look, details } = {} } = options;
    this.#subject = {
      what: `the next ${what}`,
      details: () => ({ device, ...details?.() }),
      look: look && ((waiter) => void look(waiter)),
      left: (waiter) => void this.#waiters.splice(this.#waiters.indexOf(waiter), 1),
    };
  }

  /** Messages that wait to be taken. */
  get waiting(): number {
    return this.#messages.length;
  }

  /** Gives it a message. */
  push(message: T): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) return waiter.resolve({ value: message, done: false });
    // As evdev has it: what came before is dropped whole, and the listener is told.
    const { limit, missed = [] } = this.#options;
    if (this.#messages.length >= limit) this.#messages = [...missed];
    this.#messages.push(message);
  }

  /** Ends it once what is there was taken. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  /**
   * The next message, with a wait of its own.
   *
   * @throws {VireoError} `TIMEOUT`, `PORT_CLOSED` If it was ended, or why the device failed; the
   * signal's reason.
   */
  async take(options: WaitOptions = {}): Promise<T> {
    const { value, done } = await this.#next(options);
    if (!done) return value;
    const { device, what } = this.#options;
    throw new VireoError("PORT_CLOSED", `No more ${what}: nobody listens`, { device });
  }

  /** The next message. */
  next(): Promise<IteratorResult<T>> {
    return this.#next(this.#options);
  }

  #next(options: WaitOptions): Promise<IteratorResult<T>> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#options.onTake?.();
      return Promise.resolve({ value: message, done: false });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    const waiter = new Waiter(this.#subject, options);
    if (waiter.over) return waiter.promise;
    this.#waiters.push(waiter);
    return waiter.arm().promise;
  }

  /** Ends the iteration. */
  return(): Promise<IteratorResult<T>> {
    this[Symbol.dispose]();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends the iteration; waiters get the end. */
  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#messages = [];
    this.#options.onEnd?.();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ value: undefined, done: true });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
