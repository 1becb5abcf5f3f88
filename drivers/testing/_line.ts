import type { Interrupt, InterruptWait } from "@vireo/hal";
import { waitFor, type WaitSubject } from "../wait/waiter.ts";

const SUBJECT: WaitSubject<void> = { what: "the interrupt" };

/** An interrupt that is pulsed, or active while its source says so. */
export class ScriptedLine implements Interrupt {
  readonly polled: boolean;
  readonly #active: () => boolean;
  readonly #waiting = new Set<() => void>();
  #latched = false;

  /** Makes a line. @param active Whether its level is active now. */
  constructor(polled: boolean, active: () => boolean) {
    this.polled = polled;
    this.#active = active;
  }

  /** Resolves when the line is active, or was pulsed. */
  wait({ signal }: InterruptWait): Promise<void> {
    return waitFor(SUBJECT, { signal }, (waiter) => {
      const latched = this.#latched;
      this.#latched = false;
      if (latched || this.#active()) return waiter.resolve();
      const leave = (): void => void this.#waiting.delete(done);
      // At once, so that another pulse in this turn is for the next wait.
      const done = (): void => {
        leave();
        waiter.resolve();
      };
      this.#waiting.add(done);
      return leave;
    });
  }

  /** Fires once, also for a later wait if nobody waits now. */
  pulse(): void {
    if (this.#waiting.size === 0) this.#latched = true;
    this.wake();
  }

  /** The level may have changed. */
  update(): void {
    if (this.#active()) this.wake();
  }

  /** Wakes all waiters, whatever the level. */
  wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
