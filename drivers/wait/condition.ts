import type { VireoErrorDetails } from "@vireo/hal";
import { type Linked, Row } from "./row.ts";
import type { WaitOptions } from "./options.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/** One caller that waits, in a row, and the subject of its wait: one object a wait. */
class Entry<T> implements WaitSubject<T>, Linked<Entry<unknown>> {
  readonly what: string;
  readonly waiter: Waiter<T>;
  inRow = false;
  previous: Entry<unknown> | undefined;
  next: Entry<unknown> | undefined;
  readonly #test: () => T | undefined;
  readonly #last: LastLook;
  readonly #leave: (entry: Entry<unknown>) => void;

  constructor(
    what: string,
    test: () => T | undefined,
    options: WaitOptions,
    last: LastLook,
    leave: (entry: Entry<unknown>) => void,
  ) {
    this.what = what;
    this.#test = test;
    this.#last = last;
    this.#leave = leave;
    this.waiter = new Waiter<T>(this, options);
  }

  /** Asks the caller's test; true if its wait is over. */
  attempt(): boolean {
    try {
      const value = this.#test();
      if (value === undefined) return false;
      this.waiter.resolve(value);
    } catch (error) {
      this.waiter.reject(error);
    }
    return true;
  }

  look(): T | undefined {
    this.#last.look?.(this.waiter);
    return this.waiter.over ? undefined : this.#test();
  }

  details(): VireoErrorDetails {
    return this.#last.details?.() ?? {};
  }

  left(): void {
    this.#leave(this as Entry<unknown>);
  }
}

/**
 * Where callers wait for a test to hold; those who came first are asked first.
 *
 * @example
 * ```ts
 * import { Condition } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const room = new Condition();
 * let free = 0;
 * const waiting = room.until("room for a frame", () => free > 0 ? { free } : undefined, {});
 * free = 3;
 * room.notify();
 * assertEquals(await waiting, { free: 3 });
 * ```
 */
export class Condition {
  readonly #last: LastLook;
  readonly #row = new Row<Entry<unknown>>();
  readonly #leave = (entry: Entry<unknown>): void => this.#row.remove(entry);

  /** Makes a place where nobody waits yet; a caller's test is asked after the last look. */
  constructor(last: LastLook = {}) {
    this.#last = last;
  }

  /** Asks every waiting caller whether its test holds now. */
  notify(): void {
    // An entry that a test removes still links those behind it.
    for (let entry = this.#row.first; entry !== undefined; entry = entry.next) {
      if (entry.inRow && entry.attempt()) this.#row.remove(entry);
    }
  }

  /** Rejects every waiting caller. */
  fail(reason: unknown): void {
    for (let entry = this.#row.first; entry !== undefined; entry = entry.next) {
      this.#row.remove(entry);
      entry.waiter.reject(reason);
    }
  }

  /**
   * Waits until a test gives a value; without a wait if it does at once.
   *
   * @param what What is waited for, for the error's message.
   * @param test Gives undefined to wait on; what it throws rejects the wait.
   * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason if it is aborted.
   */
  until<T>(what: string, test: () => T | undefined, options: WaitOptions = {}): Promise<T> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    // Most calls need not wait: no `async`, and no timer yet, each of which a guest feels.
    try {
      const value = test();
      if (value !== undefined) return Promise.resolve(value);
    } catch (error) {
      return Promise.reject(error);
    }
    const entry = new Entry(what, test, options, this.#last, this.#leave);
    if (!entry.waiter.over) this.#row.append(entry as Entry<unknown>);
    return entry.waiter.arm().promise;
  }
}
