import { type Dma, type DmaRegion, VireoError } from "@vireo/hal";
import type { WaitOptions } from "../transport/transport.ts";

/** Milliseconds that a request may take, or wait for memory, unless told otherwise. */
export const DEADLINE = 30_000;
/** The longest timer: a longer one would fire at once. */
const LONGEST = 2 ** 31 - 1;

interface Waiter {
  readonly resolve: (region: DmaRegion) => void;
  readonly reject: (reason: unknown) => void;
  readonly stop: () => void;
}

/** Memory for the data of reads and writes: a few regions of one size, which who comes first gets. */
export class Payloads {
  readonly #dma: Dma;
  readonly #size: number;
  readonly #limit: number;
  readonly #free: DmaRegion[] = [];
  readonly #waiters: Waiter[] = [];
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
  take({ signal, deadline = DEADLINE }: WaitOptions): Promise<DmaRegion> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.#free.pop() ?? this.#grow();
    if (free instanceof Error) return Promise.reject(free);
    if (free !== undefined) return Promise.resolve(free);
    return new Promise((resolve, reject) => {
      const giveUp = (reason: unknown): void => {
        waiter.stop();
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(reason);
      };
      const onAbort = (): void => giveUp(signal?.reason);
      const timer = deadline > LONGEST ? undefined : setTimeout(() => {
        const expected = `some within ${deadline} ms`;
        giveUp(new VireoError("TIMEOUT", "No memory of 9P data came back", { expected }));
      }, deadline);
      const stop = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter = { resolve, reject, stop };
      signal?.addEventListener("abort", onAbort);
      this.#waiters.push(waiter);
    });
  }

  /** Gives a region back. */
  give(region: DmaRegion): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.stop();
      waiter.resolve(region);
    } else if (this.#failure === undefined) this.#free.push(region);
    else region[Symbol.dispose]();
  }

  /** Ends all waiting, and frees what is not with the device; the rest is freed as it comes back. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) {
      waiter.stop();
      waiter.reject(error);
    }
    for (const region of this.#free.splice(0)) region[Symbol.dispose]();
  }

  #grow(): DmaRegion | Error | undefined {
    if (this.#count >= this.#limit) return undefined;
    try {
      const region = this.#dma.alloc(this.#size);
      this.#count++;
      return region;
    } catch (error) {
      // What is there will come back.
      return this.#count > 0 ? undefined : error instanceof Error ? error : new Error(`${error}`);
    }
  }
}
