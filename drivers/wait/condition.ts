import type { WaitOptions } from "./options.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/** One caller that waits. */
interface Entry {
  /** Asks the caller's test; true if its wait is over. */
  attempt(): boolean;
  /** Ends the wait. */
  reject(reason: unknown): void;
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
  readonly #entries = new Set<Entry>();

  /** Makes a place where nobody waits yet; a caller's test is asked after the last look. */
  constructor(last: LastLook = {}) {
    this.#last = last;
  }

  /** Asks every waiting caller whether its test holds now. */
  notify(): void {
    for (const entry of this.#entries) if (entry.attempt()) this.#entries.delete(entry);
  }

  /** Rejects every waiting caller. */
  fail(reason: unknown): void {
    for (const entry of this.#entries) entry.reject(reason);
    this.#entries.clear();
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
    const { look, details } = this.#last;
    const subject: WaitSubject<T> = {
      what,
      details,
      look: () => {
        look?.(waiter);
        return waiter.over ? undefined : test();
      },
      left: () => this.#entries.delete(entry),
    };
    const waiter = new Waiter<T>(subject, options);
    const entry: Entry = {
      attempt: () => attempt(waiter, test),
      reject: (reason) => waiter.reject(reason),
    };
    this.#entries.add(entry);
    return waiter.arm().promise;
  }
}

function attempt<T>(waiter: Waiter<T>, test: () => T | undefined): boolean {
  if (waiter.over) return true;
  try {
    const value = test();
    if (value === undefined) return false;
    waiter.resolve(value);
  } catch (error) {
    waiter.reject(error);
  }
  return true;
}
