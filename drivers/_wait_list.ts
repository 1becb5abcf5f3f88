import { VireoError } from "@vireo/hal";
import type { WaitOptions } from "./transport/transport.ts";

/**
 * Milliseconds for which a timer may outlive the wait that it was for. Setting and clearing one a wait
 * takes 90 us in a guest under TCG, a quarter of a ping.
 */
const TICK = 100;

interface Entry<I, T> {
  readonly item: I;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  readonly release: () => void;
  /** When it is too late, by `performance.now()`. */
  readonly end: number;
  /** Rejects with `TIMEOUT`. */
  readonly expire: () => void;
}

/** Promises that wait in a row, each with what it waits for, a signal and a deadline. */
export class WaitList<I, T> {
  readonly #entries: Entry<I, T>[] = [];
  readonly #what: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;

  /** Makes an empty row; `what` says in a timeout's message what was waited for. */
  constructor(what: string) {
    this.#what = what;
  }

  /** How many wait. */
  get length(): number {
    return this.#entries.length;
  }

  /** What the first one waits for. */
  get first(): I | undefined {
    return this.#entries[0]?.item;
  }

  /** Waits in the row. */
  wait(item: I, options: WaitOptions): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const { signal, deadline } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const leave = (error: unknown): void => {
      const at = this.#entries.indexOf(entry);
      if (at >= 0) this.#entries.splice(at, 1);
      entry.release();
      reject(error);
    };
    const aborted = (): void => leave(signal?.reason);
    const entry: Entry<I, T> = {
      item,
      resolve,
      reject,
      release: () => signal?.removeEventListener("abort", aborted),
      end: deadline === undefined ? Infinity : performance.now() + deadline,
      expire: () =>
        leave(
          new VireoError("TIMEOUT", `Cannot wait longer for ${this.#what}`, {
            expected: `within ${deadline} ms`,
          }),
        ),
    };
    signal?.addEventListener("abort", aborted);
    if (entry.end !== Infinity) this.#arm(entry.end);
    this.#entries.push(entry);
    return promise;
  }

  /** Lets the first one go; false if there is none. */
  resolveFirst(value: T): boolean {
    const entry = this.#entries.shift();
    entry?.release();
    entry?.resolve(value);
    return entry !== undefined;
  }

  /** Rejects the first one. */
  rejectFirst(error: unknown): void {
    const entry = this.#entries.shift();
    entry?.release();
    entry?.reject(error);
  }

  /** Rejects all, and leaves no timer behind. */
  rejectAll(error: unknown): void {
    while (this.#entries.length > 0) this.rejectFirst(error);
    clearTimeout(this.#timer);
    this.#timerAt = Infinity;
  }

  /** Sees to it that a timer looks at the entries by then. */
  #arm(end: number): void {
    const now = performance.now();
    const at = Math.min(end, now + TICK);
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(this.#onTimer, at - now);
  }

  readonly #onTimer = (): void => {
    this.#timerAt = Infinity;
    const now = performance.now();
    for (const entry of this.#entries.filter(({ end }) => end <= now)) entry.expire();
    const next = this.#entries.reduce((end, entry) => Math.min(end, entry.end), Infinity);
    if (next !== Infinity) this.#arm(next);
  };
}
