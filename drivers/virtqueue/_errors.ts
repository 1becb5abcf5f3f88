import { VireoError } from "@vireo/hal";

/** What a message tells of a queue. */
interface Where {
  readonly device: string | undefined;
  readonly index: number;
  readonly size: number;
  readonly broken: VireoError | undefined;
}

/** A used index that moved by more than the device has. */
export function usedIndexJump(
  queue: Where,
  usedIndex: number,
  fresh: number,
  inFlight: number,
): VireoError {
  return new VireoError("USED_INDEX_JUMP", "Device returned more buffers than it has", {
    device: queue.device,
    queue: queue.index,
    index: usedIndex,
    seen: fresh,
    expected: `at most ${inFlight}`,
  });
}

/** A used entry whose id cannot be true. @param position Its free-running index. */
export function usedIdLie(queue: Where, position: number, id: number): VireoError {
  const where = { device: queue.device, queue: queue.index, index: position, seen: id };
  return id < queue.size
    ? new VireoError("USED_ID_NOT_IN_FLIGHT", "Device returned a buffer it does not have", {
      ...where,
      expected: "the head of a buffer in flight",
    })
    : new VireoError("USED_ID_RANGE", "Device returned a descriptor that does not exist", {
      ...where,
      expected: `below ${queue.size}`,
    });
}

/** A chain for a queue that is broken. */
export function cannotAdd(queue: Where): VireoError {
  return new VireoError("QUEUE_BROKEN", "Cannot add to a broken virtqueue", {
    device: queue.device,
    queue: queue.index,
    cause: queue.broken,
  });
}

/** A chain that no queue of this size may take. */
export function badShape(queue: Where, seen: number, expected: string): VireoError {
  return new VireoError("CHAIN_SHAPE", "Cannot add such a chain", {
    device: queue.device,
    queue: queue.index,
    seen,
    expected,
  });
}
