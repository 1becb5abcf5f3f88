import { LONGEST_TIMER } from "./options.ts";

/** One timer for many ends, most of which nobody waits for any more when they come. */
export class Ticker {
  readonly #look: (now: number) => number;
  readonly #longest: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #at = Infinity;

  /**
   * Makes one without a timer.
   *
   * @param look Ends what is over by `now`, and returns the next end, or `Infinity`.
   * @param longest Milliseconds for which its timer may outlive the wait that it was for.
   */
  constructor(look: (now: number) => number, longest: number = LONGEST_TIMER) {
    this.#look = look;
    this.#longest = longest;
  }

  /** Makes sure that it looks by then, by `performance.now()`. */
  arm(end: number, now: number = performance.now()): void {
    const at = Math.min(end, now + this.#longest);
    // A deadline that is over does not wait for a timer that is late.
    if (at >= this.#at && at > now) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(this.#onTimer, Math.max(0, Math.ceil(at - now)));
  }

  /** Leaves no timer behind. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#at = Infinity;
  }

  readonly #onTimer = (): void => {
    this.#at = Infinity;
    const next = this.#look(performance.now());
    if (next !== Infinity) this.arm(next);
  };
}
