import { VireoError } from "@vireo/hal";
import type { BusDevice } from "./_bus_device.ts";

/** Limits of the recovery of a device that sets NEEDS_RESET. */
export interface RecoverOptions {
  /** `auto` recovers at once; with `manual` the caller uses `Bus.recover`. `auto` by default. */
  readonly recover?: "auto" | "manual" | undefined;
  /** Recoveries within the window after which the bus gives a device up; 3 by default. */
  readonly maxRecoveries?: number | undefined;
  /** The window in milliseconds; 10000 by default. */
  readonly recoveryWindow?: number | undefined;
  /** Milliseconds since any fixed point; the system's monotonic clock by default. */
  readonly now?: (() => number) | undefined;
}

/** Counts recoveries, so that the bus gives up a device that fails repeatedly. */
export class RecoveryPolicy {
  /** Whether the bus recovers devices by itself. */
  readonly auto: boolean;
  readonly #max: number;
  readonly #window: number;
  readonly #now: () => number;
  readonly #times = new WeakMap<BusDevice, number[]>();

  constructor(options: RecoverOptions) {
    this.auto = options.recover !== "manual";
    this.#max = options.maxRecoveries ?? 3;
    this.#window = options.recoveryWindow ?? 10_000;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Forgets the recoveries of a device. */
  forget(device: BusDevice): void {
    this.#times.delete(device);
  }

  /**
   * Tries to recover a device until it has no new fault.
   *
   * @throws {VireoError} `DEVICE_NEEDS_RESET` If it failed too often. Otherwise, the error of an attempt that
   * failed without a new fault of the device.
   */
  async run(device: BusDevice, attempt: () => Promise<void>): Promise<void> {
    let last: unknown;
    do {
      this.#admit(device, last);
      try {
        await attempt();
        last = undefined;
      } catch (error) {
        if (device.fault === undefined) throw error;
        last = error;
      }
    } while (device.fault !== undefined);
  }

  #admit(device: BusDevice, cause: unknown): void {
    const now = this.#now();
    const times = (this.#times.get(device) ?? []).filter((time) => now - time < this.#window);
    this.#times.set(device, times);
    if (times.length >= this.#max) {
      const what =
        `Cannot recover the device again: it needed ${times.length} recoveries in ${this.#window} ms`;
      throw new VireoError("DEVICE_NEEDS_RESET", what, {
        device: device.name,
        register: "Status",
        seen: device.fault?.seen,
        cause,
      });
    }
    times.push(now);
  }
}
