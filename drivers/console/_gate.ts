import { VireoError } from "@vireo/hal";

/** How long a call may wait for the other side of a console. */
export interface ConsoleWait {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the wait fails with `TIMEOUT`; without it, as long as it takes. */
  readonly deadline?: number | undefined;
}

/** One caller that waits: `test` answers whether its wait is over. */
interface Waiter {
  readonly test: () => boolean;
}

/** Where callers wait for a condition; those who come first are asked first. */
export class Gate {
  readonly #waiters = new Set<Waiter>();

  /** Asks every waiting caller whether its condition holds now. */
  notify(): void {
    for (const waiter of this.#waiters) if (waiter.test()) this.#waiters.delete(waiter);
  }

  /**
   * Waits until a test gives a value.
   *
   * @param what What is waited for, for the error's message.
   * @param test Gives undefined to wait on; what it throws rejects the wait.
   * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason if it is aborted.
   */
  until<T>(what: string, test: () => T | undefined, options: ConsoleWait = {}): Promise<T> {
    const { signal, deadline } = options;
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      const attempt = (): boolean => {
        try {
          const value = test();
          if (value === undefined) return false;
          resolve(value);
        } catch (error) {
          reject(error);
        }
        end();
        return true;
      };
      const waiter: Waiter = { test: attempt };
      let timer: ReturnType<typeof setTimeout> | undefined = undefined;
      const end = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
        clearTimeout(timer);
      };
      const onAbort = (): void => {
        end();
        reject(signal?.reason);
      };
      if (attempt()) return;
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort);
      if (deadline === undefined) return;
      // A process's first setTimeout can run microtasks (measured, Deno 2.9.5), and so end this wait:
      // hence after the wait is in the list, and the check below.
      timer = setTimeout(() => {
        end();
        reject(
          new VireoError("TIMEOUT", `Gave up waiting for ${what}`, {
            expected: `it within ${deadline} ms`,
          }),
        );
      }, deadline);
      if (!this.#waiters.has(waiter)) clearTimeout(timer);
    });
  }
}
