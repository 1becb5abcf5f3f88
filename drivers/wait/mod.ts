/**
 * The one way to wait on a device: a deadline and a signal that cover every step of a call.
 *
 * @module
 */
export * from "./condition.ts";
export * from "./limit.ts";
export * from "./message_stream.ts";
export { type Deadline, timeLeft, type WaitOptions, within } from "./options.ts";
export { type PollSubject, pollUntil } from "./poll.ts";
export * from "./timers.ts";
export * from "./wait_list.ts";
export * from "./waiter.ts";
