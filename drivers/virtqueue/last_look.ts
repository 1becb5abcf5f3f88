import { hex, Status, type VireoErrorDetails } from "@vireo/hal";
import type { LastLook } from "../wait/waiter.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** How to look at a queue once more, after a request's deadline. */
interface QueueLook {
  /** Takes all returned buffers, as the queue's callback does. */
  readonly drain: () => void;
  /** Whether the request was settled meanwhile. */
  readonly settled: () => boolean;
  /** Whether the device owes an answer; if so, it is notified once more. */
  readonly due: boolean;
}

/**
 * Looks once more at a queue whose device did not answer in time. It takes buffers that arrived without an
 * interrupt. If there are none, it reads the status and notifies the device again, because the first
 * notification may have been lost.
 *
 * @returns Place and observation for the error; undefined if the request was settled.
 */
export function lookAgain(
  queue: Virtqueue,
  { drain, settled, due }: QueueLook,
): VireoErrorDetails | undefined {
  const where = { device: queue.device, queue: queue.index };
  const found = queue.hasUsed();
  if (found) drain();
  if (settled()) return undefined;
  // The machine may know the cause: the emulator knows what the driver did wrong.
  const cause = queue.diagnose?.();
  const because = cause === undefined ? {} : { cause };
  try {
    const status = queue.status?.() ?? 0;
    const names = BAD.filter(([bit]) => (status & bit) !== 0).map(([, name]) => name);
    if (names.length > 0) {
      const seen = `${hex(status)} with ${names.join(" and ")}`;
      return { ...where, register: "Status", seen, ...because };
    }
    if (found) return { ...where, seen: "other answers in the used ring", ...because };
    if (!due || queue.inFlight === 0) {
      return { ...where, seen: NOTHING, ...because };
    }
    queue.kickAgain();
    if (queue.hasUsed()) drain();
    if (settled()) return undefined;
    return {
      ...where,
      seen: "nothing in the used ring, even after another notification",
      ...because,
    };
  } catch (cause) {
    return { ...where, seen: "a device that cannot be reached", cause };
  }
}

const NOTHING = "nothing in the used ring";
const BAD = [[Status.NEEDS_RESET, "NEEDS_RESET"], [Status.FAILED, "FAILED"]] as const;

/**
 * {@linkcode lookAgain} for several waiters on the same queues.
 *
 * @param queues All these queues; none while the device has none.
 * @param drain Takes all returned buffers of one queue.
 * @param due Whether the device owes an answer.
 */
export function queueLook(
  queues: () => readonly Virtqueue[],
  drain: (queue: Virtqueue) => void,
  due: boolean,
): LastLook {
  let seen: VireoErrorDetails = {};
  return {
    look: (waiter) => {
      seen = {};
      const all = queues();
      for (const queue of all) {
        const look = { drain: () => drain(queue), due, settled: () => waiter.over };
        const now = lookAgain(queue, look);
        if (now === undefined) return;
        if (all.length === 1) seen = now;
        // Of several queues none is the place; what says more than that a ring is empty is told.
        else if (seen.seen === undefined || seen.seen === NOTHING) {
          seen = { ...now, queue: undefined };
        }
      }
    },
    details: () => seen,
  };
}
