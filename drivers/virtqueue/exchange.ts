import type { Dma, DmaDirection, DmaRegion } from "@vireo/hal";
import type { WaitOptions } from "../wait/mod.ts";
import type { RequestQueue } from "./request_queue.ts";
import { SgList } from "./virtqueue.ts";

/** A range of memory that a request lends to the device. */
export interface Loan {
  /** The region of the range. */
  readonly region: DmaRegion;
  /** First byte in the region; 0 by default. */
  readonly offset?: number;
  /** Length in bytes; up to the end of the region by default. */
  readonly length?: number;
  /** `to-device` for a range that the device reads; the others it writes. */
  readonly direction: DmaDirection;
}

/** A device's answer. */
export interface Answer {
  /** Exactly the bytes that the device wrote to the room of the answer. */
  readonly bytes: Uint8Array;
  /** The trailer, if the request had one; {@linkcode NOT_WRITTEN} where the device left it alone. */
  readonly trailer: Uint8Array;
  /** Number of bytes that the device wrote in all: the answer, lent memory and the trailer. */
  readonly length: number;
}

/** How to lend memory. */
export interface LendOptions extends WaitOptions {
  /**
   * Called exactly once when the driver owns the memory again, with the number of bytes that the device
   * wrote, or -1 if the device never had the request or was reset.
   */
  readonly onReturned?: (usedLength: number) => void;
}

/** How to exchange. */
export interface ExchangeOptions extends WaitOptions {
  /**
   * Bytes at the very end of the room, where the device writes them however short its answer is; it counts
   * them as if they followed the answer. Only for requests whose specification has such a trailer.
   */
  readonly trailer?: number;
  /** Called exactly once, when the driver owns the memory again or never lent it. */
  readonly onReturned?: () => void;
  /**
   * Called exactly once if the exchange is rejected, when the device is done with it: with the answer that
   * came after all, as to a request that its caller gave up, or undefined if none can come.
   */
  readonly onFailed?: (answer: Answer | undefined) => void;
}

/** Value of a trailer until the device writes it. */
export const NOT_WRITTEN = 0xff;

/**
 * Sends a request of lent memory. The device owns each range until it returns the request, the queue is
 * reset or the request is dropped; `onReturned` reports that exactly once.
 *
 * @param loans The ranges that the device reads, then those that it writes.
 * @returns Number of bytes that the device wrote (virtio 1.4 §2.7.8, §2.8.10).
 * @throws {VireoError} As {@linkcode RequestQueue.submit}.
 */
export function lend(
  queue: RequestQueue,
  loans: readonly Loan[],
  options: LendOptions = {},
): Promise<number> {
  const chain = new SgList(loans.length);
  for (const loan of loans) {
    const { region, offset = 0, direction } = loan;
    const length = lengthOf(loan);
    const address = region.share(offset, length, direction);
    if (direction === "to-device") chain.addReadable(address, length);
    else chain.addWritable(address, length);
  }
  const onReturned = (usedLength: number): void => {
    for (const loan of loans) {
      loan.region.unshare(loan.offset ?? 0, lengthOf(loan), loan.direction);
    }
    options.onReturned?.(usedLength);
  };
  const { signal, deadline, until } = options;
  return queue.submit(chain, { signal, deadline, until, onReturned });
}

/**
 * Sends a request and returns its answer, through their own memory. Each part is an element of the chain,
 * because some devices need separate elements for headers, whatever the specification says about layouts;
 * parts that follow each other share one if the queue has less descriptors than there are parts.
 * The device owns the memory until it returns it, whatever the caller does; memory is zeroed before reuse.
 *
 * @param parts What the device reads: bytes, which are copied, or lent memory; empty ones are left out.
 * @param room Bytes of the answer, or of its parts, and lent memory behind them; 0 without an answer.
 * @returns Exactly the bytes that the device wrote.
 * @throws {VireoError} `TIMEOUT`, `OUT_OF_MEMORY`, or why the queue broke; the signal's reason.
 */
export async function exchange(
  dma: Dma,
  queue: RequestQueue,
  parts: readonly (Uint8Array | Loan)[],
  room: number | readonly (number | Loan)[],
  options: ExchangeOptions = {},
): Promise<Answer> {
  const { trailer = 0, onFailed, ...wait } = options;
  const rooms = typeof room === "number" ? [room] : room;
  const readable = sum(parts.map((part) => part instanceof Uint8Array ? part.length : 0));
  const writable = sum(rooms.map((part) => typeof part === "number" ? part : 0));
  let region: DmaRegion;
  try {
    region = dma.alloc(readable + writable + trailer);
  } catch (error) {
    options.onReturned?.();
    onFailed?.(undefined);
    throw error;
  }
  const loans: Loan[] = [];
  let at = 0;
  const own = (length: number, direction: DmaDirection): void => {
    if (length > 0) loans.push({ region, offset: at, length, direction });
    at += length;
  };
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      region.bytes.set(part, at);
      own(part.length, "to-device");
    } else loans.push(part);
  }
  for (const part of rooms) {
    if (typeof part === "number") own(part, "from-device");
    else loans.push(part);
  }
  region.bytes.fill(NOT_WRITTEN, at, at + trailer);
  own(trailer, "both");
  let back: { readonly answer: Answer | undefined } | undefined;
  let failed = false;
  const onReturned = (usedLength: number): void => {
    const end = readable + writable;
    const written = Math.min(Math.max(0, usedLength - trailer), writable);
    const answer = usedLength < 0 ? undefined : {
      bytes: region.bytes.slice(readable, readable + written),
      trailer: region.bytes.slice(end, end + trailer),
      length: usedLength,
    };
    region.bytes.fill(0);
    region[Symbol.dispose]();
    options.onReturned?.();
    back = { answer };
    if (failed) onFailed?.(answer);
  };
  try {
    const fit = loans.length > queue.size ? merged(loans) : loans;
    await lend(queue, fit, { ...wait, onReturned });
  } catch (error) {
    failed = true;
    // The device may have returned it between the end of the wait and here.
    if (back !== undefined) onFailed?.(back.answer);
    throw error;
  }
  return back!.answer!;
}

/** The same ranges, with those that follow each other in a region as one. */
function merged(loans: readonly Loan[]): Loan[] {
  const all: Loan[] = [];
  for (const loan of loans) {
    const last = all.at(-1);
    const follows = last?.region === loan.region && last.direction === loan.direction &&
      (last.offset ?? 0) + lengthOf(last) === loan.offset;
    if (!follows) all.push(loan);
    else all[all.length - 1] = { ...last, length: lengthOf(last) + lengthOf(loan) };
  }
  return all;
}

function lengthOf({ region, offset = 0, length }: Loan): number {
  return length ?? region.bytes.length - offset;
}

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0);
}
