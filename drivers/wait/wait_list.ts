import type { WaitOptions } from "./options.ts";
import { Ticker } from "./_ticker.ts";
import { type LastLook, Waiter, type WaitSubject } from "./waiter.ts";

/**
 * Milliseconds for which a timer may outlive the wait that it was for. Setting and clearing one a wait
 * takes 90 us in a guest under TCG, a quarter of a ping.
 */
const TICK = 100;

/** A wait in the row, linked with its neighbours: an array that becomes empty loses its memory each time. */
class Entry<I, T> extends Waiter<T> {
  readonly item: I;
  previous: Entry<I, T> | undefined;
  next: Entry<I, T> | undefined;

  constructor(subject: WaitSubject<T>, options: WaitOptions, item: I) {
    super(subject, options);
    this.item = item;
  }
}

/** Promises that wait in a row, each with what it waits for, a signal and a deadline. */
export class WaitList<I, T> {
  #first: Entry<I, T> | undefined;
  #last: Entry<I, T> | undefined;
  #length = 0;
  readonly #subject: WaitSubject<T>;
  readonly #ticker = new Ticker((now) => this.#look(now), TICK);

  /** Makes an empty row; `what` is the end of a timeout's message. */
  constructor(what: string, { look, details }: LastLook = {}) {
    this.#subject = {
      what,
      details,
      look: look && ((waiter) => void look(waiter)),
      left: (waiter) => this.#unlink(waiter as Entry<I, T>),
    };
  }

  /** How many wait. */
  get length(): number {
    return this.#length;
  }

  /** Item of the first waiter. */
  get first(): I | undefined {
    return this.#first?.item;
  }

  /**
   * Waits in the row.
   *
   * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason.
   */
  wait(item: I, options: WaitOptions): Promise<T> {
    const entry = new Entry<I, T>(this.#subject, options, item);
    if (entry.over) return entry.promise;
    entry.previous = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#length++;
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
    while (this.#first !== undefined) this.rejectFirst(error);
    this.#ticker.stop();
  }

  #shift(): Entry<I, T> | undefined {
    const entry = this.#first;
    if (entry !== undefined) this.#unlink(entry);
    return entry;
  }

  #unlink(entry: Entry<I, T>): void {
    const { previous, next } = entry;
    // Its turn came before its own time: it is in the row no more.
    if (previous === undefined && this.#first !== entry) return;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    entry.previous = entry.next = undefined;
    this.#length--;
  }

  /** Gives up those whose time is over; returns the next end. */
  #look(now: number): number {
    const late: Entry<I, T>[] = [];
    for (let entry = this.#first; entry !== undefined; entry = entry.next) {
      if (entry.until <= now) late.push(entry);
    }
    for (const entry of late) entry.giveUp();
    let end = Infinity;
    for (let entry = this.#first; entry !== undefined; entry = entry.next) {
      if (entry.until < end) end = entry.until;
    }
    return end;
  }
}
