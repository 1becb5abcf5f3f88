import type { Dma, DmaRegion } from "@vireo/hal";
import type { RequestOptions, RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList } from "../virtqueue/virtqueue.ts";
import type { WaitOptions } from "../wait/mod.ts";

/** No caller's array. */
const NOTHING = new Uint8Array(0);

/** User of a lane. */
export interface LaneOwner {
  /** The lane may be used again. */
  free(lane: Lane): void;
  /** Only so many bytes came, after `empty` answers without one: asks for the others. */
  rest(
    into: Uint8Array,
    came: number,
    call: WaitOptions,
    empty: number,
  ): Promise<Uint8Array>;
}

/**
 * Memory for one request at a time, which is used again: a region, its chain and the request's options.
 *
 * It is free when both let go of it: the caller, who copies the bytes or gives up, and the device, which
 * may return what its caller gave up long ago. Until then it keeps its random bytes from nobody but the
 * next request: they are wiped when it is free.
 */
export class Lane implements RequestOptions, Disposable {
  /** The caller's signal. */
  signal: WaitOptions["signal"];
  /** The caller's deadline, for the message. */
  deadline: WaitOptions["deadline"];
  /** When the call ends. */
  until: WaitOptions["until"];
  readonly #region: DmaRegion;
  readonly #chain = new SgList(1);
  readonly #owner: LaneOwner;
  /** The bytes of a request, as of the last length. */
  #view: Uint8Array;
  #into: Uint8Array = NOTHING;
  /** Answers in a row without a byte, before this one. */
  #empty = 0;
  #held = false;

  /** Makes one. */
  constructor(dma: Dma, size: number, owner: LaneOwner) {
    this.#region = dma.alloc(size);
    this.#view = this.#region.bytes;
    this.#owner = owner;
  }

  /**
   * Asks for random bytes.
   *
   * @param into Where they go, at most as many as the lane has.
   * @param empty Answers in a row without a byte so far.
   * @returns The same array, full.
   * @throws As {@linkcode RequestQueue.submit}.
   */
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
    this.#empty = empty;
    this.#held = true;
    if (this.#view.length !== length) this.#view = this.#region.bytes.subarray(0, length);
    const address = this.#region.share(0, length, "from-device");
    return queue.submit(this.#chain.clear().addWritable(address, length), this)
      .then(this.#answered, this.#failed);
  }

  readonly #answered = (used: number): Uint8Array | Promise<Uint8Array> => {
    const into = this.#into;
    const all = used === into.length;
    into.set(all ? this.#view : this.#view.subarray(0, used));
    this.#region.copied?.(used);
    const { signal, deadline, until } = this;
    const empty = this.#empty;
    this.#letGo();
    return all ? into : this.#owner.rest(into, used, { signal, deadline, until }, empty);
  };

  readonly #failed = (error: unknown): never => {
    this.#letGo();
    throw error;
  };

  /** The memory is ours again. */
  readonly onReturned = (): void => {
    this.#region.unshare(0, this.#view.length, "from-device");
    this.#held = false;
    this.#release();
  };

  /** The caller has the bytes, or gave up. */
  #letGo(): void {
    this.#into = NOTHING;
    this.#release();
  }

  #release(): void {
    if (this.#held || this.#into !== NOTHING) return;
    this.#view.fill(0);
    this.#owner.free(this);
  }

  /** Frees the memory; the device must not have it. */
  [Symbol.dispose](): void {
    this.#region[Symbol.dispose]();
  }
}
