import { clearImmediate, setImmediate } from "node:timers";
import type { Chain, DeviceQueue } from "./device.ts";

/** Work that one turn of a device may do before it must yield to the event loop. */
export interface TurnBudget {
  /** Chains, entries of lists, rows of pictures: everything that a loop goes over. */
  readonly steps: number;
  /** Bytes that are copied, filled or computed over. */
  readonly bytes: number;
}

/** The default: a turn takes some milliseconds. */
export const TURN_BUDGET: TurnBudget = { steps: 65_536, bytes: 16 << 20 };

/** Work that a device did for its driver since it was made. */
export interface WorkCounters {
  /** Turns: notifications, and what was continued later. */
  readonly turns: number;
  /** Turns that were continued later because their budget was used up. */
  readonly yields: number;
  /** Steps in all. */
  readonly steps: number;
  /** Bytes in all. */
  readonly bytes: number;
  /** Most steps of one turn. */
  readonly mostSteps: number;
  /** Most bytes of one turn. */
  readonly mostBytes: number;
}

/**
 * Counts what a device does, and divides it into turns: a model that has more to do than a turn's budget
 * yields, so that no request, however large, holds the host.
 *
 * The smallest thing that cannot be divided may exceed the budget once: it is the model's to keep that small.
 *
 * @example
 * ```ts
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: seededRandom(1) });
 * await using machine = EmulatedMachine.create({ devices: [device], budget: { steps: 1 } });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const ring = driver.queues[0]!;
 * const answers = [1, 2, 3].map(() => ring.add([{ write: 8 }]));
 * ring.kick();
 * // One notification; what a turn's budget does not cover comes in later turns.
 * assertEquals((await driver.until(Promise.all(answers))).length, 3);
 * assertEquals(machine.slots[0]!.hosted.work.counters.yields > 0, true);
 * ```
 */
export class WorkMeter {
  readonly #budget: TurnBudget;
  readonly #notify: (queue: number) => void;
  #turns = 0;
  #yields = 0;
  #steps = 0;
  #bytes = 0;
  #mostSteps = 0;
  #mostBytes = 0;
  /** Totals when this turn began. */
  #stepsBefore = 0;
  #bytesBefore = 0;
  /** Tasks that were put off: something to run, or a waiter to wake. */
  #tasks: { readonly run: () => void; readonly waiter: boolean }[] = [];
  readonly #queues = new Set<number>();
  #immediate: ReturnType<typeof setImmediate> | undefined;

  /**
   * Makes a meter.
   *
   * @param notify Notifies the model of a queue that it did not finish.
   * @param budget What a turn may take; {@linkcode TURN_BUDGET} by default.
   */
  constructor(notify: (queue: number) => void, budget: Partial<TurnBudget> = {}) {
    this.#notify = notify;
    this.#budget = { ...TURN_BUDGET, ...budget };
  }

  /** Work that was done so far. */
  get counters(): WorkCounters {
    this.#close();
    return {
      turns: this.#turns,
      yields: this.#yields,
      steps: this.#steps,
      bytes: this.#bytes,
      mostSteps: this.#mostSteps,
      mostBytes: this.#mostBytes,
    };
  }

  /** Whether this turn's budget is used up. */
  get exhausted(): boolean {
    return this.#steps - this.#stepsBefore >= this.#budget.steps ||
      this.#bytes - this.#bytesBefore >= this.#budget.bytes;
  }

  /** Bytes that are left of this turn's budget. */
  get bytesLeft(): number {
    return Math.max(0, this.#budget.bytes - (this.#bytes - this.#bytesBefore));
  }

  /** A turn begins: the machine notifies the model, or goes on with what was put off. */
  begin(): void {
    this.#close();
    this.#turns++;
    this.#stepsBefore = this.#steps;
    this.#bytesBefore = this.#bytes;
  }

  /** Counts bytes that were copied from or to a chain; chains do this. */
  carried(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Counts work. @returns False if the turn's budget is used up. */
  spend(steps: number, bytes = 0): boolean {
    this.#steps += steps;
    this.#bytes += bytes;
    return !this.exhausted;
  }

  /**
   * Takes a queue's next chain while the budget lasts; afterwards the model is notified of the queue again in a
   * later turn, if it holds more.
   */
  take(queue: DeviceQueue): Chain | undefined {
    if (this.exhausted) {
      if (queue.hasAvailable()) this.again(queue.index);
      return undefined;
    }
    this.#steps++;
    return queue.pop();
  }

  /** Notifies the model of a queue in a later turn. */
  again(queue: number): void {
    if (this.#queues.has(queue)) return;
    this.#queues.add(queue);
    this.later(() => {
      this.#queues.delete(queue);
      this.#notify(queue);
    });
  }

  /** Runs something in a later turn of the event loop, unless the device is reset before. */
  later(run: () => void): void {
    this.#putOff(run, false);
  }

  /** Resolves in a later turn of the event loop, or when the device is reset: its chains may be void then. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.#putOff(resolve, true));
  }

  /** Forgets what was put off: the device was reset. */
  clear(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    this.#queues.clear();
    for (const { run, waiter } of tasks) if (waiter) run();
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
  }

  #putOff(run: () => void, waiter: boolean): void {
    this.#yields++;
    this.#tasks.push({ run, waiter });
    this.#schedule();
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.begin();
      // Each in its order; what the budget does not cover waits for the next turn. What a waiter will do is known
      // only after it did, so it has a turn of its own.
      for (let due = this.#tasks.length; due > 0 && !this.exhausted; due--) {
        // A reset empties the list meanwhile.
        const task = this.#tasks.shift();
        task?.run();
        if (task?.waiter) break;
      }
      if (this.#tasks.length > 0) this.#schedule();
    });
  }

  #close(): void {
    this.#mostSteps = Math.max(this.#mostSteps, this.#steps - this.#stepsBefore);
    this.#mostBytes = Math.max(this.#mostBytes, this.#bytes - this.#bytesBefore);
  }
}
