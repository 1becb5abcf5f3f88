/**
 * The one way to wait on a device: a deadline and a signal that cover every step of a call.
 *
 * @example
 * ```ts
 * import { Condition, within } from "@vireo/drivers/wait";
 * import { assertEquals } from "@std/assert";
 *
 * const condition = new Condition();
 * let answers = 0;
 * setTimeout(() => {
 *   answers = 2;
 *   condition.notify();
 * }, 1);
 * const call = within({ deadline: 1000 });
 * assertEquals(await condition.until("the answers", () => answers || undefined, call), 2);
 * ```
 *
 * @module
 */
export * from "./condition.ts";
export * from "./limit.ts";
export * from "./message_stream.ts";
export { type Deadline, timeLeft, type WaitOptions, within } from "./options.ts";
export { pause, type PollSubject, pollUntil } from "./poll.ts";
export * from "./timers.ts";
export * from "./wait_list.ts";
export * from "./waiter.ts";
