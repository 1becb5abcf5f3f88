import type { InterruptSource } from "../transport/transport.ts";
import { pause } from "../wait/poll.ts";

/** What a dispatch loop serves. */
export interface DispatchTarget {
  /** Whether there may be something to do; asked by machines that poll. */
  due(): boolean;
  /** The same without a register access; configuration changes may be missed. */
  dueInMemory(): boolean;
  /** Whether the device has something that it is to answer. */
  expects(): boolean;
  /** Serves an interrupt of one source; returns whether a queue got anywhere. */
  serve(source: InterruptSource): boolean;
  /** An interrupt or the machine failed: none will come any more. Called once. */
  lost(error: unknown): void;
}

/** Interrupts in a row without progress that are served at full speed. */
const STORM = 64;
/** The longest pause, in milliseconds, between interrupts of a storm. */
const MAX_PAUSE = 16;
/** Milliseconds without an interrupt that end a storm. */
const CALM = 1;

/**
 * Waits for a device's interrupts and serves them, one loop a source.
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

  /** Starts the loops; does nothing if they run. */
  start(sources: readonly InterruptSource[], target: DispatchTarget): void {
    if (this.#controller !== undefined) return;
    const controller = new AbortController();
    this.#controller = controller;
    const lost = (error: unknown): void => {
      // The others end too; a device is lost once.
      controller.abort(error);
      target.lost(error);
    };
    const loops = sources.map((source) => run(source, target, controller.signal, lost));
    this.#ended = Promise.all([this.#ended, ...loops]);
  }

  /** Ends the loops; nothing is served after this call. */
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
  source: InterruptSource,
  target: DispatchTarget,
  signal: AbortSignal,
  lost: (error: unknown) => void,
): Promise<void> {
  const { interrupt } = source;
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
      idle = target.serve(source) ? 0 : idle + 1;
      if (idle >= STORM) await pause(Math.min(idle - STORM + 1, MAX_PAUSE), signal);
      if (idle > 0) idleSince = performance.now();
    }
  } catch (error) {
    if (!signal.aborted) lost(error);
  }
}
