import type { Dma, DmaRegion } from "@vireo/hal";
import { SgList, type Virtqueue } from "./virtqueue.ts";

/** How to make a {@linkcode ReceiveRing}. */
export interface ReceiveRingOptions {
  /** Bytes of each buffer. */
  readonly bytes: number;
  /** Number of buffers; at most the queue's number of slots. */
  readonly count: number;
}

/**
 * Buffers of one size that a device may fill at any time, for example on event queues. Each is posted again
 * after its message was handled. A message that fills its buffer causes no allocation.
 *
 * @example
 * ```ts
 * import { ReceiveRing, SplitVirtqueue } from "@vireo/drivers/core";
 * import { TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new TestDma();
 * let kicks = 0;
 * const queue = new SplitVirtqueue({
 *   index: 0,
 *   name: "events",
 *   size: 4,
 *   dma,
 *   indirect: false,
 *   eventIdx: false,
 *   notificationData: false,
 *   notify: () => kicks++,
 * });
 * {
 *   using ring = new ReceiveRing(queue, dma, { bytes: 8, count: 4 });
 *   ring.kick();
 *   // All buffers are the device's, which has filled none.
 *   ring.drain(() => assertEquals("a message", "none"));
 *   assertEquals([kicks, queue.inFlight], [1, 4]);
 * }
 * assertEquals(queue.inFlight, 0);
 * ```
 */
export class ReceiveRing implements Disposable {
  readonly #queue: Virtqueue;
  readonly #region: DmaRegion;
  readonly #chain = new SgList(1);
  readonly #bytes: number;
  readonly #count: number;
  readonly #views: readonly Uint8Array[];

  /**
   * Posts the buffers; they reach the device at the first {@linkcode ReceiveRing.kick}.
   *
   * @throws {VireoError} `OUT_OF_MEMORY`.
   */
  constructor(queue: Virtqueue, dma: Dma, options: ReceiveRingOptions) {
    this.#queue = queue;
    this.#bytes = options.bytes;
    this.#count = Math.min(options.count, queue.size);
    this.#region = dma.alloc(this.#bytes * this.#count);
    this.#views = Array.from(
      { length: this.#count },
      (_, i) => this.#region.bytes.subarray(i * this.#bytes, (i + 1) * this.#bytes),
    );
    for (let token = 0; token < this.#count; token++) this.#post(token);
  }

  /** Notifies the device of the buffers; call this after DRIVER_OK. */
  kick(): void {
    this.#queue.kick();
  }

  /**
   * Takes all messages; the queue's callback calls this.
   *
   * @param handle Gets exactly the bytes that the device wrote to a buffer, valid during the call. It
   * must not throw. If it returns false, the rest stays in the ring until the next call, which makes the
   * device wait.
   */
  drain(handle: (bytes: Uint8Array) => boolean | void): void {
    const queue = this.#queue;
    let posted = false;
    do {
      for (let token = queue.pop(); token >= 0; token = queue.pop()) {
        const length = queue.usedLength;
        this.#region.unshare(token * this.#bytes, this.#bytes, "from-device");
        const view = this.#views[token]!;
        const bytes = length < view.length ? view.subarray(0, length) : view;
        const more = handle(bytes) !== false;
        // The queue may have broken, or the ring been disposed, inside the call.
        if (queue.broken !== undefined || this.#region.bytes.length === 0) return;
        this.#post(token);
        posted = true;
        if (!more) return queue.kick();
      }
    } while (!queue.enableCallbacks() && queue.broken === undefined);
    if (posted) queue.kick();
  }

  /** Data of a buffer was copied for its receiver to keep. */
  copied(bytes: number): void {
    this.#region.copied?.(bytes);
  }

  /** Takes the buffers back and frees them; only after the device or the queue was reset. */
  [Symbol.dispose](): void {
    for (let token = this.#queue.detachUnused(); token >= 0; token = this.#queue.detachUnused()) {
      this.#region.unshare(token * this.#bytes, this.#bytes, "from-device");
    }
    this.#region[Symbol.dispose]();
  }

  #post(token: number): void {
    const address = this.#region.share(token * this.#bytes, this.#bytes, "from-device");
    this.#queue.add(this.#chain.clear().addWritable(address, this.#bytes), token);
  }
}
