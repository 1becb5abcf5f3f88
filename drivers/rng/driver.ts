import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";

/** Bytes asked for at once, and requests in flight for one read. */
const CHUNK = 4096;
const LANES = 8;
const NO_OPTIONS: WaitOptions = {};

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
  /** Memory for requests; no more is kept than one read uses. */
  readonly #pool = this.fillPool({ size: CHUNK, most: LANES });

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
   * @throws {TypeError} If it is neither a number nor an array of bytes.
   * @throws {VireoError} `BAD_LENGTH` If the device keeps answering with no bytes; `TIMEOUT`,
   * `DEVICE_REMOVED` or why the device failed. The signal's reason if it is aborted.
   */
  read(target: number | Uint8Array, options: WaitOptions = NO_OPTIONS): Promise<Uint8Array> {
    // No `async`: a short read allocates little more than its promise (tests/machine/allocations_test.ts).
    try {
      if (typeof target === "number" && !(Number.isSafeInteger(target) && target >= 0)) {
        throw new RangeError(`Cannot read ${target} bytes: expected an integer of at least 0`);
      }
      const bytes = typeof target === "number" ? new Uint8Array(target) : target;
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(
          `Cannot read into ${target}: expected a number of bytes or a Uint8Array`,
        );
      }
      const call = options === NO_OPTIONS ? options : within(options);
      return this.#pool.fill(this.#requests, bytes, call);
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
}

/** Drives entropy devices; what `probe` gives is an {@linkcode Rng}. */
export const rngDriver: VirtioDriver<Rng> = {
  name: "virtio_rng",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new Rng(device),
};
