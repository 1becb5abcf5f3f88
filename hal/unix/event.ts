import type { Interrupt, InterruptWait } from "../interrupt.ts";
import type { Libc } from "./libc.ts";
import type { Poller } from "./poller.ts";

/**
 * An eventfd as an interrupt: one that nobody waited for is kept for the next waiter.
 *
 * @example
 * ```ts
 * import { EventInterrupt, Libc, Poller } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * const libc = new Libc();
 * {
 *   await using poller = new Poller(libc);
 *   using interrupt = new EventInterrupt(libc, poller);
 *   // The other side writes to its descriptor of the eventfd.
 *   libc.signalEvent(interrupt.fd);
 *   assertEquals([interrupt.take(), interrupt.take()], [true, false]);
 * }
 * libc.dispose();
 * ```
 */
export class EventInterrupt implements Interrupt, Disposable {
  /** False: waiters are woken when the other side writes. */
  readonly polled = false;
  /** The descriptor, which the other side writes to. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #watch: Disposable;
  readonly #waiters = new Set<() => void>();
  #pending = false;
  #closed = false;

  /** Makes an eventfd that a poller watches. */
  constructor(libc: Libc, poller: Poller) {
    this.#libc = libc;
    this.fd = libc.eventFd();
    this.#watch = poller.watch(this.fd, () => {
      // Nothing is left if `take` was here since the poller woke.
      if (libc.clearEvent(this.fd)) this.raise();
    });
  }

  /** Interrupts, as a write of the other side does. */
  raise(): void {
    this.#pending = true;
    for (const wake of this.#waiters) wake();
  }

  /** Whether the other side wrote since the last wait, or since this was last asked. */
  take(): boolean {
    const pending = this.#libc.clearEvent(this.fd) || this.#pending;
    this.#pending = false;
    return pending;
  }

  /**
   * Resolves when the other side wrote, at once if it did since the last wait.
   *
   * @throws The signal's reason if it is aborted.
   */
  async wait({ signal }: InterruptWait): Promise<void> {
    signal.throwIfAborted();
    if (!this.#pending) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener("abort", onAbort);
      this.#waiters.add(resolve);
      try {
        await promise;
      } finally {
        signal.removeEventListener("abort", onAbort);
        this.#waiters.delete(resolve);
      }
    }
    this.#pending = false;
  }

  /** Closes the eventfd. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    this.#libc.close(this.fd);
  }
}
