import {
  BLK_APPEND_SECTOR_SIZE,
  BLK_SECTOR_SIZE,
  BlkRequestType,
  BlkStatus,
  type VireoError,
  type VireoErrorDetails,
} from "@vireo/hal";
import { lookAgain } from "../virtqueue/last_look.ts";
import { atTurnEnd } from "../virtqueue/unattended.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { Row } from "../wait/row.ts";
import { Limits } from "../wait/limit.ts";
import { timeOf, type WaitOptions } from "../wait/options.ts";
import { timedOut } from "../wait/waiter.ts";
import type { BlkBatch } from "./batch.ts";
import {
  type BlkErrorContext,
  BlkRequest,
  lengthError,
  type LentMemory,
  statusError,
} from "./requests.ts";
import { isInput, type Slots } from "./_slots.ts";

/** Tokens of batches have the batch's number, from 1, above this bit. */
const BATCH_SHIFT = 16;
const EMPTY = new Uint8Array(0);

/**
 * One request queue: hands requests to the device as slots and ring room allow, in order, and
 * settles them as it answers, in any order.
 *
 * It pops the virtqueue itself, because promise requests and batches share it. RequestQueue in its place,
 * with one slot a request and no batches, takes 1.05 times the processor time (tests/blk/queue_bench.ts).
 */
