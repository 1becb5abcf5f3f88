import { hex } from "@vireo/hal";
import type { RingPosition } from "./ring/position.ts";
import type { ConfigState } from "./ring/queue_config.ts";

/** Where in a ring something was wrong, and what the specification says of it. */
export interface ViolationPlace {
  /** Index of the queue. */
  readonly queue?: number;
  /** Index of the descriptor in the ring or in an indirect table; of the first one of its chain if it is the chain. */
  readonly descriptor?: number;
  /** The guest address that the descriptor has. */
  readonly address?: number;
  /** The section of virtio 1.4, for example `2.7.5.2`. */
  readonly clause?: string;
  /** The statement that forbids it, by its id in `vireo check`: `drv.split-ring.framing.1`. */
  readonly rule?: string;
}

/** A driver's violation of the specification; the device reacted as hardware would. */
export interface Violation extends ViolationPlace {
  /** The register or ring at fault. */
  readonly register: string;
  /** The value written, if there was one. */
  readonly value: number | undefined;
  /** Mistake of the driver. */
  readonly reason: string;
}

/** State of a device as plain data. */
export interface DeviceState {
  /** Device status field. */
  readonly status: number;
  /** Whether the model was activated; a legacy driver may have done that before DRIVER_OK. */
  readonly active: boolean;
  /** Feature words the driver wrote, lowest first. */
  readonly driverFeatures: readonly number[];
  /** Bits of the interrupt status. */
  readonly interruptStatus: number;
  /** Whether a suspended device reports a change of its configuration when it goes on. */
  readonly changeDue?: boolean;
  /** Configuration generation. */
  readonly generation: number;
  /** GuestPageSize in bytes. */
  readonly pageSize: number;
  /** The queues in order. */
  readonly queues: readonly QueueState[];
  /** The result of the model's own `snapshot`. */
  readonly model: unknown;
}

/** State of a queue as plain data. */
export interface QueueState extends ConfigState {
  /** Where the queue stands, if it runs. */
  readonly position: RingPosition | null;
}

/**
 * Says a violation in one line: what, where and against which clause.
 *
 * @example
 * ```ts
 * import { violationText } from "@vireo/emu";
 * import { assertEquals } from "@std/assert";
 *
 * const text = violationText({
 *   register: "ring",
 *   value: undefined,
 *   reason: "element at 0x10, 64 bytes, is outside guest memory",
 *   queue: 0,
 *   descriptor: 2,
 *   clause: "2.7.5",
 * });
 * assertEquals(
 *   text,
 *   "queue 0, descriptor 2: element at 0x10, 64 bytes, is outside guest memory (virtio 1.4 §2.7.5)",
 * );
 * ```
 */
export function violationText(violation: Violation): string {
  const { register, value, reason, queue, descriptor, clause } = violation;
  const where = [
    ...register === "ring" ? [] : [`${register}${value === undefined ? "" : ` ${hex(value)}`}`],
    ...queue === undefined ? [] : [`queue ${queue}`],
    ...descriptor === undefined ? [] : [`descriptor ${descriptor}`],
  ].join(", ");
  const against = clause === undefined ? "" : ` (virtio 1.4 §${clause})`;
  return `${where === "" ? "" : `${where}: `}${reason.replace(/^queue \d+: /, "")}${against}`;
}

/**
 * Says who did something wrong, and what: the driver, unless the model itself failed.
 *
 * @example
 * ```ts
 * import { blameText } from "@vireo/emu";
 * import { assertEquals } from "@std/assert";
 *
 * const violation = { register: "Status", value: 0x10, reason: "sets bits that no status has" };
 * assertEquals(blameText(violation), "The driver erred: Status 0x10: sets bits that no status has");
 * ```
 */
export function blameText(violation: Violation): string {
  const who = violation.register === "model" ? "The emulated device failed" : "The driver erred";
  return `${who}: ${violationText(violation)}`;
}
