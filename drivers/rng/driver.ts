import { ANY_ID, DeviceId, FeatureSet, VireoError } from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import type { WaitOptions } from "../wait/options.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList } from "../virtqueue/virtqueue.ts";

/** Bytes asked for at once, and requests in flight for one read. */
const CHUNK = 4096;
const LANES = 8;
/** Answers in a row without a byte before the device is given up. */
const MAX_EMPTY = 8;

/** An array that random bits can fill, as for `crypto.getRandomValues`. */
// deno-fmt-ignore
export type IntegerArray =
  | Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array | Uint32Array
  | BigInt64Array | BigUint64Array;

/** An entropy device (virtio 1.4 §5.4). */
export class Rng implements DriverInstance {
  readonly #device: VirtioDevice;
  #requests!: RequestQueue;

  /** Sets up the queue of a device whose features are negotiated. */
  constructor(device: VirtioDevice) {
    this.#device = device;
    this.restore();
  }

  /**
   * Reads random bytes; any number of reads may be in flight.
   *
   * @param target How many bytes, or where to put them.
   * @param options The deadline holds for each request to the device, which gives 4096 bytes or fewer.
   * @returns The bytes, or the array that was given.
   * @throws {VireoError} `BAD_LENGTH` If the device gives nothing again and again; `TIMEOUT`,
   * `DEVICE_REMOVED` or why the device failed. The signal's reason if it is aborted.
   */
  async read(target: number | Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    const bytes = typeof target === "number" ? new Uint8Array(target) : target;
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < bytes.length) {
        const part = bytes.subarray(next, next += CHUNK);
        await this.#fillPart(part, { ...options, signal });
      }
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
   * Fills an array with random bits: `crypto.getRandomValues`, but from the device and of any length.
   *
   * @returns The same array.
   * @throws {TypeError} If it is not an array of integers. Else as {@linkcode Rng.read}.
   */
  async fill<T extends IntegerArray>(array: T, options: WaitOptions = {}): Promise<T> {
    if (!ArrayBuffer.isView(array) || !/^(Big)?(Int|Uint)/.test(array[Symbol.toStringTag])) {
      throw new TypeError("Cannot fill anything but an array of integers with random bits");
    }
    await this.read(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), options);
    return array;
  }

  /** The device or its queue failed: rejects what is pending. */
  failed(error: Error): void {
    this.#requests.failAll(error);
  }

  /** The device is about to be reset: rejects what is pending. */
  freeze(): void {
    this.failed(this.#error("DEVICE_STATE", "Read was cut off by a reset"));
  }

  /** Sets up the queue, at first and after a reset. */
  restore(): void {
    const callback = (): void => this.#requests.drain();
    const [queue] = this.#device.findQueues([{ name: "input", callback, indirect: false }]);
    this.#requests?.detachAll();
    this.#requests = new RequestQueue(queue!);
  }

  /** Rejects what is pending, resets the device and frees its memory. */
  async remove(): Promise<void> {
    this.failed(this.#error("DEVICE_REMOVED", "Entropy device was removed"));
    await this.#device.reset();
    this.#requests.detachAll();
    this.#device.deleteQueues();
  }

  async #fillPart(part: Uint8Array, options: WaitOptions): Promise<void> {
    let empty = 0;
    for (let at = 0; at < part.length;) {
      const used = await this.#request(part, at, options);
      empty = used === 0 ? empty + 1 : 0;
      if (empty === MAX_EMPTY) throw this.#error("BAD_LENGTH", "Entropy device gives no bytes");
      at += used;
    }
  }

  /** One request; the device owns its memory until it is returned, aborted or not. */
  async #request(into: Uint8Array, at: number, options: WaitOptions): Promise<number> {
    const length = into.length - at;
    const region = this.#device.dma.alloc(length);
    const chain = new SgList(1).addWritable(region.share(0, length, "from-device"), length);
    let owners = 2;
    const release = (): void => {
      if (--owners === 0) region[Symbol.dispose]();
    };
    try {
      const onReturned = (): void => {
        region.unshare(0, length, "from-device");
        release();
      };
      const claimed = await this.#requests.submit(chain, { ...options, onReturned });
      // The used length is only a claim (virtio 1.4 §5.4.6.1 makes it the count).
      const used = Math.min(claimed, length);
      into.set(region.bytes.subarray(0, used), at);
      return used;
    } finally {
      release();
    }
  }

  #error(code: "DEVICE_STATE" | "DEVICE_REMOVED" | "BAD_LENGTH", what: string): VireoError {
    return new VireoError(code, what, { device: this.#device.name });
  }
}

/** Drives entropy devices; what `probe` gives is an {@linkcode Rng}. */
export const rngDriver: VirtioDriver<Rng> = {
  name: "virtio_rng",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new Rng(device),
};