export class BlkQueue {
  readonly #slots: Slots;
  readonly #where: BlkErrorContext;
  readonly #checkLength: boolean;
  /** 1 for each slot that is taken. */
  readonly #taken: Uint8Array;
  /** The first slot that is not taken. */
  #lowest = 0;
  #freeCount: number;
  /** How many slots in a row the request that begins at a slot has. */
  readonly #spans: Uint16Array;
  /** Most slots in a row for one device request. */
  readonly #maxSpan: number;
  /** The request of each slot; undefined if it was settled before the device answered. */
  readonly #owners: (BlkRequest | undefined)[];
  /** Where in its request's data a slot's part begins. */
  readonly #offsets: Float64Array;
  readonly #batches: (BlkBatch | undefined)[] = [undefined];
  readonly #pool: BlkRequest[] = [];
  /** The requests that have parts left to hand over. */
  readonly #waiting = new Row<BlkRequest>();
  #queue: Virtqueue | undefined;
  #failure: Error | undefined;
  /** Slots that the device has, without those of batches. */
  #inFlight = 0;
  /** Batches that wait for an interrupt. */
  #waiters = 0;
  #kickScheduled = false;
  #paused = false;
  #idle: (() => void) | undefined;
  readonly #limits = new Limits<BlkRequest>({
    aborted: (request, reason) => this.#giveUp(request, reason),
    late: (request) => this.#late(request),
  });

  /** Makes a queue that is stopped: {@linkcode BlkQueue.start} gives it its ring. */
  constructor(
    index: number,
    slots: Slots,
    device: string,
    checkLength: boolean,
    zoned: boolean,
  ) {
    this.#slots = slots;
    this.#where = { device, queue: index, zoned };
    this.#checkLength = checkLength;
    this.#taken = new Uint8Array(slots.count);
    this.#spans = new Uint16Array(slots.count).fill(1);
    this.#maxSpan = slots.maxSpan;
    this.#freeCount = slots.count;
    this.#owners = new Array(slots.count).fill(undefined);
    this.#offsets = new Float64Array(slots.count);
  }

  /** Where errors of this queue say they happened. */
  get where(): BlkErrorContext {
    return this.#where;
  }

  /** Requests of the promise interface that the device has, in slots. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether used lengths can be trusted (not on a legacy device). */
  get checkLength(): boolean {
    return this.#checkLength;
  }

  /** Why requests are refused now, if they are. */
  get failure(): Error | undefined {
    return this.#failure ?? this.#queue?.broken;
  }

  /** The ring, while there is one. */
  get ring(): Virtqueue | undefined {
    return this.#queue;
  }

  /** Starts, or starts again after a reset, on a ring; requests that waited go on. */
  start(queue: Virtqueue): void {
    this.#queue = queue;
    this.#failure = undefined;
    this.#paused = false;
    if (this.#waiting.first !== undefined) this.#scheduleKick();
  }

  /** Hands out no more requests; answers are still taken. */
  pause(): void {
    this.#paused = true;
  }

  /** Lets go of the ring; new requests wait for the next start. */
  stop(): void {
    this.#queue = undefined;
  }

  /** Resolves when the device has nothing of this queue. */
  whenIdle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle = resolve);
  }

  /** Queues a request; one promise, one kick a turn. */
  submit(
    type: number,
    sector: number,
    bytes: Uint8Array,
    options: WaitOptions,
    lent?: LentMemory,
  ): Promise<Uint8Array> {
    const { signal } = options;
    let time: number;
    try {
      const failure = this.#failure ?? this.#queue?.broken;
      if (failure !== undefined) throw failure;
      signal?.throwIfAborted();
      time = timeOf(options);
    } catch (error) {
      lent?.settled();
      return Promise.reject(error);
    }
    const request = this.#pool.pop() ?? new BlkRequest();
    request.type = type;
    request.sector = sector;
    request.bytes = bytes;
    request.lent = lent;
    // Written here and without `reject`: V8 then makes neither that function nor this one.
    const promise = new Promise<Uint8Array>((resolve) => request.resolve = resolve);
    request.pending = true;
    if (signal !== undefined || time !== Infinity) {
      request.limit ??= this.#limits.make(request);
      request.limit.begin(options, time);
    }
    this.#waiting.append(request);
    this.#scheduleKick();
    return promise;
  }

  /** Takes what the device returned; the queue's interrupt callback. */
  readonly drain = (): void => {
    const queue = this.#queue;
    if (queue === undefined) return;
    do {
      queue.disableCallbacks();
      for (let token = queue.pop(); token >= 0; token = queue.pop()) this.dispatch(token);
      if (this.#waiting.first !== undefined && this.#issue(queue)) queue.kick();
      if (queue.broken !== undefined) return this.failAll(queue.broken);
      // Without requests in flight nobody waits for an interrupt: leave them off.
    } while (
      (this.#inFlight > 0 || this.#waiters > 0) && !queue.enableCallbacks()
    );
    if (queue.broken !== undefined) this.failAll(queue.broken);
  };

  /** Handles one popped token. */
  dispatch(token: number): void {
    const id = token >>> BATCH_SHIFT;
    if (id === 0) this.#complete(token);
    else this.#batches[id]?.completed(token & 0xffff, this.#queue!.usedLength);
  }

  /** Rejects every request; memory that the device has stays its own. */
  failAll(error: Error): void {
    this.#failure ??= error;
    for (const request of this.#owners) {
      if (request !== undefined) this.#giveUp(request, error);
    }
    for (let first = this.#waiting.first; first !== undefined; first = this.#waiting.first) {
      this.#giveUp(first, error);
    }
    for (const batch of this.#batches) batch?.failed(error);
  }

  /** Takes all slots back; only after a reset of the device. */
  reclaim(error: Error): void {
    for (let slot = 0; slot < this.#slots.count; slot++) {
      if (this.#slots.given[slot] === 0) continue;
      const request = this.#owners[slot];
      if (request !== undefined) this.#giveUp(request, error);
      this.#slots.take(slot);
      this.#release(slot);
    }
    for (const batch of this.#batches) batch?.reclaim(error);
  }

  /** Registers a batch; returns the upper part of its tokens. */
  addBatch(batch: BlkBatch): number {
    let id = this.#batches.indexOf(undefined, 1);
    if (id < 0) id = this.#batches.length;
    this.#batches[id] = batch;
    return id << BATCH_SHIFT;
  }

  /** Forgets a batch of which the device has nothing. */
  removeBatch(batch: BlkBatch): void {
    const id = this.#batches.indexOf(batch);
    if (id > 0) this.#batches[id] = undefined;
  }

  /** All batches, for the end of the device. */
  batches(): readonly BlkBatch[] {
    return this.#batches.filter((batch) => batch !== undefined);
  }

  /**
   * Looks once more for answers, before a request or a batch gives up.
   *
   * @param settled Whether it need not give up any more.
   * @param due Whether the device has it.
   * @returns Where it was and what was seen, for the error; undefined if it is settled.
   */
  lookAgain(settled: () => boolean, due: boolean): VireoErrorDetails | undefined {
    if (this.#queue === undefined) return { ...this.#where, seen: "a device that is being reset" };
    const seen = lookAgain(this.#queue, { drain: this.drain, settled, due });
    return seen && { ...seen, ...this.#where };
  }

  /** The error of a status byte that is not OK. */
  statusError(type: number, sector: number, status: number): VireoError {
    return statusError(this.#where, type, sector, status, () => this.#queue?.diagnose?.());
  }

  /** A batch begins (1) or ends (-1) to wait for an interrupt. */
  waitChanged(step: 1 | -1): void {
    this.#waiters += step;
    if (step === 1) this.drain();
  }

  /** Frees the slots; the device must not have any. */
  dispose(): void {
    this.#slots[Symbol.dispose]();
  }

  /** One kick for all requests of a turn; a device that answers at once is heard at once. */
  readonly #flush = (): void => {
    this.#kickScheduled = false;
    const queue = this.#queue;
    if (queue === undefined) return;
    try {
      if (this.#issue(queue)) {
        queue.disableCallbacks();
        queue.kick();
      }
      this.drain();
    } catch (error) {
      // As `unattended` does it, without a closure.
      this.failAll(error as Error);
    }
  };

  #scheduleKick(): void {
    if (this.#kickScheduled) return;
    this.#kickScheduled = true;
    atTurnEnd(this.#flush);
  }

  /** The time of a request is over: looks once more, and ends it either way. */
  #late(request: BlkRequest): void {
    const { limit, sector } = request;
    const due = request.inFlight > 0;
    const seen = this.lookAgain(() => !request.pending, due);
    if (seen === undefined) return;
    const what = due ? "the device to answer the request" : "room for the request";
    this.#giveUp(request, timedOut(`${what} at sector ${sector}`, limit?.deadline, seen));
  }

  /** Adds what slots and ring have room for; true if anything was added. */
  #issue(queue: Virtqueue): boolean {
    const slots = this.#slots;
    let added = false;
    for (let request = this.#waiting.first; request !== undefined; request = this.#waiting.first) {
      if (this.#freeCount === 0 || this.#paused || queue.broken !== undefined) break;
      const left = request.bytes.length - request.issued;
      const { lent } = request;
      // The lowest slots first, so that long requests find many in a row.
      const slot = this.#lowest;
      let span = 1;
      if (lent === undefined) {
        if (slot * slots.bytes + left > slots.data.length) slots.grow();
        if (slot >= slots.ready) break;
        if (left > slots.bytes) span = this.#freeSpan(slot, Math.ceil(left / slots.bytes));
      }
      const room = (lent === undefined ? span : this.#maxSpan) * slots.bytes;
      const length = Math.min(left, room);
      if (queue.freeSlots < queue.slotsFor(slots.elements(length))) break;
      this.#take(slot, span);
      slots.prepare(slot, request.type, request.sector + request.issued / BLK_SECTOR_SIZE, length);
      if (length > 0 && !isInput(request.type)) {
        const { bytes, issued } = request;
        slots.data.set(
          length === bytes.length ? bytes : bytes.subarray(issued, issued + length),
          slot * slots.bytes,
        );
        slots.copied(length);
      }
      this.#owners[slot] = request;
      this.#offsets[slot] = request.issued;
      request.inFlight++;
      this.#inFlight++;
      try {
        // The room was checked, so false cannot come back.
        queue.add(slots.give(slot, lent, request.issued), slot);
      } catch (error) {
        slots.take(slot);
        this.#release(slot);
        this.#giveUp(request, error);
        continue;
      }
      added = true;
      request.issued += length;
      if (request.issued === request.bytes.length) {
        request.allIssued = true;
        this.#waiting.remove(request);
      }
    }
    return added;
  }

  /** How many slots are free from a free one on, at most `wanted`. */
  #freeSpan(slot: number, wanted: number): number {
    const most = Math.min(wanted, this.#maxSpan, this.#slots.ready - slot);
    let span = 1;
    while (span < most && this.#taken[slot + span] === 0) span++;
    return span;
  }

  /** Takes slots from the lowest on. */
  #take(slot: number, span: number): void {
    const taken = this.#taken;
    if (span === 1) taken[slot] = 1;
    else taken.fill(1, slot, slot + span);
    let next = slot + span;
    while (next < taken.length && taken[next] === 1) next++;
    this.#lowest = next;
    this.#spans[slot] = span;
    this.#freeCount -= span;
  }

  #complete(slot: number): void {
    const slots = this.#slots;
    const status = slots.take(slot);
    const request = this.#owners[slot];
    if (request !== undefined) {
      request.inFlight--;
      const length = slots.lengths[slot]!;
      const offset = this.#offsets[slot]!;
      const input = isInput(request.type);
      if (status !== BlkStatus.OK) {
        const sector = request.sector + offset / BLK_SECTOR_SIZE;
        this.#fail(request, this.statusError(request.type, sector, status));
      } else if (input && this.#checkLength && this.#queue!.usedLength < length + 1) {
        const sector = request.sector + offset / BLK_SECTOR_SIZE;
        const seen = this.#queue!.usedLength;
        this.#fail(request, lengthError(this.#where, request.type, sector, seen, length + 1));
      } else if (input && request.lent === undefined && request.error === undefined) {
        request.bytes.set(slots.view(slot), offset);
        slots.copied(length);
      } else if (request.type === BlkRequestType.ZONE_APPEND) {
        this.#completeAppend(request, slot);
      }
      if (request.inFlight === 0 && request.allIssued) this.#settle(request);
    }
    this.#release(slot);
  }

  /** An append is answered with where the device put the data. */
  #completeAppend(request: BlkRequest, slot: number): void {
    const length = BLK_APPEND_SECTOR_SIZE + 1;
    const seen = this.#queue!.usedLength;
    if (seen < length) {
      this.#fail(request, lengthError(this.#where, request.type, request.sector, seen, length));
    } else {
      request.bytes = this.#slots.appended(slot);
    }
  }

  /** Notes the failure of a part: the rest is not begun, what is in flight is waited for. */
  #fail(request: BlkRequest, error: Error): void {
    request.error ??= error;
    request.allIssued = true;
    this.#waiting.remove(request);
  }

  #release(slot: number): void {
    this.#owners[slot] = undefined;
    const span = this.#spans[slot]!;
    if (span === 1) this.#taken[slot] = 0;
    else this.#taken.fill(0, slot, slot + span);
    if (slot < this.#lowest) this.#lowest = slot;
    this.#freeCount += span;
    if (--this.#inFlight === 0) this.#idle?.();
  }

  /** Settles a request before the device is done with it; its slots come back when it is. */
  #giveUp(request: BlkRequest, error: unknown): void {
    if (request.inFlight > 0) {
      for (let slot = 0; slot < this.#owners.length; slot++) {
        if (this.#owners[slot] === request) this.#owners[slot] = undefined;
      }
    }
    this.#waiting.remove(request);
    const { resolve } = request;
    this.#recycle(request);
    resolve(Promise.reject(error));
  }

  #settle(request: BlkRequest): void {
    const { error, resolve, bytes } = request;
    this.#recycle(request);
    resolve(error === undefined ? bytes : Promise.reject(error));
  }

  #recycle(request: BlkRequest): void {
    request.limit?.end();
    request.lent?.settled();
    request.lent = undefined;
    request.pending = false;
    request.bytes = EMPTY;
    request.issued = 0;
    request.inFlight = 0;
    request.allIssued = false;
    request.error = undefined;
    this.#pool.push(request);
  }
}
