import type { Dma, DmaRegion } from "@vireo/hal";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";
import { queueLook } from "../virtqueue/last_look.ts";
import { Condition } from "../wait/condition.ts";
import { timeOf, type WaitOptions, within } from "../wait/options.ts";

/** One write: how many of its buffers the device still has. */
class Ticket {
  left = 0;
  failure: Error | undefined;
  /** Of the opener of the port, if it has one. */
  closed: AbortSignal | undefined;
}

/** Of every write that is over at once. */
const DONE: Promise<void> = Promise.resolve();

/** The transmit side of one port: bytes are copied into a fixed set of buffers, in order. */
export class Sender implements Disposable {
  readonly #dma: Dma;
  /** The buffers; none before something is sent. */
  #region: DmaRegion | undefined;
  readonly #size: number;
  readonly #lengths: Uint32Array;
  readonly #tickets: (Ticket | undefined)[];
  readonly #free: number[] = [];
  readonly #chain = new SgList(1);
  readonly #gate = new Condition(queueLook(() => [this.#queue], () => this.collect(), true));
  #queue: Virtqueue;
  #writing = false;
  /** The ticket of a write that was over at once, for the next one. */
  #spare: Ticket | undefined;
  #blocked: (() => boolean) | undefined;

  /**
   * Makes the buffers, which have memory from the first write on.
   *
   * @param count How many, at most the queue's size.
   * @param size Length of each in bytes.
   */
  constructor(queue: Virtqueue, dma: Dma, count: number, size: number) {
    const most = Math.min(count, queue.size);
    this.#queue = queue;
    this.#size = size;
    this.#dma = dma;
    this.#lengths = new Uint32Array(most);
    this.#tickets = new Array<Ticket | undefined>(most).fill(undefined);
    for (let i = most - 1; i >= 0; i--) this.#free.push(i);
  }

  /** Whether the device has everything back to us. */
  get idle(): boolean {
    return this.#free.length === this.#tickets.length && !this.#writing;
  }

  /** Replaces the test whether nothing may be sent now; what it throws rejects the writes. */
  set blocked(blocked: () => boolean) {
    this.#blocked = blocked;
    this.#gate.notify();
  }

  /** Asks the waiting writers again, after something that they wait for changed. */
  notify(): void {
    this.#gate.notify();
  }

  /**
   * Sends bytes, whole and in the order of the calls.
   *
   * @param complete Whether to wait until the device took them, not only until they are in the ring.
   * @param closed Ends it when {@linkcode Sender.notify} finds it aborted: a listener a write costs more.
   * @throws {VireoError} `TIMEOUT`; the signal's reason; `OUT_OF_MEMORY` at the first write; or why the port
   * failed. A part may be sent.
   */
  send(
    bytes: Uint8Array,
    options: WaitOptions,
    complete: boolean,
    closed?: AbortSignal,
  ): Promise<void> {
    const ticket = this.#spare ?? new Ticket();
    this.#spare = undefined;
    ticket.closed = closed;
    if (this.#writing || this.#free.length * this.#size < bytes.length) {
      return this.#sendInParts(bytes, options, complete, ticket);
    }
    // Most writes have room at once, and many devices take them while they are notified: no promise then.
    try {
      timeOf(options);
      options.signal?.throwIfAborted();
      closed?.throwIfAborted();
      if (this.#blocked?.()) return this.#sendInParts(bytes, options, complete, ticket);
      for (let at = 0; at < bytes.length; at += this.#size) {
        this.#add(this.#free.pop()!, this.#part(bytes, at), ticket);
      }
      this.#queue.disableCallbacks();
      try {
        this.#queue.kick();
      } finally {
        this.collect();
      }
    } catch (error) {
      return Promise.reject(error);
    }
    if (ticket.left > 0) return complete ? this.#taken(ticket, options) : DONE;
    ticket.closed = undefined;
    this.#spare = ticket;
    return DONE;
  }

  /** Sends bytes that wait for earlier ones, for room or for the host. */
  async #sendInParts(
    bytes: Uint8Array,
    options: WaitOptions,
    complete: boolean,
    ticket: Ticket,
  ): Promise<void> {
    const call = within(options);
    call.signal?.throwIfAborted();
    if (this.#lock(ticket) === undefined) {
      await this.#gate.until("earlier writes", () => this.#lock(ticket), call);
    }
    try {
      for (let at = 0; at < bytes.length; at += this.#size) {
        let slot = this.#slot(ticket);
        if (slot === undefined) {
          this.#queue.kick();
          const what = this.#blocked?.() ? "the host to open the port" : "room to send";
          slot = await this.#gate.until(what, () => this.#slot(ticket), call);
        }
        this.#add(slot, this.#part(bytes, at), ticket);
      }
      this.#queue.kick();
    } finally {
      this.#writing = false;
      this.#gate.notify();
    }
    if (complete) await this.#taken(ticket, call);
  }

