import type { InterruptSource } from "../transport/transport.ts";
import { pause } from "../wait/poll.ts";

/** A device whose interrupts a dispatch loop serves. */
export interface DispatchTarget {
  /** Whether there may be work; machines that poll call this. */
  due(): boolean;
  /** The same without a register access; configuration changes may be missed. */
  dueInMemory(): boolean;
  /** Whether the device owes an answer. */
  expects(): boolean;
  /** Serves an interrupt of one source; returns whether a queue made progress. */
  serve(source: InterruptSource): boolean;
  /** Reports that the machine can deliver no more interrupts. Called once. */
  lost(error: unknown): void;
}

/** The number of interrupts in a row without progress that the loop serves at full speed. */
const STORM = 64;
/** The longest pause, in milliseconds, between interrupts of a storm. */
const MAX_PAUSE = 16;
/** Milliseconds without an interrupt that end a storm. */
const CALM = 1;

/**
 * Waits for a device's interrupts and serves them, one loop a source.
 *
 * A line may stay active without any progress, for example when the device lies or its cause cannot be
 * acknowledged. The loop then serves it less and less often, so that it cannot monopolize the event loop.
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
      // The other loops end too, so that a device is reported lost only once.
      controller.abort(error);
      target.lost(error);
    };
    const loops = sources.map((source) => run(source, target, controller.signal, lost));
    this.#ended = Promise.all([this.#ended, ...loops]);
  }

  /** Ends the loops; they serve nothing after this call. */
  stop(): void {
    this.#controller?.abort(new DOMException("The device is not in use any more", "AbortError"));
    this.#controller = undefined;
  }

  /** Resolves when all stopped loops have ended. */
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
  /** Progress of serves while the line was waited for; undefined if there was none. */
  let progress: boolean | undefined;
  let idle = 0;
  const wait = {
    signal,
    repeated: true,
    ready: () => target.due(),
    readyInMemory: () => target.dueInMemory(),
    expected: () => target.expects(),
    serve: () => {
      progress = target.serve(source);
      if (progress) idle = 0;
      return progress;
    },
  };
  let idleSince = 0;
  try {
    while (!signal.aborted) {
      await interrupt.wait(wait);
      if (signal.aborted) return;
      if (idle > 0 && performance.now() - idleSince > CALM) idle = 0;
      idle = progress ?? target.serve(source) ? 0 : idle + 1;
      progress = undefined;
      if (idle >= STORM) await pause(Math.min(idle - STORM + 1, MAX_PAUSE), signal);
      if (idle > 0) idleSince = performance.now();
    }
  } catch (error) {
    if (!signal.aborted) lost(error);
  }
}
