import type { Interrupt, InterruptWait } from "@vireo/hal";

/** The interrupt line of a device. It wakes its waiters in a microtask. */
export class EmuInterrupt implements Interrupt {
  /** Always false: the line wakes its waiters when it rises. */
  readonly polled = false;
  readonly #level: () => boolean;
  readonly #waiters = new Set<() => void>();

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
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /**
   * Resolves in a microtask when the line rises, or at once if it is active.
   *
   * @throws The signal's reason if it is aborted.
   */
  async wait({ signal }: InterruptWait): Promise<void> {
    signal.throwIfAborted();
    if (this.#level()) return;
    // Each wait has its own entry: a shared promise would keep aborted waits alive until the line rises.
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
