import { VireoError } from "@vireo/hal";
import { SG_WORDS, type SgList } from "./virtqueue.ts";

/** The longest chain in bytes (virtio 1.4 §2.7.5.1, §2.8.5). */
const MAX_CHAIN_BYTES = 2 ** 32;

/** The parts of a queue that a message names. */
interface Where {
  readonly device: string | undefined;
  readonly index: number;
  readonly size: number;
  readonly broken: VireoError | undefined;
}

/** The error for a used index that moved by more than the number of buffers in flight. */
export function usedIndexJump(
  queue: Where,
  usedIndex: number,
  fresh: number,
  inFlight: number,
): VireoError {
  return new VireoError("USED_INDEX_JUMP", "The device returned more buffers than it has", {
    device: queue.device,
    queue: queue.index,
    index: usedIndex,
    seen: fresh,
    expected: `at most ${inFlight}`,
  });
}

/** The error for a used entry with a wrong id. @param position Its free-running index. */
export function usedIdLie(queue: Where, position: number, id: number): VireoError {
  const where = { device: queue.device, queue: queue.index, index: position, seen: id };
  return id < queue.size
    ? new VireoError(
      "USED_ID_NOT_IN_FLIGHT",
      "The device returned a buffer that it does not have",
      {
        ...where,
        expected: "the head of a buffer in flight",
      },
    )
    : new VireoError("USED_ID_RANGE", "The device returned a descriptor that does not exist", {
      ...where,
      expected: `below ${queue.size}`,
    });
}

/** The error for a chain on a broken queue. */
export function cannotAdd(queue: Where): VireoError {
  return new VireoError("QUEUE_BROKEN", "Cannot add to the virtqueue: it is broken", {
    device: queue.device,
    queue: queue.index,
    cause: queue.broken,
  });
}

/** The largest token of a buffer. */
export const MAX_TOKEN = 0x7fffffff;

/** The error for a token that `pop` could not return: -1 there says that no buffer waits. */
export function badToken(token: number): RangeError {
  return new RangeError(
    `Cannot add a buffer with token ${token}: the token must be an integer, 0 to ${MAX_TOKEN}`,
  );
}

/**
 * Checks a chain that is longer than one element, or empty.
 *
 * @throws {VireoError} `CHAIN_SHAPE` If a queue of this size can never take it.
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

/** The error for a ring that cannot be made. */
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

/** The error for a deleted queue. */
export function deleted(queue: Where): VireoError {
  return new VireoError("DEVICE_STATE", "The virtqueue was deleted", {
    device: queue.device,
    queue: queue.index,
  });
}

function badShape(queue: Where, seen: number, expected: string): VireoError {
  return new VireoError("CHAIN_SHAPE", "Cannot add the chain", {
    device: queue.device,
    queue: queue.index,
    seen,
    expected,
  });
}
