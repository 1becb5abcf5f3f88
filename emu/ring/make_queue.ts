import type { GuestMemory } from "../memory.ts";
import { PackedQueue } from "./packed.ts";
import { checkPackedGeometry } from "./packed_geometry.ts";
import type { RingPosition } from "./position.ts";
import type { QueueGeometry, RunningQueue, RunningQueueOptions } from "./queue_config.ts";
import { checkGeometry, SplitQueue } from "./split.ts";

/**
 * Says why a queue cannot run with a geometry, or undefined if it can.
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
 * Makes a running queue of a geometry that {@linkcode checkRing} found good.
 *
 * @param packed Whether RING_PACKED was negotiated.
 * @param options What the queue needs.
 * @param position Where it goes on; the start by default.
 * @throws {RangeError} If the position is of the other ring or of another size.
 */
export function makeQueue(
  packed: boolean,
  options: RunningQueueOptions,
  position?: RingPosition,
): RunningQueue {
  if (position !== undefined && "ring" in position !== packed) {
    throw new RangeError(`Cannot resume queue ${options.index} of the other ring`);
  }
  if (packed) {
    const queue = new PackedQueue(options);
    if (position !== undefined && "ring" in position) queue.resume(position);
    return queue;
  }
  const queue = new SplitQueue(options);
  if (position !== undefined && !("ring" in position)) queue.resume(position);
  return queue;
}
