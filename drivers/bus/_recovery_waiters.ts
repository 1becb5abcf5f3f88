import type { RecoveryWait } from "../device.ts";
import { Condition } from "../wait/condition.ts";
import { within } from "../wait/options.ts";

/** The default deadline for a recovery in milliseconds. */
const DEADLINE = 1000;

/** The callers that wait for a device to come back. */
export class RecoveryWaiters {
  readonly #waiting: Condition;
  #count = 0;

  constructor(device: string) {
    this.#waiting = new Condition({ details: () => ({ device, seen: this.#count }) });
  }

  /** Number of recoveries so far. */
  get count(): number {
    return this.#count;
  }

  /** Reports that the device recovered. */
  done(): void {
    this.#count++;
    this.#waiting.notify();
  }

  /** Reports that the device will not recover. */
  fail(error: unknown): void {
    this.#waiting.fail(error);
  }

  /** Waits for {@linkcode RecoveryWaiters.done}. */
  async wait({ after = this.#count, ...options }: RecoveryWait): Promise<number> {
    return await this.#waiting.until(
      "the device to recover",
      () => this.#count > after ? this.#count : undefined,
      within(options, DEADLINE),
    );
  }
}
