import { DescFlag, type Dma, type VireoError } from "@vireo/hal";
import type { RingInspection } from "./inspection.ts";

/** Device addresses of the parts of a virtqueue. */
export interface QueueAddresses {
  /** Number of descriptors. */
  readonly size: number;
  /** Descriptor table (split) or descriptor ring (packed). */
  readonly desc: number;
  /** Available ring (split) or driver event suppression (packed). */
  readonly driver: number;
  /** Used ring (split) or device event suppression (packed). */
  readonly device: number;
  /**
   * Puts the buffers in flight where a device finds them that knows nothing of the one before, which has ended.
   *
   * @returns The index in the available ring where that device starts; undefined if the ring is broken.
   */
  readonly again?: (() => number | undefined) | undefined;
}

/** Words (32 bits) of an element of an {@linkcode SgList}: as a split descriptor without `next`. */
export const SG_WORDS = 4;
/** An address times this gives its high word, exactly and cheaper than a division. */
const HIGH = 2 ** -32;

/**
 * A chain of buffers for a virtqueue: first those that the device reads, then those that it writes.
 *
 * The queue copies what it needs, so a driver makes a list once and reuses it without allocation.
 *
 * @example
 * ```ts
 * import { SgList } from "@vireo/drivers/core";
 * import { assertEquals } from "@std/assert";
 *
 * const list = new SgList(2).addReadable(0x1000, 16).addWritable(0x2000, 512);
 * assertEquals([list.count, list.readable, list.writable], [2, 1, 1]);
 * ```
 */
export class SgList {
  /**
   * The elements in the form of descriptors, for virtqueues: address low and high, length, and
   * `DescFlag.WRITE` or 0.
   */
  readonly words: Uint32Array;
  /** Number of elements that the device reads; they come first. */
  readable = 0;
  /** Number of elements that the device writes; they come last. */
  writable = 0;
  /** Total length of what the device writes, in bytes. */
  writableLength = 0;

  /** Makes a list with room for `capacity` elements. */
  constructor(capacity: number) {
    this.words = new Uint32Array(capacity * SG_WORDS);
  }

  /** The number of elements. */
  get count(): number {
    return this.readable + this.writable;
  }

  /** Device address of an element. */
  address(index: number): number {
    return this.words[index * SG_WORDS]! + this.words[index * SG_WORDS + 1]! * 2 ** 32;
  }

  /** Length of an element in bytes. */
  length(index: number): number {
    return this.words[index * SG_WORDS + 2]!;
  }

  /** Empties the list. */
  clear(): this {
    this.readable = 0;
    this.writable = 0;
    this.writableLength = 0;
    return this;
  }

  /**
   * Appends an element that the device reads.
   *
   * @throws {TypeError} If an element that the device writes is already there (virtio 1.4 §2.7.4.2).
   * @throws {RangeError} If the list is full, or no element can have the address or the length.
   */
  addReadable(address: number, length: number): this {
    if (this.writable > 0) {
      throw new TypeError(
        "Cannot append a readable element: readable ones must precede writable ones",
      );
    }
    this.#set(address, length, 0);
    this.readable++;
    return this;
  }

  /**
   * Appends an element that the device writes.
   *
   * @throws {RangeError} If the list is full, or no element can have the address or the length.
   */
  addWritable(address: number, length: number): this {
    this.#set(address, length, DescFlag.WRITE);
    this.writable++;
    this.writableLength += length;
    return this;
  }

  #set(address: number, length: number, flags: number): void {
    const at = (this.readable + this.writable) * SG_WORDS;
    const { words } = this;
    if (at >= words.length) {
      throw new RangeError(`Cannot append to the list: it is full with ${at / SG_WORDS} elements`);
    }
    if (!(address >= 0 && address <= Number.MAX_SAFE_INTEGER) || length >>> 0 !== length) {
      throw badElement(address, length);
    }
    words[at] = address;
    words[at + 1] = address * HIGH;
    words[at + 2] = length;
    words[at + 3] = flags;
  }
}

function badElement(address: number, length: number): RangeError {
  return new RangeError(
    `Cannot append ${length} bytes at address ${address}: the address must be 0 to 2^53 - 1, ` +
      "and the length an integer, 0 to 4294967295",
  );
}

