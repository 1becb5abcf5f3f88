import { counted, VireoError, type VireoErrorCode, type VireoErrorDetails } from "@vireo/hal";
import type { QueueRequest, VirtioDevice } from "./device.ts";
import type { DriverInstance } from "./driver.ts";
import { MessageStream, type MessageStreamOptions, type WaitOptions } from "./wait/mod.ts";
import {
  type Answer,
  exchange,
  type ExchangeOptions,
  lend,
  type LendOptions,
  type Loan,
} from "./virtqueue/exchange.ts";
import {
  type ArrayFiller,
  type FillOwner,
  FillPool,
  type FillPoolOptions,
} from "./virtqueue/fill_pool.ts";
import type { HostRing } from "./virtqueue/host_ring.ts";
import { ReceiveRing, type ReceiveRingOptions } from "./virtqueue/receive_ring.ts";
import { RequestQueue } from "./virtqueue/request_queue.ts";
import type { Virtqueue } from "./virtqueue/virtqueue.ts";

/** A queue of requests, which {@linkcode QueueDriver} drains. */
export type RequestPlan = Omit<QueueRequest, "callback" | "reversed">;

/** A queue of buffers that the device fills. */
export interface ReceivePlan
  extends Omit<QueueRequest, "callback" | "indirect" | "reversed">, ReceiveRingOptions {
  /** Called when the device may have filled buffers. */
  readonly received: () => void;
}

/** A queue whose device side is the driver's. */
export interface HostPlan extends Omit<QueueRequest, "callback" | "indirect"> {
  /** Marks it. */
  readonly reversed: true;
  /** Called when the other side may have offered buffers. */
  readonly received: () => void;
}

/** The class over a queue that was planned. */
export type QueueOf<P> = P extends HostPlan ? HostRing
  : P extends ReceivePlan ? ReceiveRing
  : RequestQueue;

/** How to ask. */
export interface AskOptions extends ExchangeOptions {
  /** Fewest bytes of an answer; 0 by default. */
  readonly least?: number;
}

/**
 * Hands each message to all who listen.
 *
 * @example
 * ```ts
 * import { Broadcast } from "@vireo/drivers/core";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const keys = new Broadcast<number>({ device: "virtio0", what: "key", limit: 16 });
 * using left = keys.listen();
 * using right = keys.listen();
 * keys.push(30);
 * assertEquals([await left.take(), await right.take()], [30, 30]);
 * keys.fail(new Error("unplugged"));
 * await assertRejects(() => left.take(), Error, "unplugged");
 * ```
 */
export class Broadcast<T> {
  readonly #options: Omit<MessageStreamOptions<T>, keyof WaitOptions | "onEnd">;
  readonly #streams = new Set<MessageStream<T>>();
  #failure: Error | undefined;

  /** Makes one that nobody listens to; {@linkcode QueueDriver} does it. */
  constructor(options: Omit<MessageStreamOptions<T>, keyof WaitOptions | "onEnd">) {
    this.#options = options;
  }

