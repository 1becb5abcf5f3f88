import { timeLeft, type WaitOptions, within } from "./options.ts";
import { timedOut, Waiter, type WaitSubject } from "./waiter.ts";

/** Reads made without a pause; on every machine tried a device answers the first. */
const SPINS = 16;
/** Milliseconds that a device may take to reset, unless told otherwise. */
export const RESET_DEADLINE = 1000;
/** Milliseconds between later reads. */
const PAUSE = 1;
const PAUSE_SUBJECT: WaitSubject<void> = { what: "a pause to end" };

/** The event that {@linkcode pollUntil} waits for. */
export type PollSubject = Pick<WaitSubject<void>, "what" | "code" | "details">;

/**
 * Asks a device again and again until it answers; the last time when the deadline is over.
 *
 * @param done Whether the device is there yet; reads registers.
 * @param subject What is waited for; `done` is its look.
 * @param options The deadline is 1000 ms by default.
 * @throws {VireoError} `TIMEOUT` or the subject's code; the signal's reason.
 *
 * @example
 * ```ts
 * import { pollUntil } from "@vireo/drivers/wait";
 * import { assertRejects } from "@std/assert";
 *
 * let reads = 0;
 * await pollUntil(() => ++reads === 3, { what: "the device to reset" });
 * await assertRejects(
 *   () => pollUntil(() => false, { what: "the device to reset" }, { deadline: 5 }),
 *   Error,
 *   "Timed out after 5 ms waiting for the device to reset",
 * );
 * ```
 */
export async function pollUntil(
  done: () => boolean,
  subject: PollSubject,
  options: WaitOptions = {},
): Promise<void> {
  const call = within(options, RESET_DEADLINE);
  call.signal?.throwIfAborted();
  for (let i = 0; i < SPINS; i++) if (done()) return;
  while (timeLeft(call) > 0) {
    await pause(PAUSE, call.signal);
    if (done()) return;
  }
  throw timedOut(subject.what, call.deadline, subject.details?.(), subject.code);
}

/**
 * Resolves after some milliseconds; leaves no timer behind.
 *
 * @throws The signal's reason if it is aborted.
 *
 * @example
 * ```ts
 * import { pause } from "@vireo/drivers/wait";
 * import { assertRejects } from "@std/assert";
 *
 * await pause(1);
 * // An abort ends a pause early.
 * await assertRejects(() => pause(60_000, AbortSignal.abort(new Error("stop"))), Error, "stop");
 * ```
 */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  const waiter = new Waiter<void>(PAUSE_SUBJECT, { signal });
  const timer = waiter.over ? undefined : setTimeout(() => waiter.resolve(), milliseconds);
  return waiter.promise.finally(() => clearTimeout(timer));
}
