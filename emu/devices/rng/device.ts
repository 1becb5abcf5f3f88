import { DeviceId, FeatureSet } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceModel, QueueSpec, RandomSource } from "../../device.ts";

/** Bytes given to one request unless told otherwise; the guest's number never sizes the work. */
const DEFAULT_LIMIT = 65536;
/** Bytes made at a time. */
const CHUNK = 4096;

/** How a device under test departs from the specification. */
export interface RngLies {
  /** The used length to report, from the bytes written and the buffer's size. */
  readonly usedLength?: (written: number, capacity: number) => number;
  /** Keeps requests until {@linkcode RngDevice.release} instead of answering. */
  readonly hold?: boolean;
}

/** Options of {@linkcode RngDevice}. */
export interface RngDeviceOptions {
  /** Where the bytes come from. */
  readonly random: RandomSource;
  /** The most bytes a request gets, at least 1; 65536 by default. */
  readonly maxBytes?: number;
  /** Largest queue size in descriptors; 64 by default. */
  readonly queueSize?: number;
  /** For tests of drivers; a real device tells no lies. */
  readonly lies?: RngLies;
}

/**
 * The entropy device (virtio 1.4 §5.4): fills what the driver posts, one byte at least.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * // A device that is slow on purpose, for the test of a driver.
 * const device = new RngDevice({ random: seededRandom(1), lies: { hold: true } });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rngDriver);
 * await bus.addPlatform(machine);
 * const reading = bus.get(rngDriver)!.read(8);
 * await new Promise((resolve) => setTimeout(resolve));
 * assertEquals(device.held, 1);
 * device.release();
 * assertEquals((await reading).length, 8);
 * ```
 */
export class RngDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "rng";
  /** Virtio device id 4. */
  readonly deviceId: number = DeviceId.RNG;
  /** It has none of its own. */
  readonly features: FeatureSet = FeatureSet.NONE;
  /** The one request queue. */
  readonly queues: readonly QueueSpec[];
  /** It has no configuration. */
  readonly configSize = 0;
  readonly #random: RandomSource;
  readonly #maxBytes: number;
  readonly #lies: RngLies;
  readonly #chunk = new Uint8Array(CHUNK);
  /** The chunk's start, as of the last length. */
  #part: Uint8Array = this.#chunk;
  #context: DeviceContext | undefined;
  #held: Chain[] = [];

  /**
   * Makes the device.
   *
   * @throws {RangeError} If `maxBytes` is not a positive integer.
   */
  constructor(options: RngDeviceOptions) {
    this.#random = options.random;
    this.#maxBytes = options.maxBytes ?? DEFAULT_LIMIT;
    if (!Number.isInteger(this.#maxBytes) || this.#maxBytes < 1) {
      throw new RangeError(
        `Cannot give ${this.#maxBytes} bytes at most: 'maxBytes' must be a positive integer`,
      );
    }
    this.#lies = options.lies ?? {};
    this.queues = [{ name: "requestq", maxSize: options.queueSize ?? 64 }];
  }

  /** Requests that are held back. */
  get held(): number {
    return this.#held.length;
  }

  /** Answers the requests that were held back. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const chain of held) this.#answer(chain);
    this.#context?.queue(0)?.signal();
  }

  /** There is no configuration; the machine never asks. */
  readConfig(): number {
    return 0;
  }

  /** Starts to answer requests. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Answers what the queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      // virtio 1.4 §5.4.6.1: no device-readable buffers; and a request must have room for a byte.
      const { readableLength, writableLength } = chain;
      if (readableLength > 0 || writableLength === 0) {
        const reason = readableLength > 0
          ? `entropy request has ${readableLength} device-readable bytes, expected none`
          : "entropy request has no room for a byte";
        this.#context?.fault(reason, "drv.rng.operation.1");
        return;
      }
      if (this.#lies.hold) this.#held.push(chain);
      else this.#answer(chain);
    }
    queue.signal();
  }

  /** Forgets the requests that are held back. */
  resetQueue(): void {
    this.#held = [];
  }

  /** Forgets the driver and the requests that are held back. */
  reset(): void {
    this.#held = [];
    this.#context = undefined;
  }

  /** Nothing to keep: the entropy source belongs to the host. */
  snapshot(): unknown {
    return {};
  }

  /** Takes the state back. */
  restore(): void {}

  /** Frees nothing; the random source is the owner's. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #answer(chain: Chain): void {
    const capacity = chain.writableLength;
    const length = Math.min(capacity, this.#maxBytes);
    for (let at = 0; at < length; at += CHUNK) {
      const size = Math.min(length - at, CHUNK);
      if (this.#part.length !== size) this.#part = this.#chunk.subarray(0, size);
      this.#random(this.#part);
      chain.write(this.#part);
    }
    const written = chain.written;
    this.#context?.queue(0)?.push(chain, this.#lies.usedLength?.(written, capacity) ?? written);
  }
}