  /**
   * Listens from now on.
   *
   * @param options The signal ends it; the deadline holds for each message. `what` names what this
   * listener waits for, in errors.
   */
  listen(options: WaitOptions & { readonly what?: string } = {}): MessageStream<T> {
    const stream: MessageStream<T> = new MessageStream<T>({
      ...this.#options,
      ...options,
      onEnd: () => this.#streams.delete(stream),
    });
    if (this.#failure !== undefined) stream.fail(this.#failure);
    else this.#streams.add(stream);
    return stream;
  }

  /** Hands a message to all listeners. */
  push(message: T): void {
    for (const stream of this.#streams) stream.push(message);
  }

  /** Ends all listeners, and those to come until {@linkcode Broadcast.restore}. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const stream of this.#streams) stream.fail(error);
    this.#streams.clear();
  }

  /** Takes listeners again after a failure. */
  restore(): void {
    this.#failure = undefined;
  }
}

/**
 * The life of a driver of one device, the same for all: it opens its queues at first and after each
 * reset, and when the device fails, is suspended or is removed, every pending request and every listener
 * is rejected, and all memory comes back exactly once.
 *
 * A subclass adds its messages. Its constructor calls {@linkcode QueueDriver.setUp} when its own fields
 * are there.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { QueueDriver, type VirtioDevice } from "@vireo/drivers/core";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { ANY_ID, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * class Echo extends QueueDriver {
 *   #queue!: ReturnType<typeof this.openEcho>;
 *
 *   constructor(device: VirtioDevice) {
 *     super(device, "Echo device");
 *     this.setUp();
 *   }
 *
 *   openEcho() {
 *     return this.openQueues({ name: "echo" })[0];
 *   }
 *
 *   protected override setUp(): void {
 *     this.#queue = this.openEcho();
 *     this.device.ready();
 *   }
 *
 *   async say(bytes: Uint8Array): Promise<Uint8Array> {
 *     return (await this.ask(this.#queue, [bytes], bytes.length, { deadline: 1000 })).bytes;
 *   }
 * }
 *
 * const echo = {
 *   name: "echo",
 *   ids: [{ device: ANY_ID, vendor: ANY_ID }],
 *   features: FeatureSet.NONE,
 *   probe: (device: VirtioDevice) => new Echo(device),
 * };
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * await using bus = new Bus();
 * await bus.registerDriver(echo);
 * await bus.addPlatform(machine);
 * assertEquals([...await bus.get(echo)!.say(Uint8Array.of(1, 2))], [1, 2]);
 * ```
 */
export abstract class QueueDriver implements DriverInstance {
  /** The device. */
  protected readonly device: VirtioDevice;
  readonly #title: string;
  readonly #broadcasts: { fail(error: Error): void; restore(): void }[] = [];
  #requests: RequestQueue[] = [];
  #rings: ReceiveRing[] = [];
  readonly #pools: FillPool[] = [];
  #failure: Error | undefined;

  /** Keeps the device. @param title Names it in errors: `Entropy device`. */
  protected constructor(device: VirtioDevice, title: string) {
    this.device = device;
    this.#title = title;
  }

  /** Opens the queues of a device whose features are negotiated. */
  protected abstract setUp(): void;

  /** Called when the device failed, was suspended or removed: ends what the subclass keeps itself. */
  protected ended?(error: Error): void;

  /** Why the device cannot be used now. */
  protected get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Finds the queues, all or none, and puts over each what its plan asks for.
   *
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_IN_USE`, `QUEUE_ADDRESS` or `OUT_OF_MEMORY`.
   */
  protected openQueues<const P extends readonly (RequestPlan | ReceivePlan | HostPlan)[]>(
    ...plans: P
  ): { -readonly [K in keyof P]: QueueOf<P[K]> } {
    const parts: (RequestQueue | ReceiveRing | HostRing)[] = [];
    const found = this.device.findQueues(plans.map((plan, i) => ({
      ...plan,
      receives: plan.receives ?? "received" in plan,
      indirect: "received" in plan ? false : plan.indirect ?? true,
      callback: "received" in plan
        ? plan.received
        : () => (parts[i] as RequestQueue | undefined)?.drain(),
    })));
    const rings: ReceiveRing[] = [];
    try {
      for (const [i, plan] of plans.entries()) parts.push(this.#over(found[i]!, plan, rings));
    } catch (error) {
      // The device does not run yet, so it has no buffer.
      for (const ring of rings) ring[Symbol.dispose]();
      throw error;
    }
    this.#rings.push(...rings);
    // A copy: the callbacks look into the list.
    return [...parts] as unknown as { -readonly [K in keyof P]: QueueOf<P[K]> };
  }

  /**
   * Sends a request and waits for the answer; see {@linkcode exchange}.
   *
   * @throws {VireoError} `BAD_LENGTH` If the answer is shorter than `least`; why the device failed; else
   * as {@linkcode exchange}.
   */
  protected ask(
    queue: RequestQueue,
    parts: readonly (Uint8Array | Loan)[],
    room: number | readonly (number | Loan)[],
    options: AskOptions = {},
  ): Promise<Answer> {
    if (this.#failure !== undefined) {
      options.onReturned?.();
      options.onFailed?.(undefined);
      return Promise.reject(this.#failure);
    }
    const answer = exchange(this.device.dma, queue, parts, room, options);
    const { least = 0 } = options;
    if (least === 0) return answer;
    return answer.then((answer) => {
      if (answer.bytes.length >= least) return answer;
      options.onFailed?.(answer);
      throw this.tooShort(answer.bytes.length, least);
    });
  }

  /** Lends memory to the device; see {@linkcode lend}. */
  protected async lend(
    queue: RequestQueue,
    loans: readonly Loan[],
    options: LendOptions = {},
  ): Promise<number> {
    if (this.#failure !== undefined) {
      options.onReturned?.(-1);
      throw this.#failure;
    }
    return await lend(queue, loans, options);
  }

  /** Makes memory for requests that fill callers' arrays; the driver's removal frees it. */
  protected fillPool(options: FillPoolOptions): ArrayFiller {
    const owner: FillOwner = {
      dma: this.device.dma,
      failure: () => this.#failure,
      tooShort: () => this.tooShort(0, 1),
    };
    const pool = new FillPool(owner, options);
    this.#pools.push(pool);
    return pool;
  }

  /** Makes a broadcast whose listeners end when the device fails. */
  protected broadcast<T>(
    options: Omit<MessageStreamOptions<T>, keyof WaitOptions | "device" | "onEnd">,
  ): Broadcast<T> {
    const broadcast = new Broadcast<T>({ ...options, device: this.device.name });
    this.#broadcasts.push(broadcast);
    return broadcast;
  }

  /** An error of this device. */
  protected error(
    code: VireoErrorCode,
    what: string,
    details: Omit<VireoErrorDetails, "device"> = {},
  ): VireoError {
    return new VireoError(code, what, { ...details, device: this.device.name });
  }

  /** The error of an answer that lacks bytes. */
  protected tooShort(seen: number, expected: number): VireoError {
    return this.error("BAD_LENGTH", `${this.#title} wrote too short an answer`, {
      seen: counted(seen, "byte"),
      expected: `at least ${counted(expected, "byte")}`,
    });
  }

