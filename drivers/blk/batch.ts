import {
  BLK_SECTOR_SIZE,
  BlkRequestType,
  BlkStatus,
  type Dma,
  VireoError,
  type VireoErrorDetails,
} from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { type Waiter, waitFor, type WaitSubject } from "../wait/waiter.ts";
import type { BlkQueue } from "./_queue.ts";
import { Slots } from "./_slots.ts";
import { lengthError } from "./requests.ts";

const IDLE = 0;
const SUBMITTED = 1;
const DONE = 2;
/** Our own status: the used length did not cover the bytes to read. */
const SHORT = -1;
/** A status of ours: the device failed or was reset before it answered. */
const LOST = -2;

/** The parts of the disk that a batch uses. */
export interface BlkBatchDisk {
  /** Size in sectors. */
  readonly sectors: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Sectors of a logical block. */
  readonly blockSectors: number;
}

/**
 * Requests without any allocation: slots of device memory, made once, prepared, submitted and
 * polled by number.
 *
 * Prepare a slot, {@linkcode BlkBatch.submit} it, {@linkcode BlkBatch.kick} once for many, and
 * {@linkcode BlkBatch.poll} until the slots are back. A device that answers later is waited for by
 * {@linkcode BlkBatch.wait}. A submitted slot's memory is the device's until `poll` returned it.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * using batch = vireo.blk.batch(4, 512);
 * for (let slot = 0; slot < 4; slot++) {
 *   batch.prepareRead(slot, slot, 512);
 *   batch.submit(slot);
 * }
 * batch.kick();
 * let done = 0;
 * while (done < 4) {
 *   await batch.wait({ deadline: 1000 });
 *   for (let slot = batch.poll(); slot >= 0; slot = batch.poll()) {
 *     if (batch.ok(slot)) done++;
 *   }
 * }
 * assertEquals(batch.bytes(0).length, 512);
 * ```
 */
export class BlkBatch implements Disposable {
  /** How many slots there are. */
  readonly depth: number;
  /** Bytes of each slot. */
  readonly bytesPerRequest: number;
  readonly #disk: BlkBatchDisk;
  readonly #queue: BlkQueue;
  readonly #slots: Slots;
  readonly #views: readonly Uint8Array[];
  readonly #token: number;
  readonly #states: Uint8Array;
  readonly #statuses: Int16Array;
  readonly #used: Uint32Array;
  readonly #sectors: Float64Array;
  /** Completed slots that were not polled yet, a ring. */
  readonly #done: Int32Array;
  #doneHead = 0;
  #doneCount = 0;
  #inFlight = 0;
  /** Slots whose memory is the device's; more than in flight once the device failed. */
  #given = 0;
  #failure: Error | undefined;
  #waiter: Waiter<void> | undefined;
  /** Result of a wait's last look. */
  #seen: VireoErrorDetails | undefined;
  readonly #subject: WaitSubject<void> = {
    what: "the device to answer a request of the batch",
    look: (waiter) => void (this.#seen = this.#queue.lookAgain(() => waiter.over, true)),
    details: () => this.#seen ?? {},
  };
  #disposed = false;

