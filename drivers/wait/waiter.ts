import { VireoError, type VireoErrorDetails } from "@vireo/hal";
import { type Deadline, LONGEST_TIMER, type WaitOptions, within } from "./options.ts";
import { SYSTEM_TIMERS, type Timers } from "./timers.ts";

/** An awaited event; one object serves all waits of a place. */
export interface WaitSubject<T> {
  /** The end of `Timed out after 5 ms waiting for ...`: `the device to return the buffer`. */
  readonly what: string;
  /** The code of the error; `TIMEOUT` by default. */
  readonly code?: "TIMEOUT" | "RESET_TIMEOUT" | undefined;
  /** Where the wait happens and what the last look showed, for the error. */
  readonly details?: (() => VireoErrorDetails) | undefined;
  /**
   * Looks once more before the wait gives up: a value ends the wait well, undefined ends it with the
   * error. It may settle the waiter by the usual way instead. What it throws rejects the wait.
   */
  readonly look?: ((waiter: Waiter<T>) => T | undefined) | undefined;
  /** Called when a waiter left because of its deadline or signal. */
  readonly left?: ((waiter: Waiter<T>) => void) | undefined;
  /** Time; the machine's own by default. */
  readonly timers?: Timers | undefined;
}

/** How a place where many wait looks once more before a wait gives up. */
export interface LastLook {
  /** Looks, and settles those whose turn it is; the waiter is {@linkcode Waiter.over} if it was one. */
  readonly look?: ((waiter: { readonly over: boolean }) => void) | undefined;
  /** Where the waits happen and what the look showed, for the error. */
  readonly details?: (() => VireoErrorDetails) | undefined;
}

/**
 * The one error of a wait whose time is over.
 *
 * @param what What was waited for, as in {@linkcode WaitSubject.what}.
 * @param deadline Milliseconds that the call was given.
 * @param details Where, and what the last look showed.
 *
 * @example
 * ```ts
 * import { timedOut } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const error = timedOut("the device to answer", 5, { device: "virtio0", seen: "an empty ring" });
 * assertEquals(
 *   error.message,
 *   "Timed out after 5 ms waiting for the device to answer (virtio0): saw an empty ring",
 * );
 * ```
 */
export function timedOut(
  what: string,
  deadline: number | undefined,
  details?: VireoErrorDetails,
  code: "TIMEOUT" | "RESET_TIMEOUT" = "TIMEOUT",
): VireoError {
  const time = deadline === undefined ? "" : ` after ${Math.round(deadline * 1000) / 1000} ms`;
  return new VireoError(code, `Timed out${time} waiting for ${what}`, details);
}

/** A wait that goes on. */
export interface OngoingWait {
  /** Name of the awaited event, as in {@linkcode WaitSubject.what}. */
  readonly what: string;
  /** When it began, by `performance.now()`. */
  readonly since: number;
}

/** The waits that go on, while somebody asks; nothing is noted before. */
let ongoing: Map<object, OngoingWait> | undefined;

/**
 * Starts to note the waits of this process that begin from now on. It stays so.
 *
 * @example
 * ```ts
 * import { ongoingWaits, Waiter } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const waits = ongoingWaits();
 * const waiter = new Waiter<void>({ what: "a key press" }, {});
 * assertEquals([...waits.values()].map(({ what }) => what), ["a key press"]);
 * waiter.resolve();
 * assertEquals(waits.size, 0);
 * ```
 */
export function ongoingWaits(): ReadonlyMap<object, OngoingWait> {
  return ongoing ??= new Map();
}

/**
 * One wait with a deadline and a signal. It settles once, and leaves no timer and no listener behind.
 *
 * Whoever brings the news calls {@linkcode Waiter.resolve} or {@linkcode Waiter.reject}.
 *
 * @example
 * ```ts
 * import { Waiter } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * let frames = 0;
 * // No news came: the last look finds the frames.
 * const subject = { what: "a frame", look: () => frames || undefined };
 * const waiter = new Waiter<number>(subject, { deadline: 1 }).arm();
 * frames = 3;
 * assertEquals([await waiter.promise, waiter.over], [3, true]);
 * ```
 */
export class Waiter<T> {
  /** Settles when the wait is over. */
  readonly promise: Promise<T>;
  /** When its time is over, by its subject's timers. */
  readonly until: number;
  readonly #subject: WaitSubject<T>;
  readonly #deadline: number | undefined;
  readonly #signal: AbortSignal | undefined;
  #resolve!: (value: T | Promise<never>) => void;
  #onAbort: (() => void) | undefined;
  #cancel: (() => void) | undefined;
  #over = false;

