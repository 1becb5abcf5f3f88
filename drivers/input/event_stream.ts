import { InputSyn, InputType, VireoError } from "@vireo/hal";
import type { WaitOptions } from "../transport/transport.ts";

/** One event, as evdev has it. */
export interface InputEvent {
  /** A value of `InputType`. */
  readonly type: number;
  /** Which key, axis or LED. */
  readonly code: number;
  /** 1 pressed, 0 released, 2 repeated; a movement, a position; signed. */
  readonly value: number;
}

/** Events that a listener may be behind. */
const BACKLOG = 4096;
const DROPPED: InputEvent = { type: InputType.SYN, code: InputSyn.DROPPED, value: 0 };

interface Waiter {
  readonly resolve: (result: IteratorResult<InputEvent>) => void;
  readonly reject: (reason: unknown) => void;
  readonly stop: () => void;
}

/** The events that one listener has not taken yet. */
export class EventStream implements AsyncIterableIterator<InputEvent>, Disposable {
  readonly #device: string;
  readonly #options: WaitOptions;
  readonly #onEnd: () => void;
  #events: InputEvent[] = [];
  #waiters: Waiter[] = [];
  #failure: Error | undefined;
  #ended = false;

  /**
   * Makes a listener.
   *
   * @param onEnd Called once when it takes no more events.
   */
  constructor(device: string, options: WaitOptions, onEnd: () => void) {
    this.#device = device;
    this.#options = options;
    this.#onEnd = onEnd;
  }

  /** Gives it an event. */
  push(event: InputEvent): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.stop();
      waiter.resolve({ value: event, done: false });
      return;
    }
    // As evdev: what came before is dropped whole, and the listener is told.
    if (this.#events.length >= BACKLOG) this.#events = [DROPPED];
    this.#events.push(event);
  }

  /** Ends it once what is there was taken. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) {
      waiter.stop();
      waiter.reject(error);
    }
  }

  /** The next event. */
  next(): Promise<IteratorResult<InputEvent>> {
    const event = this.#events.shift();
    if (event !== undefined) return Promise.resolve({ value: event, done: false });
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    const { signal, deadline } = this.#options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const giveUp = (reason: unknown): void => {
        stop();
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(reason);
      };
      const onAbort = (): void => giveUp(signal?.reason);
      const timer = deadline === undefined ? undefined : setTimeout(() => {
        giveUp(
          new VireoError("TIMEOUT", "No input event within the deadline", {
            device: this.#device,
            expected: `an event within ${deadline} ms`,
          }),
        );
      }, deadline);
      const stop = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter = { resolve, reject, stop };
      signal?.addEventListener("abort", onAbort);
      this.#waiters.push(waiter);
    });
  }

  /** Ends the iteration. */
  return(): Promise<IteratorResult<InputEvent>> {
    this[Symbol.dispose]();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends the iteration; who waits gets the end. */
  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events = [];
    this.#onEnd();
    for (const waiter of this.#waiters.splice(0)) {
      waiter.stop();
      waiter.resolve({ value: undefined, done: true });
    }
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
