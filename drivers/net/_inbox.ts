import type { WaitOptions } from "../wait/options.ts";
import { WaitList } from "../wait/wait_list.ts";
import type { Frame, NetStats, RxFrame } from "./frame.ts";

/** The received frames that wait to be taken, and those who wait for one. */
export class Inbox {
  readonly #frames: Frame[] = [];
  readonly #takers: WaitList<undefined, Frame> = new WaitList("a frame");
  readonly #max: number;
  readonly #drop: "newest" | "oldest";
  readonly #stats: NetStats;

  constructor(max: number, drop: "newest" | "oldest", stats: NetStats) {
    if (!Number.isInteger(max) || max < 1) {
      throw new RangeError(`Cannot keep ${max} received frames: must be a positive integer`);
    }
    this.#max = max;
    this.#drop = drop;
    this.#stats = stats;
  }

  /** Copies a frame for who waits, or to wait. */
  put(frame: RxFrame): void {
    if (this.#takers.length > 0) {
      this.#takers.resolveFirst(frame.copy());
      return;
    }
    if (this.#frames.length >= this.#max) {
      this.#stats.rxQueueFull++;
      if (this.#drop === "newest") return;
      this.#frames.shift();
    }
    this.#frames.push(frame.copy());
  }

  /** Takes the oldest frame, or waits for one. */
  take(options: WaitOptions): Promise<Frame> {
    const frame = this.#frames.shift();
    return frame !== undefined ? Promise.resolve(frame) : this.#takers.wait(undefined, options);
  }

  /** Rejects those who wait; frames that wait stay. */
  rejectAll(error: unknown): void {
    this.#takers.rejectAll(error);
  }
}
