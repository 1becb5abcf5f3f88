import type { WaitOptions } from "./options.ts";
import { Ticker } from "./_ticker.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/**
 * Milliseconds for which a timer may outlive the wait that it was for. Setting and clearing one a wait
 * takes 90 us in a guest under TCG, a quarter of a ping.
 */
const TICK = 100;

interface Entry<I, T> {
  readonly item: I;
  readonly waiter: Waiter<T>;
}

/** Promises that wait in a row, each with what it waits for, a signal and a deadline. */
export class WaitList<I, T> {
  readonly #entries: Entry<I, T>[] = [];
  readonly #subject: WaitSubject<T>;
  readonly #ticker = new Ticker((now) => {
    for (const { waiter } of this.#entries.filter(({ waiter }) => waiter.until <= now)) {
      waiter.giveUp();
    }
    return this.#entries.reduce((end, { waiter }) => Math.min(end, waiter.until), Infinity);
  }, TICK);

  /** Makes an empty row; `what` is the end of a timeout's message. */
  constructor(what: string, { look, details }: LastLook = {}) {
    this.#subject = {
      what,
      details,
      look: look && ((waiter) => void look(waiter)),
      left: (waiter) => {
        const at = this.#entries.findIndex((entry) => entry.waiter === waiter);
        if (at >= 0) this.#entries.splice(at, 1);
      },
    };
  }

  /** How many wait. */
  get length(): number {
    return this.#entries.length;
  }

  /** Item of the first waiter. */
  get first(): I | undefined {
    return this.#entries[0]?.item;
  }

  /**
   * Waits in the row.
   *
   * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason.
   */
  wait(item: I, options: WaitOptions): Promise<T> {
    const waiter = new Waiter(this.#subject, options);
    if (waiter.over) return waiter.promise;
    this.#entries.push({ item, waiter });
    if (waiter.until !== Infinity) this.#ticker.arm(waiter.until);
    return waiter.promise;
  }

  /** Lets the first one go; false if there is none. */
  resolveFirst(value: T): boolean {
    const entry = this.#entries.shift();
    entry?.waiter.resolve(value);
    return entry !== undefined;
  }

  /** Rejects the first one. */
  rejectFirst(error: unknown): void {
    this.#entries.shift()?.waiter.reject(error);
  }

  /** Rejects all, and leaves no timer behind. */
  rejectAll(error: unknown): void {
    while (this.#entries.length > 0) this.rejectFirst(error);
    this.#ticker.stop();
  }
}
