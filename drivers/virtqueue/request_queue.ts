import { VireoError } from "@vireo/hal";
import { type Limit, Limits } from "../wait/limit.ts";
import { timeOf, type WaitOptions } from "../wait/options.ts";
import { timedOut } from "../wait/waiter.ts";
import { FreeList } from "./free_list.ts";
import { lookAgain } from "./last_look.ts";
import { atTurnEnd, unattended } from "./unattended.ts";
import type { SgList, Virtqueue } from "./virtqueue.ts";

/**
 * How long a request may take, as long as it needs by default, and what else to do when it comes back.
 * One that its caller gave up keeps its memory until the device returns it.
 */
export interface RequestOptions<T = number> extends WaitOptions {
  /**
   * Called exactly once when the memory is the driver's again: the device returned it (with the used
   * length), the queue was reset, or it was never added (with -1). It runs before the promise settles;
   * if it throws, the request that the device returned is rejected with that, and the others go on.
   */
  readonly onReturned?: ((usedLength: number) => void) | undefined;
  /**
   * Makes the value of the promise once the device answered, after `onReturned`; the used length by default. A
   * `then` would do the same for one more promise. If it throws, the promise is rejected with that.
   */
  readonly onAnswered?: ((usedLength: number) => T | Promise<T>) | undefined;
  /** Called at most once before the promise is rejected; if it throws, the promise is rejected with that. */
  readonly onFailed?: ((reason: unknown) => void) | undefined;
}

const NO_OPTIONS: RequestOptions = {};
/** Most requests that came back and are kept, to be used again. */
const MOST_SPARE = 64;

class Request {
  chain: SgList | undefined;
  resolve: ((value: unknown) => void) | undefined;
  reject: ((reason: unknown) => void) | undefined;
  options: RequestOptions<unknown> = NO_OPTIONS;
  /** Its deadline and signal, if it has one. */
  limit: Limit<Request> | undefined;
  /** Neighbours in the waiting list; that of the first and the last is undefined. */
  previous: Request | undefined;
  next: Request | undefined;
  waits = false;
  /** Whether the last look before it is given up goes on: it is not used again meanwhile. */
  late = false;
}

/**
 * Tells a driver that its memory is its own again. What it throws is returned: it must not keep an
 * interrupt path from the other requests.
 */
function giveBack(
  options: RequestOptions<unknown>,
  usedLength: number,
): { error: unknown } | undefined {
  try {
    options.onReturned?.(usedLength);
    return undefined;
  } catch (error) {
    return { error };
  }
}

/** Tells of a failure, and returns what the promise is rejected with. */
function failed(options: RequestOptions<unknown>, reason: unknown): unknown {
  try {
    options.onFailed?.(reason);
    return reason;
  } catch (error) {
    return error;
  }
}

/**
 * Requests with promises over a virtqueue: they wait in order for room, are kicked once a turn, and
 * may be aborted while the device has them.
 *
 * An aborted request rejects at once, but the device owns its token and its memory until it returns the
 * buffer.
 *
 * @example
 * ```ts
 * import { RequestQueue, SgList, type VirtioDevice } from "@vireo/drivers/core";
 * import { Bus } from "@vireo/drivers/bus";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { ANY_ID, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const echo = {
 *   name: "echo",
 *   ids: [{ device: ANY_ID, vendor: ANY_ID }],
 *   features: FeatureSet.NONE,
 *   probe(device: VirtioDevice) {
 *     const buffer = device.dma.alloc(6);
 *     const [queue] = device.findQueues([{ name: "echo", callback: () => requests.drain() }]);
 *     const requests = new RequestQueue(queue!);
 *     buffer.bytes.set([1, 2, 3]);
 *     return {
 *       answer: () =>
 *         requests.submit(
 *           new SgList(2).addReadable(buffer.address, 3).addWritable(buffer.address + 3, 3),
 *           { deadline: 1000 },
 *         ),
 *       buffer,
 *       remove: () => device.reset().then(() => device.deleteQueues()),
 *     };
 *   },
 * };
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * await using bus = new Bus();
 * await bus.registerDriver(echo);
 * await bus.addPlatform(machine);
 * const { answer, buffer } = bus.get(echo)!;
 * assertEquals([await answer(), ...buffer.bytes], [3, 1, 2, 3, 1, 2, 3]);
 * ```
 */