/** Options of a virtqueue of either ring. */
export interface VirtqueueOptions {
  /** Index on the device. */
  readonly index: number;
  /** Name for messages. */
  readonly name: string;
  /** Ring size in descriptors, from 1 to 32768; of a split ring a power of two. */
  readonly size: number;
  /** Memory for the ring and the indirect tables. */
  readonly dma: Dma;
  /** Whether INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether IN_ORDER was negotiated; not by default. */
  readonly inOrder?: boolean;
  /** Whether NOTIFICATION_DATA was negotiated. */
  readonly notificationData: boolean;
  /** Writes the transport's notify register; `data` is -1 without NOTIFICATION_DATA. */
  readonly notify: (index: number, data: number) => void;
  /** Name of the device, for messages. */
  readonly device?: string;
  /** Reads the device's status, for messages. */
  readonly status?: () => number;
  /** Says what the machine knows of why the device does not answer, for the causes of errors. */
  readonly diagnose?: (() => VireoError | undefined) | undefined;
}

/**
 * A virtqueue as drivers see it, split or packed (virtio 1.4 §2.6).
 *
 * A token names a buffer: an integer of the driver's choice from 0 to 2^31 - 1. The queue checks what the
 * device writes against its own private records. A wrong value breaks the queue: then
 * {@linkcode Virtqueue.broken} has the reason, `pop` returns -1 and `add` throws. `pop` never throws.
 */
export interface Virtqueue extends Disposable {
  /** Index on the device. */
  readonly index: number;
  /** Name for messages and reports, as Linux names it, for example `req.0`. */
  readonly name: string;
  /** Name of the device, for messages, where it is known. */
  readonly device?: string | undefined;
  /** Reads the device's status, where it is known. */
  readonly status?: (() => number) | undefined;
  /** Says what the machine knows of why the device does not answer, where it may know. */
  readonly diagnose?: (() => VireoError | undefined) | undefined;
  /** Ring size in descriptors. */
  readonly size: number;
  /** Free ring slots; a chain takes one with indirect descriptors, else one an element. */
  readonly freeSlots: number;
  /** Number of buffers that the device holds. */
  readonly inFlight: number;
  /** Why the queue is broken, if it is. */
  readonly broken: VireoError | undefined;
  /** Bytes the device claims to have written to the last popped buffer, clamped to its size. */
  readonly usedLength: number;

  /** Number of slots for a chain with this many elements. */
  slotsFor(elements: number): number;
  /**
   * Puts a chain into the ring; the device sees it at the next {@linkcode Virtqueue.kick}.
   *
   * @param chain The buffers; may be reused after the call.
   * @param token Comes back from {@linkcode Virtqueue.pop}.
   * @returns False if the ring has not enough room now.
   * @throws {RangeError} If the token is not an integer from 0 to 2^31 - 1.
   * @throws {VireoError} `QUEUE_BROKEN` If the queue is broken; `CHAIN_SHAPE` If the chain is empty,
   * longer than the queue could ever take, or over 2^32 bytes.
   */
  add(chain: SgList, token: number): boolean;
  /** Makes all added buffers available to the device, and notifies it unless it suppressed that. */
  kick(): void;
  /** Notifies the device in any case, since it may have missed a notification. */
  kickAgain(): void;
  /**
   * Takes the next buffer that the device returned.
   *
   * @returns Its token, or -1 if there is none or the queue is broken.
   */
  pop(): number;
  /** Whether a returned buffer waits for `pop`; false if the queue is broken. */
  hasUsed(): boolean;
  /** Suppresses interrupts; a hint. */
  disableCallbacks(): void;
  /**
   * Asks the device to interrupt for the next used buffer.
   *
   * @returns False if one arrived meanwhile; pop it and call again.
   */
  enableCallbacks(): boolean;
  /**
   * Asks the device to interrupt only when three quarters of the buffers in flight are used.
   *
   * @returns False if more than that arrived meanwhile; pop and call again.
   */
  enableCallbacksDelayed(): boolean;
  /**
   * Takes back one buffer that the device did not return; only after the device or queue was reset.
   *
   * @returns Its token, or -1 if none is left.
   */
  detachUnused(): number;
  /** Shows the ring as it is now, beside what the driver knows itself; not for a queue whose device the driver plays. */
  inspect?(): RingInspection;
  /** Marks the queue broken, as after a wrong value of the device or its removal; the first reason stays. */
  break(reason: VireoError): void;
}
