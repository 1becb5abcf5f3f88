import { Status } from "@vireo/hal";

/** Effect of a status write on the device. */
export type StatusAction = "none" | "reset" | "features" | "activate";

interface Transition {
  /** Bits that the write sets for the first time. */
  readonly sets: number;
  /** Bits that must be set before, on a modern device. */
  readonly after: number;
  readonly action: StatusAction;
}

/** The steps of virtio 1.4 §3.1.1 in order; FAILED is allowed at any time. */
const TRANSITIONS: readonly Transition[] = [
  { sets: Status.ACKNOWLEDGE, after: 0, action: "none" },
  { sets: Status.DRIVER, after: Status.ACKNOWLEDGE, action: "none" },
  { sets: Status.FEATURES_OK, after: Status.ACKNOWLEDGE | Status.DRIVER, action: "features" },
  {
    sets: Status.DRIVER_OK,
    after: Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK,
    action: "activate",
  },
  { sets: Status.FAILED, after: 0, action: "none" },
];

/** Bits that a driver may write. */
export const DRIVER_STATUS_BITS: number = TRANSITIONS.reduce((bits, row) => bits | row.sets, 0);

/** Effect of a status write, or why it is a violation. */
export interface StatusStep {
  /** Actions in the order of the specification's steps. */
  readonly actions: readonly StatusAction[];
  /** The status afterwards, as far as no action refuses it. */
  readonly status: number;
  /** The driver's first violation, if any; the status keeps its value in the bits at fault. */
  readonly violation: string | undefined;
  /** The statement that forbids it, by its id, if there is one. */
  readonly rule?: string;
}

/**
 * Looks a status write up in the table of transitions.
 *
 * @param from The status before.
 * @param written The value written.
 * @param legacy Whether the driver may take the steps in any order; FEATURES_OK is unknown then.
 *
 * @example
 * ```ts
 * import { statusStep } from "@vireo/emu/core";
 * import { Status } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = Status;
 * assertEquals(statusStep(ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, false).status, 3);
 * // DRIVER_OK comes after FEATURES_OK.
 * const early = statusStep(ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | DRIVER_OK, false);
 * assertEquals([early.status, early.violation], [3, "sets 0x4 out of order"]);
 * ```
 */
export function statusStep(from: number, written: number, legacy: boolean): StatusStep {
  if (written === 0) return { actions: ["reset"], status: 0, violation: undefined };
  const device = from & Status.NEEDS_RESET;
  const kept = from & ~Status.NEEDS_RESET;
  const violations: [reason: string, rule?: string][] = [];
  if ((kept & ~written) !== 0) {
    violations.push(["clears a bit without a reset", "drv.basic.status.2"]);
  }
  const unknown = written & ~DRIVER_STATUS_BITS & ~Status.NEEDS_RESET;
  if (unknown !== 0) {
    violations.push([`sets bits 0x${unknown.toString(16)} that are not the driver's`]);
  }
  const actions: StatusAction[] = [];
  let status = kept;
  for (const row of TRANSITIONS) {
    if ((written & row.sets) === 0 || (status & row.sets) !== 0) continue;
    if (!legacy && (status & row.after) !== row.after) {
      violations.push([`sets 0x${row.sets.toString(16)} out of order`, "drv.basic.init.1"]);
      continue;
    }
    status |= row.sets;
    if (row.action !== "none") actions.push(row.action);
  }
  const [violation, rule] = violations[0] ?? [];
  const step = { actions, status: status | device, violation };
  return rule === undefined ? step : { ...step, rule };
}
