import type { RunningQueueOptions } from "./queue_config.ts";

/** A section of virtio 1.4, with the id of the statement that forbids something if there is one. */
export type Forbidden = string | readonly [clause: string, rule: string];

/** Reports a mistake of the driver in a ring, and returns nothing. */
export type RingFault = (
  reason: string,
  forbidden: Forbidden,
  descriptor?: number,
  address?: number,
) => undefined;

/** Makes the door by which a queue's faults go to its device. */
export function ringFault(
  { index: queue, fault }: Pick<RunningQueueOptions, "index" | "fault">,
): RingFault {
  return (reason, forbidden, descriptor, address) => {
    const [clause, rule] = typeof forbidden === "string" ? [forbidden] : forbidden;
    fault(`queue ${queue}: ${reason}`, {
      queue,
      ...descriptor === undefined ? {} : { descriptor },
      ...address === undefined ? {} : { address },
      clause,
      ...rule === undefined ? {} : { rule },
    });
    return undefined;
  };
}
