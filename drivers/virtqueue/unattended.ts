import { VireoError } from "@vireo/hal";

const TURN = Promise.resolve();

/** Runs a function at the end of this turn of the event loop, as `queueMicrotask` does, which allocates more. */
export function atTurnEnd(run: () => void): void {
  void TURN.then(run);
}

/**
 * Runs what no caller waits for, in a microtask or a timer, and reports what it throws: only a machine that is gone
 * makes a register access fail.
 *
 * @param report Takes the error, so that the waiters get it.
 */
export function unattended(
  device: string,
  run: () => void,
  report: (error: VireoError) => void,
): void {
  try {
    run();
  } catch (cause) {
    report(
      cause instanceof VireoError
        ? cause
        : new VireoError("HOST_ERROR", "Cannot reach the device", { device, cause }),
    );
  }
}
