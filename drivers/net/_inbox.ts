import type { WaitOptions } from "../wait/options.ts";
import { WaitList } from "../wait/wait_list.ts";
import type { LastLook } from "../wait/waiter.ts";
import type { Frame, NetStats, RxFrame } from "./frame.ts";

/** The received frames that wait to be taken, and the callers that wait for one. */
export class Inbox {
  readonly #frames: Frame[] = [];
  readonly #takers: WaitList<undefined, Frame>;
  readonly #max: number;
  readonly #drop: "newest" | "oldest";
  readonly #stats: NetStats;

  /** Makes an empty one. @param last Looks for frames before a caller gives up. */
  constructor(max: number, drop: "newest" | "oldest", stats: NetStats, last: LastLook) {
    if (!Number.isInteger(max) || max < 1) {
      throw new RangeError(`Cannot keep ${max} received frames: expected a positive integer`);
    }
    this.#max = max;
    this.#drop = drop;
    this.#stats = stats;
    this.#takers = new WaitList("a frame", last);
  }

  /** Hands a copy of the frame to the first waiting caller, or keeps it; false if it is dropped. */
  put(frame: RxFrame): boolean {
    if (this.#takers.length > 0) {
      this.#takers.resolveFirst(frame.copy());
      return true;
    }
    if (this.#frames.length >= this.#max) {
      this.#stats.rxQueueFull++;
      if (this.#drop === "newest") return false;
      this.#frames.shift();
    }
    this.#frames.push(frame.copy());
    return true;
  }

  /** Takes the oldest frame, or waits for one. */
  take(options: WaitOptions): Promise<Frame> {
    const frame = this.#frames.shift();
    return frame !== undefined ? Promise.resolve(frame) : this.#takers.wait(undefined, options);
  }

  /** Rejects all waiting callers; the frames stay. */
  rejectAll(error: unknown): void {
    this.#takers.rejectAll(error);
  }
}
