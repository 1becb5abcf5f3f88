/** Limits for holding interrupts of a queue back: 0 in either is none (virtio 1.4 §5.1.9.5.10). */
export interface CoalescingParameters {
  /** Packets after which the driver is interrupted. */
  readonly maxPackets: number;
  /** Microseconds after the first packet at which it is, if fewer came. */
  readonly maxUsecs: number;
}

/**
 * A timer, which the caller passes in.
 *
 * @param usecs Microseconds from now.
 * @param expired Called then, once.
 * @returns Stops it.
 */
export type MicrosecondTimer = (usecs: number, expired: () => void) => () => void;

/** The parameters of all queues as plain data. */
export interface CoalescingState {
  /** Of all receive queues. */
  readonly rx: CoalescingParameters;
  /** Of all transmit queues. */
  readonly tx: CoalescingParameters;
  /** Of single queues, by index. */
  readonly own: readonly (readonly [queue: number, parameters: CoalescingParameters])[];
}

interface Pending {
  packets: number;
  readonly stop: () => void;
}

const OFF: CoalescingParameters = { maxPackets: 0, maxUsecs: 0 };

/** The host's own timer, of whole milliseconds. */
export function hostTimer(usecs: number, expired: () => void): () => void {
  const timer = setTimeout(expired, Math.ceil(usecs / 1000));
  return () => clearTimeout(timer);
}

/** Holds interrupts of receive and transmit queues back until enough packets are used, or time has passed. */
export class Coalescing {
  readonly #signal: (queue: number) => void;
  readonly #timer: MicrosecondTimer;
  /** Whether anything is held back, ever: without it a packet costs one comparison. */
  #active = false;
  /** Of all receive queues, and of all transmit queues. */
  #all: [CoalescingParameters, CoalescingParameters] = [OFF, OFF];
  readonly #own = new Map<number, CoalescingParameters>();
  readonly #pending = new Map<number, Pending>();

  /** Makes one. @param signal Interrupts for what a queue used, unless the driver suppresses that. */
  constructor(signal: (queue: number) => void, timer: MicrosecondTimer) {
    this.#signal = signal;
    this.#timer = timer;
  }

  /** A queue used so many packets: interrupts now or later. */
  used(queue: number, packets: number): void {
    if (!this.#active) return this.#signal(queue);
    const { maxPackets, maxUsecs } = this.get(queue);
    const before = this.#pending.get(queue);
    const count = packets + (before?.packets ?? 0);
    if (maxUsecs === 0 || count >= maxPackets) return this.#fire(queue);
    if (before !== undefined) {
      before.packets = count;
      return;
    }
    const stop = this.#timer(maxUsecs, () => this.#fire(queue));
    this.#pending.set(queue, { packets: count, stop });
  }

  /** The parameters of a queue. */
  get(queue: number): CoalescingParameters {
    return this.#own.get(queue) ?? this.#all[queue & 1]!;
  }

  /** Sets those of one queue. Held back interrupts of it come at once, so that none is later than was asked. */
  set(queue: number, parameters: CoalescingParameters): void {
    this.#own.set(queue, parameters);
    this.#active = true;
    if (this.#pending.has(queue)) this.#fire(queue);
  }

  /** Sets those of all receive queues, or of all transmit queues; what single ones had is void. */
  setAll(kind: "rx" | "tx", parameters: CoalescingParameters): void {
    const odd = kind === "tx" ? 1 : 0;
    this.#all[odd] = parameters;
    this.#active = true;
    for (const queue of [...this.#own.keys()]) if ((queue & 1) === odd) this.#own.delete(queue);
    for (const queue of [...this.#pending.keys()]) if ((queue & 1) === odd) this.#fire(queue);
  }

  /** A queue was reset: it has the parameters of all of its kind (dev.net.coalescing.5, .6). */
  resetQueue(queue: number): void {
    this.#own.delete(queue);
    this.#stop(queue);
  }

  /** Sets everything to 0. */
  reset(): void {
    for (const queue of [...this.#pending.keys()]) this.#stop(queue);
    this.#own.clear();
    this.#all = [OFF, OFF];
    this.#active = false;
  }

  /** The state for a snapshot; interrupts that are held back are not in it, as a restored queue interrupts. */
  snapshot(): CoalescingState {
    const [rx, tx] = this.#all;
    return { rx, tx, own: [...this.#own] };
  }

  /** Takes the state back. */
  restore({ rx, tx, own }: CoalescingState): void {
    this.reset();
    this.#all = [rx, tx];
    for (const [queue, parameters] of own) this.#own.set(queue, parameters);
    this.#active = own.length > 0 || [rx, tx].some(({ maxUsecs }) => maxUsecs > 0);
  }

  #fire(queue: number): void {
    this.#stop(queue);
    this.#signal(queue);
  }

  #stop(queue: number): void {
    this.#pending.get(queue)?.stop();
    this.#pending.delete(queue);
  }
}
