import {
  EVENT_SUPPRESS,
  RING_EVENT_WRAP,
  RingEvent,
  splitRingLayout,
  type TraceElement,
} from "@vireo/hal";
import type { Chain } from "../device.ts";
import type { DeviceTrace, TracedBuffer } from "../trace.ts";
import type { RingChain } from "./chain.ts";
import type { RingPosition } from "./position.ts";
import type { RunningQueue, RunningQueueOptions } from "./queue_config.ts";
import { ReversedQueue } from "./reversed.ts";

/** A buffer that the model has. */
interface Held extends TracedBuffer {
  readonly request: string | undefined;
  readonly time: number;
}

/** The parts of a traced queue besides those of any queue. */
interface TracedQueueOptions {
  /** Name of the queue. */
  readonly name: string;
  /** Whether RING_PACKED was negotiated. */
  readonly packed: boolean;
  /** The negotiated features. */
  readonly features: TracedBuffer["features"];
  /** Receives the events. */
  readonly trace: DeviceTrace;
}

/** A queue of which a trace hears what its model takes and returns, and whether the driver is called for it. */
export class TracedQueue implements RunningQueue {
  readonly index: number;
  readonly size: number;
  readonly #inner: RunningQueue;
  readonly #options: RunningQueueOptions;
  readonly #traced: TracedQueueOptions;
  readonly #held = new Map<Chain, Held>();
  #returned = 0;
  #called = false;

  /**
   * Makes a queue, and listens to it.
   *
   * @param make Makes the queue itself.
   */
  constructor(
    options: RunningQueueOptions,
    traced: TracedQueueOptions,
    make: (options: RunningQueueOptions) => RunningQueue,
  ) {
    this.#options = options;
    this.#traced = traced;
    this.#inner = make({
      ...options,
      interrupt: () => {
        this.#called = true;
        options.interrupt();
      },
    });
    this.index = this.#inner.index;
    this.size = this.#inner.size;
  }

  pop(): Chain | undefined {
    const chain = this.#inner.pop();
    if (chain === undefined) return undefined;
    const { name, features, trace } = this.#traced;
    const { time } = trace;
    const queue = this.index;
    const elements = this.#elements(chain as RingChain);
    const buffer: TracedBuffer = { queue, name, features, elements, find: this.#find };
    const { request, frame, data } = trace.asked(buffer);
    this.#held.set(chain, { ...buffer, request, time });
    const common = { seenBy: "device", queue, name, token: chain.head } as const;
    const inFlight = this.#held.size;
    trace.emit({ kind: "add", ...common, request, elements, inFlight, frame, data }, time);
    return chain;
  }

  push(chain: Chain, written: number = chain.written): void {
    this.#tellReturned(chain, written);
    this.#inner.push(chain, written);
  }

  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    chains.forEach((chain, i) => this.#tellReturned(chain, written[i]!));
    this.#inner.pushAll(chains, written);
  }

  signal(): void {
    this.#called = false;
    this.#inner.signal();
    const buffers = this.#returned;
    if (buffers === 0 && !this.#called) return;
    this.#returned = 0;
    const { name, packed, trace } = this.#traced;
    const unsent = this.#called
      ? undefined
      : packed
      ? whyPacked(this.#options)
      : whySplit(this.#options, "avail");
    trace.emit({ kind: "call", queue: this.index, name, buffers, unsent });
  }

  hasAvailable(): boolean {
    return this.#inner.hasAvailable();
  }

  setNotify(enabled: boolean): void {
    this.#inner.setNotify(enabled);
  }

  stop(): void {
    this.#held.clear();
    this.#returned = 0;
    this.#inner.stop();
  }

  position(): RingPosition {
    return this.#inner.position();
  }

  notificationProblem(position: number): string | undefined {
    return this.#inner.notificationProblem(position);
  }

  /** A chain of an earlier queue is ignored, here as there. */
  #tellReturned(chain: Chain, length: number): void {
    const held = this.#held.get(chain);
    if (held === undefined) return;
    this.#held.delete(chain);
    this.#returned++;
    const { trace } = this.#traced;
    const { time } = trace;
    const { queue, name } = held;
    const { request, frame, data } = trace.answered(held, held.request, length);
    const after = time - held.time;
    const common = { seenBy: "device", queue, name, token: chain.head } as const;
    const inFlight = this.#held.size;
    trace.emit({ kind: "used", ...common, request, length, inFlight, after, frame, data }, time);
  }

  readonly #find = (address: number, length: number): Uint8Array | undefined => {
    const { memory } = this.#options;
    return memory.contains(address, length) ? memory.view(address, length) : undefined;
  };

  #elements(chain: RingChain): TraceElement[] {
    const { memory } = this.#options;
    return chain.elements().map(([offset, length, writable]) => (
      { address: memory.address(offset) ?? 0, length, writable }
    ));
  }
}

