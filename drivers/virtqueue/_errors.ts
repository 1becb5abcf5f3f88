import { VireoError } from "@vireo/hal";
import { SG_WORDS, type SgList } from "./virtqueue.ts";

/** The longest chain in bytes (virtio 1.4 §2.7.5.1, §2.8.5). */
const MAX_CHAIN_BYTES = 2 ** 32;

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

/**
 * Checks a chain that is longer than one element, or empty.
 *
 * @throws {VireoError} `CHAIN_SHAPE` If no queue of this size may take it.
 */
export function checkChain(queue: Where, chain: SgList): void {
  const { words, count } = chain;
  if (count === 0 || count > queue.size) {
    throw badShape(queue, count, `1 to ${queue.size} elements`);
  }
  let total = 0;
  for (let at = 2; at < count * SG_WORDS; at += SG_WORDS) total += words[at]!;
  // drv.split-ring.desc-table.1
  if (total > MAX_CHAIN_BYTES) throw badShape(queue, total, "at most 2^32 bytes");
}

/** A ring that cannot be made. */
export function badSize(
  { device, index, size }: {
    readonly device?: string;
    readonly index: number;
    readonly size: number;
  },
  ring: "split" | "packed",
  expected: string,
): VireoError {
  return new VireoError("QUEUE_SIZE", `Cannot make a ${ring} virtqueue`, {
    device,
    queue: index,
    seen: size,
    expected,
  });
}

/** What is wrong with a queue that was deleted. */
export function deleted(queue: Where): VireoError {
  return new VireoError("DEVICE_STATE", "Virtqueue was deleted", {
    device: queue.device,
    queue: queue.index,
  });
}

function badShape(queue: Where, seen: number, expected: string): VireoError {
  return new VireoError("CHAIN_SHAPE", "Cannot add such a chain", {
    device: queue.device,
    queue: queue.index,
    seen,
    expected,
  });
}
