import { hex } from "./bits.ts";

/** Every reason a {@linkcode VireoError} can carry; scripts match on these, never on messages. */
export type VireoErrorCode =
  // discovery and transport (virtio 1.4 §4.2.3, Linux virtio_mmio.c)
  | "BAD_MAGIC"
  | "BAD_VERSION"
  | "NO_DEVICE"
  | "BAD_CAPABILITY"
  | "VERSION_1_REQUIRED"
  | "FEATURES_REFUSED"
  | "FEATURE_DEPENDENCY"
  | "RESET_TIMEOUT"
  | "QUEUE_IN_USE"
  | "QUEUE_UNAVAILABLE"
  | "QUEUE_SIZE"
  | "QUEUE_ADDRESS"
  | "QUEUE_RESET_UNSUPPORTED"
  | "CONFIG_ACCESS"
  | "CONFIG_UNSTABLE"
  | "CONFIG_INVALID"
  // bus
  | "NO_DRIVER"
  | "PROBE_FAILED"
  | "DEVICE_STATE"
  | "DEVICE_REMOVED"
  | "DEVICE_NEEDS_RESET"
  // virtqueue
  | "QUEUE_FULL"
  | "QUEUE_BROKEN"
  | "USED_ID_RANGE"
  | "USED_ID_NOT_IN_FLIGHT"
  | "USED_INDEX_JUMP"
  | "CHAIN_SHAPE"
  // requests
  | "IO_ERROR"
  | "UNSUPPORTED"
  | "ZONE_REFUSED"
  | "READ_ONLY"
  | "OUT_OF_RANGE"
  | "BAD_STATUS"
  | "BAD_LENGTH"
  | "COMMAND_REFUSED"
  | "PORT_CLOSED"
  | "TIMEOUT"
  // machine
  | "OUT_OF_MEMORY"
  | "BAD_ACCESS"
  | "BAD_MESSAGE"
  | "BAD_TARGET"
  | "HOST_ERROR"
  | "GUEST_FAULT"
  // replays
  | "REPLAY_DIVERGED"
  // what an emulated device holds against its driver
  | "VIOLATION";

/** Where an error happened and what was seen; every field is optional and plain data. */
export interface VireoErrorDetails {
  /** Name of the device or transport, for example `virtio0` or `virtio-mmio@a003e00`. */
  readonly device?: string | undefined;
  /** Name of the register at fault, as the specification spells it. */
  readonly register?: string | undefined;
  /** Index of the virtqueue at fault. */
  readonly queue?: number | undefined;
  /** Index at fault inside the queue, table or list. */
  readonly index?: number | undefined;
  /** The value that was seen. */
  readonly seen?: number | string | undefined;
  /** The value, or the rule, that should have held. */
  readonly expected?: number | string | undefined;
  /**
   * The base in which the message prints numbers that were seen and expected: 16 if a register is named
   * and 10 otherwise, as registers and addresses are read in hex and counts in decimal.
   */
  readonly base?: 10 | 16 | undefined;
  /** The error that caused this one. */
  readonly cause?: unknown;
}

/**
 * The one error family of Vireo: a device, transport, ring or machine did not behave.
 *
 * Bad use of the API is a `TypeError` or `RangeError` instead, and an abort is the signal's reason.
 *
 * @example
 * ```ts
 * import { VireoError } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new VireoError("QUEUE_SIZE", "Cannot set up a queue", {
 *   device: "virtio0",
 *   queue: 1,
 *   seen: 32776,
 *   expected: "at most 32768",
 * });
 * assertEquals(
 *   error.message,
 *   "Cannot set up a queue (virtio0, queue 1): saw 32776, expected at most 32768",
 * );
 * assertEquals([error.code, error.seen], ["QUEUE_SIZE", 32776]);
 * ```
 */
export class VireoError extends Error {
  /** The reason, for programs. */
  readonly code: VireoErrorCode;
  /** Name of the device or transport at fault. */
  readonly device: string | undefined;
  /** Name of the register at fault. */
  readonly register: string | undefined;
  /** Index of the virtqueue at fault. */
  readonly queue: number | undefined;
  /** Index at fault inside the queue, table or list. */
  readonly index: number | undefined;
  /** The value that was seen. */
  readonly seen: number | string | undefined;
  /** The value, or the rule, that should have held. */
  readonly expected: number | string | undefined;

  /**
   * Makes an error whose message is `what failed: <where>, saw <seen>, expected <expected>`.
   *
   * @param code The reason.
   * @param what What failed, starting with a capital letter and without a full stop.
   * @param details Where it happened, what was seen, and in which base numbers are printed.
   */
  constructor(code: VireoErrorCode, what: string, details: VireoErrorDetails = {}) {
    super(message(what, details), details.cause === undefined ? {} : { cause: details.cause });
    this.name = "VireoError";
    this.code = code;
    this.device = details.device;
    this.register = details.register;
    this.queue = details.queue;
    this.index = details.index;
    this.seen = details.seen;
    this.expected = details.expected;
  }
}

/** The one place that decides how a number reads in a message. */
function show(value: number | string, { register, base }: VireoErrorDetails): string {
  if (typeof value === "string") return value;
  return (base ?? (register === undefined ? 10 : 16)) === 16 ? hex(value) : String(value);
}

function message(what: string, details: VireoErrorDetails): string {
  const where: string[] = [];
  if (details.device !== undefined) where.push(details.device);
  if (details.register !== undefined) where.push(`register ${details.register}`);
  if (details.queue !== undefined) where.push(`queue ${details.queue}`);
  if (details.index !== undefined) where.push(`index ${details.index}`);
  let text = what;
  if (where.length > 0) text += ` (${where.join(", ")})`;
  if (details.seen !== undefined) text += `: saw ${show(details.seen, details)}`;
  if (details.expected !== undefined) {
    text += `${details.seen === undefined ? ":" : ","} expected ${show(details.expected, details)}`;
  }
  return text;
}

/**
 * The error that something thrown is: JavaScript throws any value.
 *
 * @example
 * ```ts
 * import { asError } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new Error("The cable is out");
 * assertEquals(asError(error), error);
 * assertEquals(asError("lost").message, "lost");
 * ```
 */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