  /**
   * Begins to wait, without a timer yet. If the signal is aborted already or the deadline is no
   * number >= 0, it is rejected and {@linkcode Waiter.over} at once.
   */
  constructor(subject: WaitSubject<T>, options: WaitOptions) {
    this.#subject = subject;
    // Written here and without `reject`: V8 then makes neither that function nor this one.
    this.promise = new Promise<T>((resolve) => this.#resolve = resolve);
    const { signal, deadline, until } = options;
    this.#signal = signal;
    let call: Deadline | undefined;
    try {
      signal?.throwIfAborted();
      const limited = deadline !== undefined || until !== undefined;
      if (limited) call = within(options, undefined, subject.timers);
    } catch (reason) {
      this.reject(reason);
    }
    this.#deadline = call?.deadline;
    this.until = call?.until ?? Infinity;
    if (!this.#over) ongoing?.set(this, { what: subject.what, since: performance.now() });
    if (signal === undefined || this.#over) return;
    this.#onAbort = () => this.#leave(signal.reason);
    signal.addEventListener("abort", this.#onAbort);
  }

  /**
   * Sets the timer, once the news can reach the waiter: a process's first `setTimeout` can run
   * microtasks (measured, Deno 2.9.5), and so end the wait. An owner of many waiters may have a timer
   * for all of them instead, and call {@linkcode Waiter.giveUp}.
   */
  arm(): this {
    const { timers = SYSTEM_TIMERS } = this.#subject;
    if (this.#over || this.until === Infinity) return this;
    // Rounded up: a timer drops the fraction of a millisecond, and would come too early.
    const left = Math.max(0, Math.ceil(this.until - timers.now()));
    const cancel = timers.after(Math.min(left, LONGEST_TIMER), () => this.giveUp());
    if (this.#over) cancel();
    else this.#cancel = cancel;
    return this;
  }

  /** Whether the wait is over. */
  get over(): boolean {
    return this.#over;
  }

  /** Ends the wait well; does nothing if it is over. */
  resolve(value: T): void {
    if (this.#end()) this.#resolve(value);
  }

  /** Ends the wait with an error; does nothing if it is over. */
  reject(reason: unknown): void {
    if (this.#end()) this.#resolve(Promise.reject(reason));
  }

  /** The time is over: looks once more, and ends the wait either way. */
  giveUp(): void {
    if (this.#over) return;
    const subject = this.#subject;
    try {
      const value = subject.look?.(this);
      if (this.#over) return;
      if (value !== undefined) return this.#leaveWith(value);
      const { what, code } = subject;
      this.#leave(timedOut(what, this.#deadline, subject.details?.(), code));
    } catch (error) {
      this.#leave(error);
    }
  }

  #leaveWith(value: T): void {
    this.resolve(value);
    this.#subject.left?.(this);
  }

  #leave(reason: unknown): void {
    if (this.#over) return;
    this.reject(reason);
    this.#subject.left?.(this);
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    ongoing?.delete(this);
    this.#cancel?.();
    if (this.#onAbort !== undefined) this.#signal!.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

/**
 * Waits for an event.
 *
 * @param begin Called once, unless the signal is aborted already: lets the news reach the waiter. What
 * it returns is called when the wait is over, however it ended.
 * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason.
 *
 * @example
 * ```ts
 * import { waitFor } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const subject = { what: "the next key" };
 * const key = await waitFor<string>(subject, { deadline: 1000 }, (waiter) => {
 *   const timer = setTimeout(() => waiter.resolve("enter"));
 *   return () => clearTimeout(timer);
 * });
 * assertEquals(key, "enter");
 * ```
 */
export async function waitFor<T>(
  subject: WaitSubject<T>,
  options: WaitOptions,
  begin: (waiter: Waiter<T>) => (() => void) | void,
): Promise<T> {
  const waiter = new Waiter<T>(subject, options);
  if (waiter.over) return await waiter.promise;
  let end: (() => void) | void = undefined;
  try {
    end = begin(waiter);
  } catch (error) {
    waiter.reject(error);
  }
  try {
    return await waiter.arm().promise;
  } finally {
    end?.();
  }
}

/**
 * Waits for a promise that others may wait for longer; it goes on when this wait gives up.
 *
 * @throws {VireoError} `TIMEOUT` If the deadline passes; the signal's reason; what the promise throws.
 *
 * @example
 * ```ts
 * import { waitOn } from "@vireo/drivers/wait";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const answer = Promise.withResolvers<string>();
 * // One caller gives up; the other one still gets the answer.
 * const patient = waitOn(answer.promise, { what: "the host" }, {});
 * await assertRejects(
 *   () => waitOn(answer.promise, { what: "the host" }, { deadline: 1 }),
 *   Error,
 *   "Timed out after 1 ms waiting for the host",
 * );
 * answer.resolve("here");
 * assertEquals(await patient, "here");
 * ```
 */
export function waitOn<T>(
  promise: PromiseLike<T>,
  subject: WaitSubject<T>,
  options: WaitOptions,
): Promise<T> {
  return waitFor<T>(subject, options, (waiter) => {
    promise.then((value) => waiter.resolve(value), (error) => waiter.reject(error));
  });
}
