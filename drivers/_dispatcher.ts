import type { Interrupt } from "@vireo/hal";
import { pause } from "./_poll.ts";

/** What a dispatch loop serves. */
export interface DispatchTarget {
  /** Whether there may be something to do; asked by machines that poll. */
  due(): boolean;
  /** The same without a register access; configuration changes may be missed. */
  dueInMemory(): boolean;
  /** Whether the device has something that it is to answer. */
  expects(): boolean;
  /** Serves one interrupt; returns whether a queue got anywhere. */
  serve(): boolean;
  /** The interrupt line or the machine failed: no interrupt will come any more. */
  lost(error: unknown): void;
}

/** Interrupts in a row without progress that are served at full speed. */
const STORM = 64;
/** The longest pause, in milliseconds, between interrupts of a storm. */
const MAX_PAUSE = 16;
/** Milliseconds without an interrupt that end a storm. */
const CALM = 1;

/**
 * Waits for a device's interrupts and serves them, one loop a device.
 *
 * A line that stays active though nothing happens (a device that lies, a cause that cannot be
 * acknowledged) is served more and more seldom, so that it does not keep the event loop for itself.
 */
export class Dispatcher {
  #controller: AbortController | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  get running(): boolean {
    return this.#controller !== undefined;
  }

  /** Starts the loop; does nothing if it runs. */
  start(interrupt: Interrupt, target: DispatchTarget): void {
    if (this.#controller !== undefined) return;
    this.#controller = new AbortController();
    const loop = run(interrupt, target, this.#controller.signal);
    this.#ended = Promise.all([this.#ended, loop]);
  }

  /** Ends the loop; nothing is served after this call. */
  stop(): void {
    this.#controller?.abort(new DOMException("The device is not in use any more", "AbortError"));
    this.#controller = undefined;
  }

  /** Resolves when no loop that was stopped still waits. */
  async ended(): Promise<void> {
    await this.#ended;
  }
}

async function run(
  interrupt: Interrupt,
  target: DispatchTarget,
  signal: AbortSignal,
): Promise<void> {
  const wait = {
    signal,
    ready: () => target.due(),
    readyInMemory: () => target.dueInMemory(),
    expected: () => target.expects(),
  };
  let idle = 0;
  let idleSince = 0;
  try {
    while (!signal.aborted) {
      await interrupt.wait(wait);
      if (signal.aborted) return;
      if (idle > 0 && performance.now() - idleSince > CALM) idle = 0;
      idle = target.serve() ? 0 : idle + 1;
      if (idle >= STORM) await pause(Math.min(idle - STORM + 1, MAX_PAUSE), signal);
      if (idle > 0) idleSince = performance.now();
    }
  } catch (error) {
    if (!signal.aborted) target.lost(error);
  }
}
