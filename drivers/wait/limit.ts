import { setImmediate } from "node:timers";
import type { WaitOptions } from "./options.ts";
import { Ticker } from "./_ticker.ts";

/** The holder of items whose time a {@linkcode Limit} counts. */
export interface LimitOwner<T> {
  /** The item's signal was aborted. */
  aborted(item: T, reason: unknown): void;
  /** The item's time is over: look once more, then give it up. */
  late(item: T): void;
}

/**
 * The limits of one queue, whose deadlines have one timer.
 *
 * @example
 * ```ts
 * import { Limits } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const events: string[] = [];
 * const done = Promise.withResolvers<void>();
 * const limits = new Limits<string>({
 *   aborted: (item, reason) => events.push(`${item}: ${reason}`),
 *   late: (item) => {
 *     events.push(`${item} is late`);
 *     done.resolve();
 *   },
 * });
 * limits.make("read").begin({ signal: AbortSignal.timeout(1000), deadline: 1 }, 1);
 * await done.promise;
 * assertEquals(events, ["read is late"]);
 * ```
 */
export class Limits<T> {
  readonly #owner: LimitOwner<T>;
  // A linked list of those that have a deadline: it costs no allocation, and the order is that of beginning.
  #first: Limit<T> | undefined;
  #last: Limit<T> | undefined;
  /** Whether the timer is taken away at the end of this turn of the event loop unless there is a limit. */
  #calming = false;
  readonly #ticker = new Ticker((now) => this.#look(now));

  /** Makes them for the items of a queue. */
  constructor(owner: LimitOwner<T>) {
    this.#owner = owner;
  }

  /** Makes a limit of an item that does not count yet. */
  make(item: T): Limit<T> {
    return new Limit(this, this.#owner, item);
  }

  /** Counts a limit's time from now on. */
  add(limit: Limit<T>, time: number): void {
    const now = performance.now();
    limit.until = now + time;
    limit.previous = this.#last;
    if (this.#last === undefined) this.#first = limit;
    else this.#last.next = limit;
    this.#last = limit;
    this.#ticker.arm(limit.until, now);
  }

  /**
   * Forgets a limit's time. The timer goes on until the end of this turn of the event loop: a caller that asks
   * again when it has the answer does so by then, and a timer a request costs more than all of them.
   */
  remove(limit: Limit<T>): void {
    const { previous, next } = limit;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    limit.previous = limit.next = undefined;
    limit.until = Infinity;
    if (this.#first !== undefined || this.#calming) return;
    this.#calming = true;
    setImmediate(this.#calm);
  }

  /** Leaves no timer behind if no limit came in the meantime. */
  readonly #calm = (): void => {
    this.#calming = false;
    if (this.#first === undefined) this.#ticker.stop();
  };

  #look(now: number): number {
    const late: Limit<T>[] = [];
    for (let limit = this.#first; limit !== undefined; limit = limit.next) {
      if (limit.until <= now) late.push(limit);
    }
    // A turn of its own for each, so that the caller of one hears of it before the next is given up. The last look of
    // the first one may end others, which may have begun to count again.
    for (const limit of late) if (limit.until <= now) limit.expire(limit === late[0]);
    let next = Infinity;
    for (let limit = this.#first; limit !== undefined; limit = limit.next) {
      if (limit.until < next) next = limit.until;
    }
    return next;
  }
}

/**
 * The deadline and the signal of an item whose promise is its owner's, for queues that serve so many
 * requests that a `Waiter` for each would cost too much. It may be used again once it ended.
 *
 * @example
 * ```ts
 * import { Limits } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const given: string[] = [];
 * const limits = new Limits<string>({
 *   aborted: (item, reason) => given.push(`${item}: ${reason}`),
 *   late: () => {},
 * });
 * const stop = new AbortController();
 * const limit = limits.make("write");
 * limit.begin({ signal: stop.signal }, Infinity);
 * stop.abort("no need");
 * assertEquals(given, ["write: no need"]);
 * limit.end();
 * ```
 */
export class Limit<T> implements EventListenerObject {
  /** Milliseconds that the caller gave, for the message. */
  deadline = 0;
  /** When its time is over, by `performance.now()`; `Infinity` if it has none. */
  until: number = Infinity;
  /** Neighbours among the {@linkcode Limits}. */
  previous: Limit<T> | undefined;
  /** Neighbours among the {@linkcode Limits}. */
  next: Limit<T> | undefined;
  readonly #limits: Limits<T>;
  readonly #owner: LimitOwner<T>;
  readonly #item: T;
  #signal: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** {@linkcode Limits.make} makes it. */
  constructor(limits: Limits<T>, owner: LimitOwner<T>, item: T) {
    this.#limits = limits;
    this.#owner = owner;
    this.#item = item;
  }

  /**
   * Begins to count.
   *
   * @param options Whose signal is not aborted.
   * @param time Milliseconds, as `timeOf` gives them; `Infinity` sets no timer.
   */
  begin({ signal, deadline }: WaitOptions, time: number): void {
    if (signal !== undefined) {
      this.#signal = signal;
      signal.addEventListener("abort", this);
    }
    if (time === Infinity) return;
    this.deadline = deadline ?? time;
    this.#limits.add(this, time);
  }

  /** Leaves no time and no listener behind; more than once is harmless. */
  end(): void {
    if (this.until !== Infinity) this.#limits.remove(this);
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    if (this.#signal !== undefined) {
      this.#signal.removeEventListener("abort", this);
      this.#signal = undefined;
    }
  }

  /** The signal's listener is the object itself, which costs no closure. */
  handleEvent(): void {
    this.#owner.aborted(this.#item, this.#signal?.reason);
  }

  /** The time is over: the owner hears of it now or, if others come before, in a turn of its own. */
  expire(now: boolean): void {
    this.#limits.remove(this);
    if (now) this.#owner.late(this.#item);
    else this.#timer = setTimeout(late, 0, this);
  }

  /** The turn came. */
  late(): void {
    this.#timer = undefined;
    this.#owner.late(this.#item);
  }
}

function late<T>(limit: Limit<T>): void {
  limit.late();
}
