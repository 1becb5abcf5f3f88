import type { GuestMemory } from "../memory.ts";
import { PackedQueue } from "./packed.ts";
import { checkPackedGeometry } from "./packed_geometry.ts";
import type { PackedPosition, QueuePosition, RingPosition } from "./position.ts";
import type { QueueGeometry, RunningQueue, RunningQueueOptions } from "./queue_config.ts";
import { checkGeometry, SplitQueue } from "./split.ts";

/**
 * Returns why a queue cannot run with a geometry; undefined if it can.
 *
 * @param packed Whether RING_PACKED was negotiated.
 */
export function checkRing(
  packed: boolean,
  geometry: QueueGeometry,
  memory: GuestMemory,
): string | undefined {
  return packed ? checkPackedGeometry(geometry, memory) : checkGeometry(geometry, memory);
}

/**
 * Makes a running queue from a geometry that {@linkcode checkRing} accepted.
 *
 * @param packed Whether RING_PACKED was negotiated.
 * @param options What the queue needs.
 * @param position The position from which it continues; the start by default.
 * @throws {RangeError} If the position belongs to another ring format or to another size.
 */
export function makeQueue(
  packed: boolean,
  options: RunningQueueOptions,
  position?: RingPosition,
): RunningQueue {
  const kind = position !== undefined && "ring" in position ? position.ring : "split";
  if (position !== undefined && kind !== (packed ? "packed" : "split")) {
    throw new RangeError(
      `Cannot resume queue ${options.index}: its position must be that of a ${
        packed ? "packed" : "split"
      } ring`,
    );
  }
  if (packed) {
    const queue = new PackedQueue(options);
    if (position !== undefined) queue.resume(position as PackedPosition);
    return queue;
  }
  const queue = new SplitQueue(options);
  if (position !== undefined) queue.resume(position as QueuePosition);
  return queue;
}
