import { type BufferContents, joinBytes, type TraceElement } from "@vireo/hal";
import { ReceivedFrames } from "./_received_frames.ts";
import { describeAnswer, describeRequest, frameOf, receivesFrames } from "./requests.ts";
import type { QueuePlace } from "./words/places.ts";

/** Bytes of a buffer that are looked at for what it means; a frame is taken whole. */
const LOOK = 512;
/** Most bytes of a frame. */
const WHOLE = 1 << 17;

const NOTHING = new Uint8Array(0);

/** Where the contents of buffers are found. */
export interface BufferMemory {
  /** Bytes of each buffer's data that events have. */
  readonly data: number;
  /** The bytes at an address that the device sees; undefined if they are not all in one place. */
  readonly find: (address: number, length: number) => Uint8Array | undefined;
}

/**
 * Tells what is in the buffers of one queue: the request in the device's words, frames, and data. Both sides of a ring
 * have it from here, a driver's trace as well as that of a device which is served to another process.
 *
 * @example
 * ```ts
 * import { BufferWords } from "@vireo/drivers/trace";
 * import { DeviceId, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const words = new BufferWords({ data: 0, find: (_address, length) => new Uint8Array(length) });
 * const place = { deviceId: DeviceId.RNG, features: FeatureSet.NONE, queue: 0, name: "requests" };
 * const elements = [{ address: 0x1000, length: 64, writable: true }];
 * const { request } = words.asked(place, elements);
 * assertEquals(request, "rng 64 bytes");
 * assertEquals(words.answered(place, elements, request, 8).request, "rng gave 8 bytes");
 * ```
 */
export class BufferWords {
  readonly #memory: BufferMemory;
  readonly #received = new ReceivedFrames();

  /** Looks at buffers in a memory. */
  constructor(memory: BufferMemory) {
    this.#memory = memory;
  }

  /** Tells what the driver asks for by a buffer that is added. */
  asked(place: QueuePlace, elements: readonly TraceElement[]): BufferContents {
    let [readable, writable] = [0, 0];
    for (const element of elements) {
      if (element.writable) writable += element.length;
      else readable += element.length;
    }
    const { deviceId, features, queue, name } = place;
    const bytes = this.#bytes(elements, false, LOOK);
    return {
      request: describeRequest({ deviceId, features, queue, name, bytes, readable, writable }),
      frame: frameOf(place, "sent", () => this.#bytes(elements, false, WHOLE)),
      data: this.#data(bytes),
    };
  }

  /**
   * Tells what the device answered by a buffer that is used.
   *
   * @param request The driver's request.
   * @param length Bytes that the device says it wrote.
   */
  answered(
    place: QueuePlace,
    elements: readonly TraceElement[],
    request: string | undefined,
    length: number,
  ): BufferContents {
    const { deviceId, features, queue, name } = place;
    const bytes = this.#bytes(elements, true, Math.min(length, LOOK));
    const last = this.#lastWritable(elements);
    const answer = { deviceId, features, queue, name, request, bytes, length, last };
    const whole = (): Uint8Array => this.#bytes(elements, true, Math.min(length, WHOLE));
    const part = receivesFrames(place) ? this.#received.take(place, whole()) : undefined;
    return {
      request: part?.words ?? describeAnswer(answer),
      frame: part === undefined ? frameOf(place, "received", whole) : part.frame,
      data: this.#data(bytes),
    };
  }

  /** The data that an event has: a copy of the first bytes, if they are asked for. */
  #data(bytes: Uint8Array): Uint8Array | undefined {
    const { data } = this.#memory;
    return data > 0 ? bytes.slice(0, data) : undefined;
  }

  /** The bytes of the elements of one side, as far as they can be seen; a view of memory if they are in one place. */
  #bytes(elements: readonly TraceElement[], writable: boolean, most: number): Uint8Array {
    let found: Uint8Array = NOTHING;
    for (const element of elements) {
      if (element.writable !== writable) continue;
      const left = most - found.length;
      if (left <= 0) break;
      const part = this.#memory.find(element.address, Math.min(element.length, left));
      if (part === undefined) break;
      found = found.length === 0 ? part : joinBytes(found, part);
    }
    return found;
  }

  /** The last byte that the device may write, which is the status of many devices. */
  #lastWritable(elements: readonly TraceElement[]): number | undefined {
    const last = elements.findLast(({ writable, length }) => writable && length > 0);
    return last && this.#memory.find(last.address + last.length - 1, 1)?.[0];
  }
}
