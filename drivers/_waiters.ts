import { VireoError } from "@vireo/hal";
import type { RecoveryWait } from "./device.ts";

interface Waiter {
  readonly after: number;
  readonly resolve: (count: number) => void;
  readonly reject: (reason: unknown) => void;
}

/** Those who wait for a device to come back. */
export class RecoveryWaiters {
  readonly #device: string;
  readonly #waiting = new Set<Waiter>();
  #count = 0;

  constructor(device: string) {
    this.#device = device;
  }

  /** How often the device came back. */
  get count(): number {
    return this.#count;
  }

  /** The device came back. */
  done(): void {
    this.#count++;
    for (const waiter of this.#waiting) if (this.#count > waiter.after) waiter.resolve(this.#count);
  }

  /** The device will not come back. */
  fail(error: unknown): void {
    for (const waiter of this.#waiting) waiter.reject(error);
  }

  /** Waits for {@linkcode RecoveryWaiters.done}; leaves no timer or listener behind. */
  async wait({ after = this.#count, deadline = 1000, signal }: RecoveryWait): Promise<number> {
    signal?.throwIfAborted();
    if (this.#count > after) return this.#count;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const waiter: Waiter = { after, resolve, reject };
    const aborted = (): void => reject(signal?.reason);
    const timer = setTimeout(() => {
      const what = `Device was not recovered within ${deadline} ms`;
      reject(new VireoError("TIMEOUT", what, { device: this.#device, seen: this.#count }));
    }, deadline);
    signal?.addEventListener("abort", aborted, { once: true });
    this.#waiting.add(waiter);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(waiter);
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
    }
  }
}