export class RequestQueue {
  readonly #queue: Virtqueue;
  /** By token: the request that the device holds. */
  readonly #taken: (Request | undefined)[] = [];
  readonly #freeTokens = new FreeList<number>();
  /** Requests that are over. */
  readonly #spare = new FreeList<Request>();
  // A linked list: shift() on an array of many thousands moves all of them each time.
  #first: Request | undefined;
  #last: Request | undefined;
  #waiting = 0;
  #kickScheduled = false;
  #failure: Error | undefined;
  readonly #limits = new Limits<Request>({
    aborted: (request, reason) => this.#giveUp(request, reason),
    late: (request) => this.#late(request),
  });

  /** Wraps a queue, all of whose buffers must go through here. */
  constructor(queue: Virtqueue) {
    this.#queue = queue;
  }

  /** Descriptors of the queue: the most elements that a request can have. */
  get size(): number {
    return this.#queue.size;
  }

  /** Number of requests that the device holds, aborted ones included. */
  get inFlight(): number {
    return this.#queue.inFlight;
  }

  /** Requests that wait for room. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Sends a request.
   *
   * @param chain The buffers; must stay unchanged until the request was returned, as it may have to
   * wait for room.
   * @returns Number of bytes that the device wrote, or what `onAnswered` makes of it.
   * @throws {VireoError} `TIMEOUT`, `CHAIN_SHAPE`, or why the queue broke; the signal's reason.
   */
  submit(chain: SgList, options?: RequestOptions): Promise<number>;
  submit<T>(
    chain: SgList,
    options: RequestOptions<T> & { readonly onAnswered: (usedLength: number) => T | Promise<T> },
  ): Promise<T>;
  submit(chain: SgList, options: RequestOptions<unknown> = NO_OPTIONS): Promise<unknown> {
    const { signal } = options;
    const failure = this.#failure ?? this.#queue.broken;
    if (failure !== undefined || signal?.aborted) {
      giveBack(options, -1);
      return Promise.reject(failed(options, failure ?? signal?.reason));
    }
    let time: number;
    try {
      time = timeOf(options);
    } catch (error) {
      giveBack(options, -1);
      return Promise.reject(failed(options, error));
    }
    const request = this.#spare.pop() ?? new Request();
    request.chain = chain;
    request.options = options;
    // Written here: V8 does not make this function then.
    const promise = new Promise<unknown>((resolve, reject) => {
      request.resolve = resolve;
      request.reject = reject;
    });
    if (signal !== undefined || time !== Infinity) {
      (request.limit ??= this.#limits.make(request)).begin(options, time);
    }
    this.#enqueue(request);
    this.#issue();
    return promise;
  }

  /** Notifies the device of added requests now, instead of at the end of the turn. */
  flush(): void {
    this.#kickScheduled = false;
    this.#queue.enableCallbacks();
    this.#queue.kick();
  }

  /** Takes all returned buffers; the queue's callback. */
  drain(): void {
    const queue = this.#queue;
    do {
      queue.disableCallbacks();
      for (let token = queue.pop(); token >= 0; token = queue.pop()) {
        this.#returned(token, queue.usedLength);
      }
      this.#issue();
      // Without requests in flight nobody waits for an interrupt: leave them off.
    } while (queue.inFlight > 0 && !queue.enableCallbacks());
    if (queue.broken !== undefined) this.failAll(queue.broken);
  }

  /** Rejects all requests; the device keeps the memory of those that it holds until a reset. */
  failAll(error: Error): void {
    this.#failure ??= error;
    for (const request of this.#taken) if (request !== undefined) this.#settle(request, error);
    for (let request = this.#first; request !== undefined; request = this.#first) {
      this.#dequeue(request);
      this.#dropped(request, error);
    }
  }

  /** Takes back all buffers of the device; only after a reset of the device or queue. */
  detachAll(error?: Error): void {
    const reason = error ?? this.#failure ?? new VireoError("DEVICE_STATE", "Device was reset", {
      queue: this.#queue.index,
    });
    this.failAll(reason);
    for (let token = this.#queue.detachUnused(); token >= 0;) {
      this.#returned(token, -1);
      token = this.#queue.detachUnused();
    }
  }

  #issue(): void {
    const queue = this.#queue;
    for (
      let request = this.#first;
      request !== undefined && this.#failure === undefined;
      request = this.#first
    ) {
      if (queue.broken !== undefined) return this.failAll(queue.broken);
      const token = this.#freeTokens.pop() ?? this.#taken.length;
      let added: boolean;
      try {
        added = queue.add(request.chain!, token);
      } catch (error) {
        this.#giveToken(token);
        this.#dequeue(request);
        this.#dropped(request, error);
        continue;
      }
      if (!added) return this.#giveToken(token);
      this.#dequeue(request);
      this.#taken[token] = request;
      this.#scheduleKick();
    }
  }

  #enqueue(request: Request): void {
    const last = this.#last;
    request.waits = true;
    request.previous = last;
    if (last === undefined) this.#first = request;
    else last.next = request;
    this.#last = request;
    this.#waiting++;
  }

  #dequeue(request: Request): void {
    const { previous, next } = request;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    request.previous = request.next = undefined;
    request.waits = false;
    this.#waiting--;
  }

  #giveToken(token: number): void {
    if (token < this.#taken.length) this.#freeTokens.push(token);
  }

  #scheduleKick(): void {
    if (this.#kickScheduled) return;
    this.#kickScheduled = true;
    atTurnEnd(this.#flushDue);
  }

  /** The kick at the end of the turn; a device that answers at once is heard at once, with no interrupt. */
  readonly #flushDue = (): void => {
    if (!this.#kickScheduled) return;
    unattended(this.#queue.device ?? "", this.#kickAndHear, this.#unreachable);
  };
  readonly #unreachable = (error: VireoError): void => this.failAll(error);
  readonly #kickAndHear = (): void => {
    this.#kickScheduled = false;
    this.#queue.disableCallbacks();
    this.#queue.kick();
    this.drain();
  };

  #returned(token: number, usedLength: number): void {
    const request = this.#taken[token];
    if (request === undefined) return;
    this.#taken[token] = undefined;
    this.#freeTokens.push(token);
    const { resolve, reject, options } = request;
    const bug = giveBack(options, usedLength);
    if (bug !== undefined) this.#settle(request, bug.error);
    else if (resolve !== undefined) {
      this.#release(request);
      try {
        resolve(options.onAnswered === undefined ? usedLength : options.onAnswered(usedLength));
      } catch (error) {
        reject!(failed(options, error));
      }
    }
    this.#keep(request);
  }

  /** Ends a request for its caller only. */
  #giveUp(request: Request, reason: unknown): void {
    if (!request.waits) return this.#settle(request, reason);
    this.#dequeue(request);
    this.#dropped(request, reason);
    // The requests behind it may need less room.
    this.#issue();
  }

  #dropped(request: Request, reason: unknown): void {
    giveBack(request.options, -1);
    this.#settle(request, reason);
    this.#keep(request);
  }

  #settle(request: Request, reason: unknown): void {
    const { reject, options } = request;
    if (reject === undefined) return;
    this.#release(request);
    reject(failed(options, reason));
  }

  #release(request: Request): void {
    request.resolve = undefined;
    request.reject = undefined;
    request.limit?.end();
  }

  /** Keeps a request that neither the device nor its caller needs any more. */
  #keep(request: Request): void {
    if (request.late || this.#spare.length >= MOST_SPARE) return;
    request.chain = undefined;
    request.options = NO_OPTIONS;
    this.#spare.push(request);
  }

  /** The time of a request is over: looks once more, and ends it either way. */
  #late(request: Request): void {
    const { waits, limit } = request;
    request.late = true;
    const details = lookAgain(this.#queue, {
      drain: () => this.drain(),
      settled: () => request.reject === undefined,
      due: !waits,
    });
    if (details === undefined) return;
    const what = waits ? "room for the request in the queue" : "the device to answer";
    this.#giveUp(request, timedOut(what, limit?.deadline, details));
  }
}
