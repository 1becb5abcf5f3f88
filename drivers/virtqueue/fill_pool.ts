import type { Dma, DmaRegion } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { timedOut } from "../wait/waiter.ts";
import { FreeList } from "./free_list.ts";
import type { RequestOptions, RequestQueue } from "./request_queue.ts";
import { SgList } from "./virtqueue.ts";

/** No caller's array. */
const NOTHING = new Uint8Array(0);

/** Answers in a row without a byte before the device is given up. */
const MAX_EMPTY = 8;

/** Options of a {@linkcode FillPool}. */
export interface FillPoolOptions {
  /** Most bytes of a request. */
  readonly size: number;
  /** Requests in flight for one array, and requests whose memory is kept. */
  readonly most: number;
}

/** Has a device fill arrays. */
export interface ArrayFiller {
  /** Fills an array of any length; see `QueueDriver.fillPool`. */
  fill(queue: RequestQueue, into: Uint8Array, call: WaitOptions): Promise<Uint8Array>;
}

/** The driver of a pool's device. */
export interface FillOwner {
  /** Memory of the device. */
  readonly dma: Dma;
  /** Why the device cannot be asked now. */
  failure(): Error | undefined;
  /** The error of a device that keeps answering with no bytes. */
  tooShort(): Error;
}

/**
 * Requests by which the device fills arrays of its driver's callers; their memory, chains and options are used again, so
 * that a request allocates little more than its promise (tests/machine/allocations_test.ts).
 *
 * Memory is free when both let go of it: the caller, who copies the bytes or gives up, and the device, which may return
 * what its caller gave up long ago. It is wiped then.
 */
export class FillPool implements ArrayFiller, Disposable {
  readonly #owner: FillOwner;
  readonly #size: number;
  readonly #lanes: number;
  readonly #free = new FreeList<Fill>();
  #most: number;

  /** Makes one without memory. */
  constructor(owner: FillOwner, { size, most }: FillPoolOptions) {
    this.#owner = owner;
    this.#size = size;
    this.#lanes = this.#most = most;
  }

  /**
   * Has the device fill an array of any length.
   *
   * @param call The deadline holds for the whole array.
   * @returns The same array, full.
   * @throws {VireoError} If the device keeps answering with no bytes, or why it failed; as
   * {@linkcode RequestQueue.submit}.
   */
  fill(queue: RequestQueue, into: Uint8Array, call: WaitOptions): Promise<Uint8Array> {
    return into.length > this.#size
      ? this.#fillAll(queue, into, call)
      : this.ask(queue, into, call);
  }

  /**
   * Has the device fill an array that one request has room for.
   *
   * @param empty Answers in a row without a byte so far.
   */
  ask(queue: RequestQueue, into: Uint8Array, call: WaitOptions, empty = 0): Promise<Uint8Array> {
    if (into.length === 0) return Promise.resolve(into);
    const failure = this.#owner.failure();
    if (failure !== undefined) return Promise.reject(failure);
    const fill = this.#free.pop() ?? new Fill(this, this.#owner.dma.alloc(this.#size));
    return fill.ask(queue, into, call, empty);
  }

  /** Asks for the rest when only so many bytes came. */
  async rest(
    queue: RequestQueue,
    into: Uint8Array,
    came: number,
    call: WaitOptions,
    empty: number,
  ): Promise<Uint8Array> {
    const inRow = came === 0 ? empty + 1 : 0;
    if (inRow === MAX_EMPTY) throw this.#owner.tooShort();
    // A device that answers within the turn, a byte at a time, leaves no turn to the timer.
    if (performance.now() >= (call.until ?? Infinity)) {
      throw timedOut("the device to fill the buffer", call.deadline);
    }
    await this.ask(queue, into.subarray(came), call, inRow);
    return into;
  }

  /** Fills an array of any length, some requests at a time. */
  async #fillAll(
    queue: RequestQueue,
    bytes: Uint8Array,
    options: WaitOptions,
  ): Promise<Uint8Array> {
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
    const call = { ...options, signal };
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < bytes.length) {
        await this.ask(queue, bytes.subarray(next, next += this.#size), call);
      }
    };
    try {
      await Promise.all(Array.from({ length: this.#lanes }, lane));
    } catch (error) {
      // The other lanes must not write to the caller's array after this.
      stop.abort(error);
      throw error;
    }
    return bytes;
  }

  /** Takes memory that is free. */
  free(fill: Fill): void {
    if (this.#free.length < this.#most) this.#free.push(fill);
    else fill[Symbol.dispose]();
  }

  /** Frees the memory, and what callers still have as soon as they let go of it. */
  [Symbol.dispose](): void {
    this.#most = 0;
    for (const fill of this.#free.drain()) fill[Symbol.dispose]();
  }
}

/** Memory for one request at a time: a region, its chain and the request's options. */
class Fill implements RequestOptions<Uint8Array>, Disposable {
  /** The caller's signal. */
  signal: WaitOptions["signal"];
  /** The caller's deadline, for the message. */
  deadline: WaitOptions["deadline"];
  /** When the call ends. */
  until: WaitOptions["until"];
  readonly #region: DmaRegion;
  readonly #chain = new SgList(1);
  readonly #pool: FillPool;
  /** The bytes of a request, as of the last length. */
  #view: Uint8Array;
  #into: Uint8Array = NOTHING;
  #queue!: RequestQueue;
  /** Answers in a row without a byte, before this one. */
  #empty = 0;
  #held = false;

  constructor(pool: FillPool, region: DmaRegion) {
    this.#pool = pool;
    this.#region = region;
    this.#view = region.bytes;
  }

  ask(
    queue: RequestQueue,
    into: Uint8Array,
    call: WaitOptions,
    empty: number,
  ): Promise<Uint8Array> {
    const { length } = into;
    this.signal = call.signal;
    this.deadline = call.deadline;
    this.until = call.until;
    this.#into = into;
    this.#queue = queue;
    this.#empty = empty;
    this.#held = true;
    if (this.#view.length !== length) this.#view = this.#region.bytes.subarray(0, length);
    const address = this.#region.share(0, length, "from-device");
    return queue.submit(this.#chain.clear().addWritable(address, length), this);
  }

  /** Copies the bytes, and asks for the rest. */
  onAnswered(used: number): Uint8Array | Promise<Uint8Array> {
    const into = this.#into;
    const all = used === into.length;
    into.set(all ? this.#view : this.#view.subarray(0, used));
    this.#region.copied?.(used);
    if (all) {
      this.#letGo();
      return into;
    }
    const { signal, deadline, until } = this;
    const queue = this.#queue;
    const empty = this.#empty;
    this.#letGo();
    return this.#pool.rest(queue, into, used, { signal, deadline, until }, empty);
  }

  /** The caller gave up. */
  onFailed(): void {
    this.#letGo();
  }

  /** The memory is ours again. */
  onReturned(): void {
    this.#region.unshare(0, this.#view.length, "from-device");
    this.#held = false;
    this.#release();
  }

  /** The caller has the bytes, or gave up. */
  #letGo(): void {
    this.#into = NOTHING;
    this.#release();
  }

  #release(): void {
    if (this.#held || this.#into !== NOTHING) return;
    this.#view.fill(0);
    this.#pool.free(this);
  }

  /** Frees the memory; the device must not have it. */
  [Symbol.dispose](): void {
    this.#region[Symbol.dispose]();
  }
}