  async #taken(ticket: Ticket, options: WaitOptions): Promise<void> {
    await this.#gate.until("the device to take it", () => done(ticket), options);
  }

  /** The bytes of one buffer. */
  #part(bytes: Uint8Array, at: number): Uint8Array {
    return bytes.length <= this.#size ? bytes : bytes.subarray(at, at + this.#size);
  }

  /** Waits until the device took everything. */
  async flush(options: WaitOptions): Promise<void> {
    const check = (): true | undefined => {
      this.#blocked?.();
      return this.idle ? true : undefined;
    };
    await this.#gate.until("the device to take what was sent", check, options);
  }

  /** Takes back what the device is done with; runs in the queue's callback. */
  collect(): void {
    const queue = this.#queue;
    do {
      for (let i = queue.pop(); i >= 0; i = queue.pop()) this.#release(i);
    } while (!queue.enableCallbacks() && queue.broken === undefined);
    this.#gate.notify();
  }

  /** Rejects the writes that wait for the device; their buffers stay its own. */
  fail(error: Error): void {
    for (const ticket of this.#tickets) if (ticket !== undefined) ticket.failure = error;
    this.#gate.notify();
  }

  /**
   * Moves to a new queue after the device was reset. A write that the device had counts as taken, unless
   * {@linkcode Sender.fail} was called before.
   */
  rebind(queue: Virtqueue): void {
    this.#takeBack();
    this.#queue = queue;
    this.#gate.notify();
  }

  /** Frees the buffers; only after the device was reset. */
  [Symbol.dispose](): void {
    this.#takeBack();
    this.#region?.[Symbol.dispose]();
  }

  #takeBack(): void {
    for (let i = 0; i < this.#tickets.length; i++) this.#release(i);
  }

  #lock({ closed }: Ticket): true | undefined {
    closed?.throwIfAborted();
    this.#blocked?.();
    if (this.#writing) return undefined;
    this.#writing = true;
    return true;
  }

  #slot(ticket: Ticket): number | undefined {
    ticket.closed?.throwIfAborted();
    if (ticket.failure !== undefined) throw ticket.failure;
    return this.#blocked?.() ? undefined : this.#free.pop();
  }

  #add(slot: number, bytes: Uint8Array, ticket: Ticket): void {
    if (ticket.failure !== undefined) {
      // It came between the slot and this call.
      this.#free.push(slot);
      throw ticket.failure;
    }
    const start = slot * this.#size;
    const region = this.#memory(slot);
    region.bytes.set(bytes, start);
    region.copied?.(bytes.length);
    const address = region.share(start, bytes.length, "to-device");
    this.#lengths[slot] = bytes.length;
    this.#tickets[slot] = ticket;
    ticket.left++;
    try {
      this.#queue.add(this.#chain.clear().addReadable(address, bytes.length), slot);
    } catch (error) {
      this.#release(slot);
      // Why the port ended says more than that its queue is broken.
      this.#blocked?.();
      throw error;
    }
  }

  /** The buffers' memory; a slot that gets none is free again. */
  #memory(slot: number): DmaRegion {
    try {
      return this.#region ??= this.#dma.alloc(this.#tickets.length * this.#size);
    } catch (error) {
      this.#free.push(slot);
      throw error;
    }
  }

  #release(slot: number): void {
    const ticket = this.#tickets[slot];
    if (ticket === undefined) return;
    this.#region!.unshare(slot * this.#size, this.#lengths[slot]!, "to-device");
    ticket.left--;
    this.#tickets[slot] = undefined;
    this.#free.push(slot);
  }
}

function done(ticket: Ticket): true | undefined {
  ticket.closed?.throwIfAborted();
  if (ticket.left === 0 && ticket.failure === undefined) return true;
  if (ticket.failure !== undefined) throw ticket.failure;
  return undefined;
}