/** A reversed queue of which a trace hears what the device gives and takes back. */
export class TracedReversedQueue extends ReversedQueue {
  readonly #options: RunningQueueOptions;
  readonly #traced: TracedQueueOptions;
  readonly #given = new Map<number, Held>();
  readonly #called: { now: boolean };
  /** The buffers lie in the memory of the device, which the queue does not know. */
  readonly #find = (): undefined => undefined;
  #offered = 0;

  /** Starts a queue whose geometry has been checked. */
  constructor(options: RunningQueueOptions, traced: TracedQueueOptions) {
    const called = { now: false };
    super({
      ...options,
      interrupt: () => {
        called.now = true;
        options.interrupt();
      },
    });
    this.#called = called;
    this.#options = options;
    this.#traced = traced;
  }

  override offer(address: number, length: number): number | undefined {
    const slot = super.offer(address, length);
    if (slot === undefined) return undefined;
    this.#offered++;
    const { name, features, trace } = this.#traced;
    const { time } = trace;
    const queue = this.index;
    const elements = [{ address, length, writable: false }];
    const buffer: TracedBuffer = { queue, name, features, elements, find: this.#find };
    const { request } = trace.asked(buffer);
    this.#given.set(slot, { ...buffer, request, time });
    const inFlight = this.size - this.freeSlots;
    const common = { reversed: true, seenBy: "device", queue, name, token: slot } as const;
    trace.emit({ kind: "add", ...common, request, elements, inFlight }, time);
    return slot;
  }

  override take(): number | undefined {
    const slot = super.take();
    const given = slot === undefined ? undefined : this.#given.get(slot);
    if (slot === undefined || given === undefined) return slot;
    this.#given.delete(slot);
    const { trace } = this.#traced;
    const { time } = trace;
    const { queue, name } = given;
    const { request } = trace.answered(given, given.request, 0);
    const [after, inFlight] = [time - given.time, this.size - this.freeSlots];
    const common = { reversed: true, seenBy: "device", queue, name, token: slot } as const;
    trace.emit({ kind: "used", ...common, request, length: 0, inFlight, after }, time);
    return slot;
  }

  override signal(): void {
    this.#called.now = false;
    super.signal();
    const buffers = this.#offered;
    if (buffers === 0) return;
    this.#offered = 0;
    const unsent = this.#called.now ? undefined : whySplit(this.#options, "used");
    const { name, trace } = this.#traced;
    trace.emit({ kind: "call", queue: this.index, name, buffers, unsent });
  }
}

/**
 * Why a split ring's driver is not called (virtio 1.4 §2.7.7.2).
 *
 * @param part The ring that the other side writes.
 */
function whySplit({ geometry, memory, eventIdx }: RunningQueueOptions, part: "avail" | "used") {
  const layout = splitRingLayout(geometry.size);
  const flags = memory.offset(geometry[part], 2) / 2;
  // Each ring ends with the index at which the other side wants to hear.
  const end = part === "avail" ? layout.availSize : layout.usedSize;
  if (!eventIdx) return "the driver asked for none";
  return `the driver asked for one at index ${memory.words16[flags + end / 2 - 1]}`;
}

/** Why a packed ring's driver is not called (virtio 1.4 §2.8.10). */
function whyPacked({ geometry, memory }: RunningQueueOptions): string {
  const at = memory.offset(geometry.avail, EVENT_SUPPRESS.SIZE) / 2;
  const [place, mode] = [memory.words16[at]!, memory.words16[at + 1]! & 3];
  if (mode === RingEvent.DISABLE) return "the driver asked for none";
  const wrap = (place & RING_EVENT_WRAP) === 0 ? 0 : 1;
  return `the driver asked for one at descriptor ${place & ~RING_EVENT_WRAP}, wrap counter ${wrap}`;
}
