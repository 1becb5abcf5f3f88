import { type Linked, Row } from "./row.ts";
import type { WaitOptions } from "./options.ts";
import { Ticker } from "./_ticker.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/**
 * Milliseconds for which a timer may outlive the wait that it was for. Setting and clearing one a wait
 * takes 90 us in a guest under TCG, a quarter of a ping.
 */
const TICK = 100;

/** A wait in the row. */
class Entry<I, T> extends Waiter<T> implements Linked<Entry<I, T>> {
  readonly item: I;
  inRow = false;
  previous: Entry<I, T> | undefined;
  next: Entry<I, T> | undefined;

  constructor(subject: WaitSubject<T>, options: WaitOptions, item: I) {
    super(subject, options);
    this.item = item;
  }
}

/**
 * Promises that wait in a row, each with what it waits for, a signal and a deadline.
 *
 * @example
 * ```ts
 * import { WaitList } from "@vireo/drivers/wait";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const list = new WaitList<string, number>("room in the ring");
 * const first = list.wait("a", {});
 * const second = list.wait("b", { deadline: 1 });
 * list.resolveFirst(7);
 * assertEquals([await first, list.first], [7, "b"]);
 * await assertRejects(() => second, Error, "waiting for room in the ring");
 * ```
 */
export class WaitList<I, T> {
  readonly #row = new Row<Entry<I, T>>();
  readonly #subject: WaitSubject<T>;
  readonly #ticker = new Ticker((now) => this.#look(now), TICK);

  /** Makes an empty row; `what` is the end of a timeout's message. */
  constructor(what: string, { look, details }: LastLook = {}) {
    this.#subject = {
      what,
      details,
      look: look && ((waiter) => void look(waiter)),
      left: (waiter) => this.#row.remove(waiter as Entry<I, T>),
    };
  }

  /** How many wait. */
  get length(): number {
    return this.#row.length;
  }

  /** Item of the first waiter. */
  get first(): I | undefined {
    return this.#row.first?.item;
  }

  /**
   * Waits in the row.
   *
   * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason.
   */
  wait(item: I, options: WaitOptions): Promise<T> {
    const entry = new Entry<I, T>(this.#subject, options, item);
    if (entry.over) return entry.promise;
    this.#row.append(entry);
    if (entry.until !== Infinity) this.#ticker.arm(entry.until);
    return entry.promise;
  }

  /** Lets the first one go; false if there is none. */
  resolveFirst(value: T): boolean {
    const entry = this.#shift();
    entry?.resolve(value);
    return entry !== undefined;
  }

  /** Rejects the first one. */
  rejectFirst(error: unknown): void {
    this.#shift()?.reject(error);
  }

  /** Rejects all, and leaves no timer behind. */
  rejectAll(error: unknown): void {
    while (this.#row.first !== undefined) this.rejectFirst(error);
    this.#ticker.stop();
  }

  #shift(): Entry<I, T> | undefined {
    const entry = this.#row.first;
    if (entry !== undefined) this.#row.remove(entry);
    return entry;
  }

  /** Gives up those whose time is over; returns the next end. */
  #look(now: number): number {
    const late: Entry<I, T>[] = [];
    for (let entry = this.#row.first; entry !== undefined; entry = entry.next) {
      if (entry.until <= now) late.push(entry);
    }
    for (const entry of late) entry.giveUp();
    let end = Infinity;
    for (let entry = this.#row.first; entry !== undefined; entry = entry.next) {
      if (entry.until < end) end = entry.until;
    }
    return end;
  }
}
