import { asError, type Dma, type DmaDirection, type DmaRegion } from "@vireo/hal";
import { FreeList } from "../virtqueue/free_list.ts";
import { WaitList, type WaitOptions, within } from "../wait/mod.ts";

/** Milliseconds that a request may take, or wait for memory, unless told otherwise. */
export const DEADLINE = 30_000;

/** Memory for the data of a read or a write. */
export class Payload {
  /** The memory. */
  readonly region: DmaRegion;
  /** It is used from its first byte on. */
  readonly offset = 0;
  /** Bytes of the data. */
  length = 0;
  /** Which side writes them. */
  direction: DmaDirection = "from-device";
  #view: Uint8Array;

  /** Takes over a region. */
  constructor(region: DmaRegion) {
    this.region = region;
    this.#view = region.bytes;
  }

  /** Sets the length and the direction of the next data. */
  carry(length: number, direction: DmaDirection): this {
    this.length = length;
    this.direction = direction;
    return this;
  }

  /** The first bytes: the same view as long as their number is. */
  first(length: number): Uint8Array {
    if (this.#view.length !== length) this.#view = this.region.bytes.subarray(0, length);
    return this.#view;
  }
}

/** Memory for the data of reads and writes: a few regions of one size, first come, first served. */
export class Payloads {
  readonly #dma: Dma;
  readonly #size: number;
  readonly #limit: number;
  readonly #free = new FreeList<Payload>();
  readonly #waiters = new WaitList<undefined, Payload>("memory of 9P data");
  #count = 0;
  #failure: Error | undefined;

  /** Makes room for `limit` regions of `size` bytes, none of which is there yet. */
  constructor(dma: Dma, size: number, limit: number) {
    this.#dma = dma;
    this.#size = size;
    this.#limit = limit;
  }

  /** Takes a region that is free; undefined if {@linkcode Payloads.take} must be asked. */
  takeFree(): Payload | undefined {
    return this.#failure === undefined ? this.#free.pop() : undefined;
  }

  /**
   * Takes a region, or waits for one.
   *
   * @throws {VireoError} `TIMEOUT`, `OUT_OF_MEMORY`, or why the device failed; the signal's reason.
   */
  take(options: WaitOptions): Promise<Payload> {
    const { signal } = options;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const free = this.#free.pop() ?? this.#grow();
    if (free instanceof Error) return Promise.reject(free);
    if (free !== undefined) return Promise.resolve(free);
    return this.#waiters.wait(undefined, within(options, DEADLINE));
  }

  /** Gives a region back. */
  give(payload: Payload): void {
    if (this.#waiters.resolveFirst(payload)) return;
    if (this.#failure === undefined) this.#free.push(payload);
    else payload.region[Symbol.dispose]();
  }

  /** Ends all waiting, and frees what is not with the device; the rest is freed as it comes back. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#waiters.rejectAll(error);
    for (const { region } of this.#free.drain()) region[Symbol.dispose]();
  }

  #grow(): Payload | Error | undefined {
    if (this.#count >= this.#limit) return undefined;
    try {
      const payload = new Payload(this.#dma.alloc(this.#size));
      this.#count++;
      return payload;
    } catch (error) {
      // The regions that there are will come back.
      return this.#count > 0 ? undefined : asError(error);
    }
  }
}
