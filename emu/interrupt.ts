import type { Interrupt, InterruptWait } from "@vireo/hal";

/** Runs what follows it in a microtask, as `queueMicrotask` does, which allocates more. */
const TURN = Promise.resolve();

/** One wait. */
class Waiter {
  readonly signal: AbortSignal;
  /** Serves each interrupt, if the wait goes on while there is work. */
  readonly serve: (() => boolean) | undefined;
  resolve!: () => void;
  reject!: (reason: unknown) => void;
  next: Waiter | undefined;

  constructor({ signal, repeated, serve }: InterruptWait) {
    this.signal = signal;
    this.serve = repeated ? serve : undefined;
  }
}

/**
 * The interrupt line of a device. It wakes its waiters in a microtask.
 *
 * @example
 * ```ts
 * import { EmuInterrupt } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * let level = false;
 * const line = new EmuInterrupt(() => level);
 * const waiting = line.wait({ signal: new AbortController().signal, ready: () => level });
 * assertEquals(line.waiting, 1);
 * level = true;
 * line.raised();
 * await waiting;
 * ```
 */
export class EmuInterrupt implements Interrupt {
  /** Always false: the line wakes its waiters when it rises. */
  readonly polled = false;
  readonly #level: () => boolean;
  readonly #told: (() => void) | undefined;
  /**
   * The waits, linked in their order. Each has its own entry: a shared promise would keep aborted waits alive
   * until the line rises.
   */
  #first: Waiter | undefined;
  #last: Waiter | undefined;
  /** A wait that serves the interrupts itself: no promise for each. */
  #server: Waiter | undefined;
  #serveDue = false;
  /** The wait whose promise is being made; saves a closure a wait. */
  #fresh!: Waiter;
  readonly #executor = (resolve: () => void, reject: (reason: unknown) => void): void => {
    this.#fresh.resolve = resolve;
    this.#fresh.reject = reject;
  };
  /** The signals of repeated waits, which have one listener each until they are aborted. */
  readonly #kept = new WeakSet<AbortSignal>();

  /**
   * Makes a line.
   *
   * @param level Derives its level from the device's state.
   * @param told A wait hears of the line now; an edge is over then.
   */
  constructor(level: () => boolean, told?: () => void) {
    this.#level = level;
    this.#told = told;
  }

  /** Number of pending waits. */
  get waiting(): number {
    let count = this.#server === undefined ? 0 : 1;
    for (let waiter = this.#first; waiter !== undefined; waiter = waiter.next) count++;
    return count;
  }

  /** Reports that the line rose. */
  raised(): void {
    if (this.#server !== undefined && !this.#serveDue) {
      this.#serveDue = true;
      void TURN.then(this.#serve);
    }
    // A waiter that waits again does so later, in a microtask.
    let waiter = this.#first;
    if (waiter !== undefined && this.#server === undefined) this.#told?.();
    this.#first = this.#last = undefined;
    for (; waiter !== undefined; waiter = waiter.next) {
      // A signal of several waits loses its listener with the first of them, as all end now.
      if (!this.#kept.has(waiter.signal)) {
        waiter.signal.removeEventListener("abort", this.#aborted);
      }
      waiter.resolve();
    }
  }

  /**
   * Resolves in a microtask when the line rises, or at once if it is active.
   *
   * @throws The signal's reason if it is aborted.
   */
  wait(options: InterruptWait): Promise<void> {
    const { signal, repeated = false } = options;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#level()) {
      this.#told?.();
      return Promise.resolve();
    }
    const waiter = this.#fresh = new Waiter(options);
    const promise = new Promise<void>(this.#executor);
    if (waiter.serve !== undefined && this.#server === undefined) this.#server = waiter;
    else this.#append(waiter);
    if (!this.#kept.has(signal)) {
      if (repeated) this.#kept.add(signal);
      signal.addEventListener("abort", this.#aborted);
    }
    return promise;
  }

  #append(waiter: Waiter): void {
    if (this.#last === undefined) this.#first = waiter;
    else this.#last.next = waiter;
    this.#last = waiter;
  }

  readonly #serve = (): void => {
    this.#serveDue = false;
    const server = this.#server;
    if (server === undefined) return;
    this.#told?.();
    try {
      if (server.serve!() && (this.#serveDue || !this.#level())) return;
    } catch (error) {
      server.reject(error);
    }
    if (this.#server === server) this.#server = undefined;
    server.resolve();
  };

  /** One listener for all waits: it looks for those of the signal. */
  readonly #aborted = ({ currentTarget }: Event): void => {
    const signal = currentTarget as AbortSignal;
    signal.removeEventListener("abort", this.#aborted);
    if (this.#server?.signal === signal) {
      this.#server.reject(signal.reason);
      this.#server = undefined;
    }
    let waiter = this.#first;
    this.#first = this.#last = undefined;
    while (waiter !== undefined) {
      const { next } = waiter;
      waiter.next = undefined;
      if (waiter.signal === signal) waiter.reject(signal.reason);
      else this.#append(waiter);
      waiter = next;
    }
  };
}
