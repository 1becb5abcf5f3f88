import type { WaitOptions } from "./options.ts";

/** Who holds items whose time a {@linkcode Limit} counts. */
export interface LimitOwner<T> {
  /** The item's signal was aborted. */
  aborted(item: T, reason: unknown): void;
  /** The item's time is over: look once more, then give it up. */
  late(item: T): void;
}

/**
 * The deadline and the signal of an item whose promise is its owner's, for queues that serve so many
 * requests that a `Waiter` for each would cost too much. It may be used again once it ended.
 */
export class Limit<T> implements EventListenerObject {
  /** Milliseconds that the caller gave, for the message. */
  deadline = 0;
  readonly #owner: LimitOwner<T>;
  readonly #item: T;
  #signal: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Makes a limit that does not count yet. */
  constructor(owner: LimitOwner<T>, item: T) {
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
    this.#timer = setTimeout(onTime, time, this);
  }

  /** Leaves no timer and no listener behind; more than once is harmless. */
  end(): void {
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

  /** The timer fired. */
  late(): void {
    this.#owner.late(this.#item);
  }
}

function onTime<T>(limit: Limit<T>): void {
  limit.late();
}