  /**
   * Allocates the slots; use `Blk.batch`.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room.
   */
  constructor(
    disk: BlkBatchDisk,
    queue: BlkQueue,
    dma: Dma,
    size: { readonly depth: number; readonly bytes: number; readonly segment: number },
  ) {
    const { depth, bytes } = size;
    this.depth = depth;
    this.bytesPerRequest = bytes;
    this.#disk = disk;
    this.#queue = queue;
    this.#slots = new Slots(dma, depth, bytes, size.segment);
    const { data } = this.#slots;
    this.#views = Array.from(
      { length: depth },
      (_, i) => data.subarray(i * bytes, (i + 1) * bytes),
    );
    this.#states = new Uint8Array(depth);
    this.#statuses = new Int16Array(depth);
    this.#used = new Uint32Array(depth);
    this.#sectors = new Float64Array(depth);
    this.#done = new Int32Array(depth);
    this.#token = queue.addBatch(this);
  }

  /** Slots that were submitted and did not come back. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** The data of a slot: what to write, or what was read; the same view each time. */
  bytes(slot: number): Uint8Array {
    return this.#views[slot]!;
  }

  /**
   * Makes a slot a read.
   *
   * @param sector First sector.
   * @param length Bytes; the whole slot by default.
   * @throws {RangeError} If the length is not a multiple of the block size, or the slot is in use.
   * @throws {VireoError} `OUT_OF_RANGE`
   */
  prepareRead(slot: number, sector: number, length: number = this.bytesPerRequest): void {
    this.#prepare(slot, BlkRequestType.IN, sector, length);
  }

  /**
   * Makes a slot a write of its bytes.
   *
   * @param sector First sector.
   * @param length Bytes; the whole slot by default.
   * @throws {RangeError} If the length is not a multiple of the block size, or the slot is in use.
   * @throws {VireoError} `READ_ONLY`, `OUT_OF_RANGE`
   */
  prepareWrite(slot: number, sector: number, length: number = this.bytesPerRequest): void {
    if (this.#disk.readOnly) {
      throw new VireoError("READ_ONLY", "Cannot write to the disk: it is read-only", {
        device: this.#queue.where.device,
      });
    }
    this.#prepare(slot, BlkRequestType.OUT, sector, length);
  }

  /** Makes a slot a flush; the device must have FLUSH. */
  prepareFlush(slot: number): void {
    this.#prepare(slot, BlkRequestType.FLUSH, 0, 0);
  }

  /**
   * Makes a prepared slot available to the device, which is told by {@linkcode BlkBatch.kick}.
   *
   * @returns False if the ring has no room now: kick, poll and try again.
   * @throws {VireoError} If the device failed or is being reset.
   */
  submit(slot: number): boolean {
    const ring = this.#queue.ring;
    const failure = this.#queue.failure;
    if (failure !== undefined) throw failure;
    if (ring === undefined) {
      throw new VireoError("DEVICE_STATE", "Cannot submit a request: the device is being reset", {
        device: this.#queue.where.device,
      });
    }
    if (this.#states[slot] !== IDLE) {
      throw new RangeError(`Cannot submit slot ${slot}: it must be prepared, and of this batch`);
    }
    if (ring.freeSlots < ring.slotsFor(this.#slots.elements(this.#slots.lengths[slot]!))) {
      return false;
    }
    ring.add(this.#slots.give(slot), this.#token | slot);
    this.#states[slot] = SUBMITTED;
    this.#inFlight++;
    this.#given++;
    return true;
  }

  /** Tells the device of all submitted slots. */
  kick(): void {
    const ring = this.#queue.ring;
    if (ring === undefined) return;
    // A poller needs no interrupt; requests of the promise interface do.
    if (this.#queue.inFlight === 0) ring.disableCallbacks();
    ring.kick();
  }

  /**
   * Takes a slot that the device is done with.
   *
   * @returns The slot, which may be prepared again, or -1 if there is none yet.
   */
  poll(): number {
    const queue = this.#queue;
    const ring = queue.ring;
    while (this.#doneCount === 0 && ring !== undefined) {
      const token = ring.pop();
      if (token < 0) {
        // A broken ring returns nothing more: what is in flight comes back as failed.
        if (ring.broken === undefined || this.#inFlight === 0) break;
        queue.failAll(ring.broken);
        break;
      }
      queue.dispatch(token);
    }
    if (this.#doneCount === 0) return -1;
    const slot = this.#done[this.#doneHead]!;
    this.#doneHead = this.#doneHead + 1 === this.depth ? 0 : this.#doneHead + 1;
    this.#doneCount--;
    this.#states[slot] = IDLE;
    return slot;
  }

  /** Whether a polled slot's request succeeded. */
  ok(slot: number): boolean {
    return this.#statuses[slot] === BlkStatus.OK;
  }

  /** Why a polled slot's request failed, or undefined. */
  error(slot: number): Error | undefined {
    const status = this.#statuses[slot]!;
    const type = this.#slots.type(slot);
    const sector = this.#sectors[slot]!;
    if (status === BlkStatus.OK) return undefined;
    if (status === LOST) return this.#failure;
    if (status !== SHORT) return this.#queue.statusError(type, sector, status);
    const expected = this.#slots.lengths[slot]! + 1;
    return lengthError(this.#queue.where, type, sector, this.#used[slot]!, expected);
  }

  /**
   * Resolves when {@linkcode BlkBatch.poll} has something; one wait at a time.
   *
   * @throws {VireoError} `TIMEOUT` If the device does not answer within the deadline.
   */
  wait(options: WaitOptions = {}): Promise<void> {
    if (this.#waiter !== undefined) {
      throw new TypeError("Cannot wait on the batch: only one wait at a time is possible");
    }
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    if (this.#doneCount > 0 || this.#inFlight === 0) return Promise.resolve();
    return waitFor<void>(this.#subject, options, (waiter) => {
      this.#waiter = waiter;
      this.#queue.waitChanged(1);
      return () => {
        this.#waiter = undefined;
        this.#queue.waitChanged(-1);
      };
    });
  }

  /**
   * Frees the slots; what the device still has is freed when it gives it back or is reset.
   */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#given === 0) this.#freeAll();
  }

  /** The queue popped a slot of this batch. */
  completed(slot: number, usedLength: number): void {
    const status = this.#slots.take(slot);
    const length = this.#slots.lengths[slot]!;
    this.#used[slot] = usedLength;
    const short = status === BlkStatus.OK && this.#queue.checkLength &&
      this.#slots.type(slot) === BlkRequestType.IN && usedLength < length + 1;
    this.#given--;
    // A slot that was given up as lost was reported then; now its memory is free again.
    if (this.#states[slot] === SUBMITTED) this.#finish(slot, short ? SHORT : status);
    if (this.#disposed && this.#given === 0) this.#freeAll();
  }

  /** The device failed: what it has is lost, but its memory stays its own until the reset. */
  failed(error: Error): void {
    this.#failure = error;
    for (let slot = 0; slot < this.depth; slot++) {
      if (this.#states[slot] === SUBMITTED) this.#finish(slot, LOST);
    }
  }

  /** The device was reset: its slots are ours again, and what it did not answer is lost. */
  reclaim(error: Error): void {
    this.failed(error);
    for (let slot = 0; slot < this.depth; slot++) {
      if (this.#slots.given[slot] !== 0) this.#slots.take(slot);
    }
    this.#given = 0;
    if (this.#disposed) this.#freeAll();
  }

  #prepare(slot: number, type: number, sector: number, length: number): void {
    if (this.#states[slot] !== IDLE || this.#slots.given[slot] !== 0 || this.#disposed) {
      throw new RangeError(`Cannot prepare slot ${slot}: it must be free, and of this batch`);
    }
    const disk = this.#disk;
    const sectors = length / BLK_SECTOR_SIZE;
    if (
      sectors % disk.blockSectors !== 0 || sector % disk.blockSectors !== 0 || !(sector >= 0) ||
      !(length >= 0) || length > this.bytesPerRequest
    ) {
      throw new RangeError(
        `Cannot prepare ${length} bytes at sector ${sector}: expected whole blocks of ` +
          `${disk.blockSectors * BLK_SECTOR_SIZE} bytes, at most ${this.bytesPerRequest} bytes`,
      );
    }
    if (sector + sectors > disk.sectors) {
      throw new VireoError("OUT_OF_RANGE", "Cannot reach past the end of the disk", {
        device: this.#queue.where.device,
        seen: sector + sectors,
        expected: `at most ${disk.sectors} sectors`,
      });
    }
    this.#sectors[slot] = sector;
    this.#slots.prepare(slot, type, sector, length);
  }

  #finish(slot: number, status: number): void {
    this.#states[slot] = DONE;
    this.#statuses[slot] = status;
    this.#inFlight--;
    let at = this.#doneHead + this.#doneCount++;
    if (at >= this.depth) at -= this.depth;
    this.#done[at] = slot;
    this.#waiter?.resolve();
  }

  #freeAll(): void {
    this.#queue.removeBatch(this);
    this.#slots[Symbol.dispose]();
  }
}
