import type { Interrupt, InterruptWait } from "@vireo/hal";

/** One wait. */
interface Waiter {
  readonly signal: AbortSignal;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** The interrupt line of a device. It wakes its waiters in a microtask. */
export class EmuInterrupt implements Interrupt {
  /** Always false: the line wakes its waiters when it rises. */
  readonly polled = false;
  readonly #level: () => boolean;
  /** Each wait has its own entry: a shared promise would keep aborted waits alive until the line rises. */
  readonly #waiters = new Set<Waiter>();
  /** The signals of repeated waits, which have one listener each until they are aborted. */
  readonly #kept = new WeakSet<AbortSignal>();

  /** Makes a line; a function derives its level from the device's state. */
  constructor(level: () => boolean) {
    this.#level = level;
  }

  /** Number of pending waits. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Reports that the line rose. */
  raised(): void {
    // Whoever waits again does so later, in a microtask.
    for (const waiter of this.#waiters) {
      this.#end(waiter);
      waiter.resolve();
    }
  }

  /**
   * Resolves in a microtask when the line rises, or at once if it is active.
   *
   * @throws The signal's reason if it is aborted.
   */
  wait({ signal, repeated = false }: InterruptWait): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#level()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.add({ signal, resolve, reject });
      if (this.#kept.has(signal)) return;
      if (repeated) this.#kept.add(signal);
      signal.addEventListener("abort", this.#aborted);
    });
  }

  #end(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#kept.has(waiter.signal)) return;
    for (const { signal } of this.#waiters) if (signal === waiter.signal) return;
    waiter.signal.removeEventListener("abort", this.#aborted);
  }

  /** One listener for all waits: it looks for those of the signal. */
  readonly #aborted = ({ currentTarget }: Event): void => {
    const signal = currentTarget as AbortSignal;
    signal.removeEventListener("abort", this.#aborted);
    for (const waiter of this.#waiters) {
      if (waiter.signal !== signal) continue;
      this.#waiters.delete(waiter);
      waiter.reject(signal.reason);
    }
  };
}
