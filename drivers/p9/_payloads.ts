import type { Dma, DmaRegion } from "@vireo/hal";
import { WaitList, type WaitOptions, within } from "../wait/mod.ts";

/** Milliseconds that a request may take, or wait for memory, unless told otherwise. */
export const DEADLINE = 30_000;

/** Memory for the data of reads and writes: a few regions of one size, first come, first served. */
export class Payloads {
  readonly #dma: Dma;
  readonly #size: number;
  readonly #limit: number;
  readonly #free: DmaRegion[] = [];
  readonly #waiters = new WaitList<undefined, DmaRegion>("memory of 9P data");
  #count = 0;
  #failure: Error | undefined;

  /** Makes room for `limit` regions of `size` bytes, none of which is there yet. */
  constructor(dma: Dma, size: number, limit: number) {
    this.#dma = dma;
    this.#size = size;
    this.#limit = limit;
  }

  /**
   * Takes a region, or waits for one.
   *
   * @throws {VireoError} `TIMEOUT`, `OUT_OF_MEMORY`, or why the device failed; the signal's reason.
   */
  take(options: WaitOptions): Promise<DmaRegion> {
    const { signal } = options;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.#free.pop() ?? this.#grow();
    if (free instanceof Error) return Promise.reject(free);
    if (free !== undefined) return Promise.resolve(free);
    return this.#waiters.wait(undefined, within(options, DEADLINE));
  }

  /** Gives a region back. */
  give(region: DmaRegion): void {
    if (this.#waiters.resolveFirst(region)) return;
    if (this.#failure === undefined) this.#free.push(region);
    else region[Symbol.dispose]();
  }

  /** Ends all waiting, and frees what is not with the device; the rest is freed as it comes back. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#waiters.rejectAll(error);
    for (const region of this.#free.splice(0)) region[Symbol.dispose]();
  }

  #grow(): DmaRegion | Error | undefined {
    if (this.#count >= this.#limit) return undefined;
    try {
      const region = this.#dma.alloc(this.#size);
      this.#count++;
      return region;
    } catch (error) {
      // The regions that there are will come back.
      return this.#count > 0 ? undefined : error instanceof Error ? error : new Error(`${error}`);
    }
  }
}
