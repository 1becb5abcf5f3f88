import type { Interrupt, InterruptWait } from "@vireo/hal";

/** The interrupt line of a device: waiters are woken in a microtask. */
export class EmuInterrupt implements Interrupt {
  /** Never: waiters are woken when the line rises. */
  readonly polled = false;
  readonly #level: () => boolean;
  readonly #waiters = new Set<() => void>();

  /** Makes a line whose level is derived from the device's state. */
  constructor(level: () => boolean) {
    this.#level = level;
  }

  /** Number of waits that did not end yet. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** The line rose. */
  raised(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /**
   * Resolves in a microtask when the line rises, at once if it is active.
   *
   * @throws The signal's reason if it is aborted.
   */
  async wait({ signal }: InterruptWait): Promise<void> {
    signal.throwIfAborted();
    if (this.#level()) return;
    // One entry a wait: a promise that all waits share would keep every aborted one until the line rises.
    const { promise, resolve } = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    this.#waiters.add(resolve);
    try {
      await Promise.race([promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#waiters.delete(resolve);
    }
  }
}