  /** Tells the device of the receive buffers, once it runs. */
  scan(): void | Promise<void> {
    for (const ring of this.#rings) ring.kick();
  }

  /** Rejects everything pending; only the first reason counts, until a restore. */
  failed(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const queue of this.#requests) queue.failAll(error);
    for (const broadcast of this.#broadcasts) broadcast.fail(error);
    this.ended?.(error);
  }

  /** Rejects everything pending before a suspend. */
  freeze(): void | Promise<void> {
    this.failed(this.error("DEVICE_STATE", `${this.#title} was suspended`));
  }

  /** Opens the queues again after a reset. */
  restore(): void | Promise<void> {
    this.#takeBack();
    this.setUp();
    this.#failure = undefined;
    for (const broadcast of this.#broadcasts) broadcast.restore();
    this.device.ready();
    return this.scan();
  }

  /** Rejects everything pending, resets the device and frees its memory. */
  async remove(): Promise<void> {
    this.failed(this.error("DEVICE_REMOVED", `${this.#title} was removed`));
    await this.device.reset();
    this.#takeBack();
    this.device.deleteQueues();
    for (const pool of this.#pools) pool[Symbol.dispose]();
  }

  #over(
    queue: Virtqueue,
    plan: RequestPlan | ReceivePlan | HostPlan,
    rings: ReceiveRing[],
  ): RequestQueue | ReceiveRing | HostRing {
    if ("reversed" in plan) return queue as HostRing;
    if ("received" in plan) {
      const ring = new ReceiveRing(queue, this.device.dma, plan);
      rings.push(ring);
      return ring;
    }
    const requests = new RequestQueue(queue);
    this.#requests.push(requests);
    return requests;
  }

  /** Takes all memory back from queues that were reset. */
  #takeBack(): void {
    for (const ring of this.#rings.splice(0)) ring[Symbol.dispose]();
    for (const queue of this.#requests.splice(0)) queue.detachAll();
  }
}
