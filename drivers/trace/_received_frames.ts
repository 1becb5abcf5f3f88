import { counted, joinBytes, NET_HDR, NetFeature, netHeaderSize } from "@vireo/hal";
import { describeFrame } from "./frames.ts";
import type { QueuePlace } from "./words/places.ts";
import { viewOf } from "./words/names.ts";

/** Most bytes of a frame that are kept; a device that says it has more lies. */
const MOST = 1 << 17;

/** A buffer of a received frame. */
interface ReceivedPart {
  /** The buffer in words; undefined for a frame in one buffer. */
  readonly words: string | undefined;
  /** The whole frame, with its last buffer. */
  readonly frame: Uint8Array | undefined;
}

/** Puts the frames of a receive queue together: with MRG_RXBUF one may lie in several buffers (virtio 1.4 §5.1.9.4). */
export class ReceivedFrames {
  #parts: Uint8Array[] = [];
  #length = 0;
  #count = 0;
  #left = 0;

  /** Takes the next buffer, with the bytes that the device wrote to it. */
  take({ features }: QueuePlace, bytes: Uint8Array): ReceivedPart {
    const first = this.#left === 0;
    const skipped = first ? netHeaderSize(features) : 0;
    if (first) {
      this.#parts = [];
      this.#length = 0;
      const merged = features.has(NetFeature.MRG_RXBUF) && bytes.length >= NET_HDR.SIZE;
      // A count of 0 is a lie that the driver sees too.
      this.#count = merged ? viewOf(bytes).getUint16(NET_HDR.num_buffers.offset, true) || 1 : 1;
      this.#left = this.#count;
    }
    this.#left--;
    const part = bytes.subarray(skipped);
    if (this.#count === 1) {
      return { words: undefined, frame: part.length > 0 ? part.slice() : undefined };
    }
    if (this.#length < MOST) this.#parts.push(part.slice());
    this.#length += part.length;
    const place = `buffer ${this.#count - this.#left} of ${counted(this.#count, "buffer")}`;
    if (this.#left > 0) return { words: `net ${place} of a frame`, frame: undefined };
    const frame = joinBytes(...this.#parts);
    this.#parts = [];
    return { words: `net ${describeFrame(frame)}, ${place}`, frame };
  }
}
