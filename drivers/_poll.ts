import type { WaitOptions } from "./transport/transport.ts";

/** Reads made without a pause; on every machine tried a device answers the first. */
const SPINS = 16;
/** Milliseconds between later reads. */
const PAUSE = 1;

/**
 * Asks a device again and again until it answers or the time is up.
 *
 * @param done Whether the device is there yet; reads registers.
 * @param timedOut Makes the error for when it is not in time.
 * @throws The error of `timedOut`, or the signal's reason.
 */
export async function pollUntil(
  done: () => boolean,
  timedOut: (deadline: number) => Error,
  options: WaitOptions = {},
): Promise<void> {
  const { signal, deadline = 1000 } = options;
  signal?.throwIfAborted();
  for (let i = 0; i < SPINS; i++) if (done()) return;
  const end = performance.now() + deadline;
  while (performance.now() < end) {
    await pause(PAUSE, signal);
    if (done()) return;
  }
  throw timedOut(deadline);
}

/**
 * Resolves after some milliseconds; leaves no timer behind.
 *
 * @throws The signal's reason if it is aborted.
 */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
