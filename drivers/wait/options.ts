import { SYSTEM_TIMERS, type Timers } from "./timers.ts";

/** The longest timer, in milliseconds: 24 days; a longer one would fire at once. */
export const LONGEST_TIMER: number = 2 ** 31 - 1;

/** How long a call that waits on a device may take. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds until the wait fails with `TIMEOUT`, 0 or more. 0 takes only what is there or comes in
   * the same turn of the event loop; more than 2^31 - 1 (24 days) waits as long as it takes, as
   * `Infinity` does. Each call documents what counts without it.
   */
  readonly deadline?: number | undefined;
  /**
   * The latest end of the wait, by `performance.now()`. {@linkcode within} sets it, so that all steps of
   * a call end at the same time; callers give `deadline` only.
   */
  readonly until?: number | undefined;
}

/**
 * The deadline and the signal of one call, for each of its steps.
 *
 * It is plain data: a step that needs more options gets `{ ...limits, more }`.
 */
export interface Deadline extends WaitOptions {
  /** The caller's signal. */
  readonly signal: AbortSignal | undefined;
  /** Milliseconds that the whole call was given, for messages; undefined if there is no limit. */
  readonly deadline: number | undefined;
  /** When the call must be over, by its timers' `now()`; `Infinity` if there is no limit. */
  readonly until: number;
}

/**
 * Starts the time of a call: make it once where the call begins, and give it to each step.
 *
 * The deadline of a call that is itself a step of another one ends when that one ends, or earlier.
 *
 * @param otherwise Milliseconds that count without a deadline; without both there is no limit.
 * @throws {RangeError} If the deadline is negative or not a number.
 *
 * @example
 * ```ts
 * import { within } from "./mod.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const call = within({ deadline: 50 }, 1000);
 * assertEquals(call.deadline, 50);
 * // A step of its own, started later, ends when the call ends.
 * assertEquals(within(call, 1000).until, call.until);
 * ```
 */
export function within(
  options: WaitOptions,
  otherwise?: number,
  timers: Timers = SYSTEM_TIMERS,
): Deadline {
  const { signal, deadline = otherwise, until = Infinity } = options;
  if (deadline === undefined) return { signal, deadline, until };
  checkDeadline(deadline);
  const end = deadline > LONGEST_TIMER ? Infinity : timers.now() + deadline;
  return { signal, deadline, until: end < until ? end : until };
}

/**
 * Milliseconds that are left of a call, at least 0; `Infinity` if there is no limit.
 *
 * @example
 * ```ts
 * import { timeLeft, within } from "@vireo/drivers/wait";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const left = timeLeft(within({ deadline: 1000 }));
 * assert(left > 0 && left <= 1000);
 * assertEquals(timeLeft(within({})), Infinity);
 * ```
 */
export function timeLeft(call: Deadline, timers: Timers = SYSTEM_TIMERS): number {
  return Math.max(0, call.until - timers.now());
}

/**
 * Milliseconds from now until a wait with these options is over, whole ones as timers want them;
 * `Infinity` if it has no limit. Without an allocation, for waits that are not a `Waiter`.
 *
 * @throws {RangeError} If the deadline is negative or not a number.
 */
export function timeOf({ deadline, until }: WaitOptions): number {
  let time = Infinity;
  if (deadline !== undefined) {
    checkDeadline(deadline);
    if (deadline <= LONGEST_TIMER) time = Math.ceil(deadline);
  }
  if (until !== undefined && until !== Infinity) {
    const left = Math.max(0, Math.ceil(until - performance.now()));
    if (left < time) time = left;
  }
  return time;
}

/**
 * Checks a deadline in milliseconds.
 *
 * @throws {RangeError} If it is negative or not a number.
 */
function checkDeadline(deadline: number): void {
  if (deadline >= 0) return;
  throw new RangeError(`Cannot wait for ${deadline} ms: the deadline must be a number >= 0`);
}
