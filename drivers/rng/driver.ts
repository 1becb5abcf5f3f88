import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import { timedOut } from "../wait/waiter.ts";
import { Lane, type LaneOwner } from "./_lane.ts";

/** Bytes asked for at once, and requests in flight for one read. */
const CHUNK = 4096;
const LANES = 8;
const NO_OPTIONS: WaitOptions = {};
/** Answers in a row without a byte before the device is given up. */
const MAX_EMPTY = 8;

/** An array that random bits can fill, as for `crypto.getRandomValues`. */
// deno-fmt-ignore
export type IntegerArray =
  | Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array | Uint32Array
  | BigInt64Array | BigUint64Array;

/**
 * An entropy device (virtio 1.4 §5.4).
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const seed = await vireo.rng.read(32, { deadline: 1000 });
 * assertEquals(seed.length, 32);
 * ```
 */
export class Rng extends QueueDriver {
  #requests!: RequestQueue;
  /** Memory for requests to come; no more than one read uses. */
  readonly #lanes: Lane[] = [];
  #removed = false;

  /** Sets up the queue of a device whose features are negotiated. */
  constructor(device: VirtioDevice) {
    super(device, "Entropy device");
    this.setUp();
  }

  /** Opens the request queue. */
  protected override setUp(): void {
    [this.#requests] = this.openQueues({ name: "input", indirect: false });
  }

  /**
   * Reads random bytes; any number of reads may be in flight.
   *
   * @param target How many bytes, or where to put them.
   * @param options The deadline holds for the whole read; none by default.
   * @returns The bytes, or the array that was given.
   * @throws {RangeError} If the number is not an integer of at least 0.
   * @throws {VireoError} `BAD_LENGTH` If the device keeps answering with no bytes; `TIMEOUT`,
   * `DEVICE_REMOVED` or why the device failed. The signal's reason if it is aborted.
   */
  read(target: number | Uint8Array, options: WaitOptions = NO_OPTIONS): Promise<Uint8Array> {
    // No `async`: a short read allocates little more than its promise (tests/allocations_test.ts).
    try {
      if (typeof target === "number" && !(Number.isSafeInteger(target) && target >= 0)) {
        throw new RangeError(`Cannot read ${target} bytes: expected an integer of at least 0`);
      }
      const bytes = typeof target === "number" ? new Uint8Array(target) : target;
      const call = options === NO_OPTIONS ? options : within(options);
      return bytes.length > CHUNK ? this.#fillAll(bytes, call) : this.#ask(bytes, call);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Fills an array with random bits: `crypto.getRandomValues`, but from the device and of any length.
   *
   * @returns The same array.
   * @throws {TypeError} If it is not an array of integers. Else as {@linkcode Rng.read}.
   */
  async fill<T extends IntegerArray>(array: T, options: WaitOptions = {}): Promise<T> {
    if (!ArrayBuffer.isView(array) || !/^(Big)?(Int|Uint)/.test(array[Symbol.toStringTag])) {
      throw new TypeError(
        "Cannot fill the value with random bits: it must be an array of integers",
      );
    }
    await this.read(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), options);
    return array;
  }

  /** Frees the memory as well, which the device has returned by then. */
  override async remove(): Promise<void> {
    this.#removed = true;
    await super.remove();
    for (const lane of this.#lanes.splice(0)) lane[Symbol.dispose]();
  }

  /** Fills an array of any length, some requests at a time. */
  async #fillAll(bytes: Uint8Array, options: WaitOptions): Promise<Uint8Array> {
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
    const call = { ...options, signal };
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < bytes.length) await this.#ask(bytes.subarray(next, next += CHUNK), call);
    };
    try {
      await Promise.all(Array.from({ length: LANES }, lane));
    } catch (error) {
      // The other lanes must not write to the caller's array after this.
      stop.abort(error);
      throw error;
    }
    return bytes;
  }

  /**
   * Fills an array that one lane has room for.
   *
   * @param empty Answers in a row without a byte so far.
   */
  #ask(into: Uint8Array, call: WaitOptions, empty = 0): Promise<Uint8Array> {
    if (into.length === 0) return Promise.resolve(into);
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const lane = this.#lanes.pop() ?? new Lane(this.device.dma, CHUNK, this.#owner);
    return lane.ask(this.#requests, into, call, empty);
  }

  readonly #owner: LaneOwner = {
    free: (lane) => {
      if (this.#removed || this.#lanes.length === LANES) lane[Symbol.dispose]();
      else this.#lanes.push(lane);
    },
    rest: async (into, came, call, empty) => {
      const inRow = came === 0 ? empty + 1 : 0;
      if (inRow === MAX_EMPTY) throw this.tooShort(0, 1);
      // A device that answers within the turn, a byte at a time, leaves no turn to the timer.
      if (performance.now() >= (call.until ?? Infinity)) {
        throw timedOut("the device to fill the buffer", call.deadline);
      }
      await this.#ask(into.subarray(came), call, inRow);
      return into;
    },
  };
}

/** Drives entropy devices; what `probe` gives is an {@linkcode Rng}. */
export const rngDriver: VirtioDriver<Rng> = {
  name: "virtio_rng",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new Rng(device),
};
