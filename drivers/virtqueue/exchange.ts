import type { Dma, DmaDirection, DmaRegion } from "@vireo/hal";
import type { WaitOptions } from "../wait/mod.ts";
import type { RequestOptions, RequestQueue } from "./request_queue.ts";
import { SG_WORDS, SgList } from "./virtqueue.ts";

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

const NO_TRAILER = new Uint8Array(0);

/** Value of a trailer until the device writes it. */
export const NOT_WRITTEN = 0xff;

/**
 * Sends a request of lent memory. The device owns each range until it returns the request, the queue is
 * reset or the request is dropped; `onReturned` reports that exactly once.
 *
 * @param loans The ranges that the device reads, then those that it writes.
 * @returns Number of bytes that the device wrote (virtio 1.4 §2.7.8, §2.8.10).
 * @throws {VireoError} As {@linkcode RequestQueue.submit}.
 *
 * @example
 * ```ts
 * import { lend, type RequestQueue } from "@vireo/drivers/core";
 * import type { DmaRegion } from "@vireo/hal";
 *
 * // Has the device fill a region, and frees it when the device is done with it, whatever the caller does.
 * export async function fill(queue: RequestQueue, region: DmaRegion): Promise<number> {
 *   const onReturned = (): void => region[Symbol.dispose]();
 *   return await lend(queue, [{ region, direction: "from-device" }], { deadline: 1000, onReturned });
 * }
 * ```
 */
export function lend(
  queue: RequestQueue,
  loans: readonly Loan[],
  options: LendOptions = {},
): Promise<number> {
  const chain = shareAll(loans);
  const onReturned = (usedLength: number): void => {
    unshareAll(loans);
    options.onReturned?.(usedLength);
  };
  const { signal, deadline, until } = options;
  return queue.submit(chain, { signal, deadline, until, onReturned });
}

/** Elements of most chains. */
const FEW = 8;
/** A list that is not in use. */
let spare: SgList | undefined;

function takeList(count: number): SgList {
  if (count > FEW) return new SgList(count);
  const list = spare ?? new SgList(FEW);
  spare = undefined;
  return list.clear();
}

/** Gives the device the ranges, and makes their chain. */
function shareAll(loans: readonly Loan[]): SgList {
  const chain = takeList(loans.length);
  for (const loan of loans) {
    const { region, offset = 0, direction } = loan;
    const length = lengthOf(loan);
    const address = region.share(offset, length, direction);
    if (direction === "to-device") chain.addReadable(address, length);
    else chain.addWritable(address, length);
  }
  return chain;
}

function unshareAll(loans: readonly Loan[]): void {
  for (const loan of loans) {
    loan.region.unshare(loan.offset ?? 0, lengthOf(loan), loan.direction);
  }
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
 *
 * @example
 * ```ts
 * import { exchange, type RequestQueue } from "@vireo/drivers/core";
 * import type { Dma } from "@vireo/hal";
 *
 * // Sends a command of one byte, and returns the device's answer of up to four.
 * export async function command(dma: Dma, queue: RequestQueue, byte: number): Promise<Uint8Array> {
 *   const answer = await exchange(dma, queue, [Uint8Array.of(byte)], 4, { deadline: 1000 });
 *   return answer.bytes;
 * }
 * ```
 */
export function exchange(
  dma: Dma,
  queue: RequestQueue,
  parts: readonly (Uint8Array | Loan)[],
  room: number | readonly (number | Loan)[],
  options: ExchangeOptions = {},
): Promise<Answer> {
  let memory: Exchange;
  let chain: SgList;
  try {
    memory = new Exchange(dma, parts, room, options);
    chain = memory.share(queue.size);
  } catch (error) {
    options.onReturned?.();
    options.onFailed?.(undefined);
    return Promise.reject(error);
  }
  const answer = queue.submit(chain, memory);
  // The ring has it, if nothing waits for room, and needs its list no more.
  if (queue.waiting === 0 && chain.words.length === FEW * SG_WORDS) spare = chain;
  return answer;
}

/** The memory of one exchange, which is also the options of its request. */
class Exchange implements RequestOptions<Answer> {
  readonly signal: WaitOptions["signal"];
  readonly deadline: WaitOptions["deadline"];
  readonly until: WaitOptions["until"];
  readonly #options: ExchangeOptions;
  readonly #region: DmaRegion;
  #loans: Loan[] = [];
  readonly #readable: number;
  readonly #writable: number;
  readonly #trailer: number;
  #returned = false;
  #answer: Answer | undefined;
  #failed = false;

  /** Allocates it, and copies into it what the device is to read. */
  constructor(
    dma: Dma,
    parts: readonly (Uint8Array | Loan)[],
    room: number | readonly (number | Loan)[],
    options: ExchangeOptions,
  ) {
    const { trailer = 0 } = options;
    this.signal = options.signal;
    this.deadline = options.deadline;
    this.until = options.until;
    this.#options = options;
    this.#trailer = trailer;
    let readable = 0;
    for (const part of parts) if (part instanceof Uint8Array) readable += part.length;
    let writable = 0;
    if (typeof room === "number") writable = room;
    else for (const part of room) if (typeof part === "number") writable += part;
    this.#readable = readable;
    this.#writable = writable;
    const region = this.#region = dma.alloc(readable + writable + trailer);
    if (readable > 0) region.copied?.(readable);
    let at = 0;
    for (const part of parts) {
      if (part instanceof Uint8Array) {
        region.bytes.set(part, at);
        at = this.#own(at, part.length, "to-device");
      } else this.#loans.push(part);
    }
    if (typeof room === "number") at = this.#own(at, room, "from-device");
    else {
      for (const part of room) {
        if (typeof part === "number") at = this.#own(at, part, "from-device");
        else this.#loans.push(part);
      }
    }
    if (trailer === 0) return;
    region.bytes.fill(NOT_WRITTEN, at, at + trailer);
    this.#own(at, trailer, "both");
  }

  #own(offset: number, length: number, direction: DmaDirection): number {
    if (length > 0) this.#loans.push({ region: this.#region, offset, length, direction });
    return offset + length;
  }

  /** Gives it to the device. @param most Most elements of the chain. */
  share(most: number): SgList {
    if (this.#loans.length > most) this.#loans = merged(this.#loans);
    return shareAll(this.#loans);
  }

  /** Takes the answer out of the memory, which is wiped and freed. */
  onReturned(usedLength: number): void {
    unshareAll(this.#loans);
    const region = this.#region;
    const { bytes } = region;
    if (usedLength >= 0) {
      const end = this.#readable + this.#writable;
      const trailer = this.#trailer;
      const written = Math.min(Math.max(0, usedLength - trailer), this.#writable);
      this.#answer = {
        bytes: bytes.slice(this.#readable, this.#readable + written),
        trailer: trailer === 0 ? NO_TRAILER : bytes.slice(end, end + trailer),
        length: usedLength,
      };
      region.copied?.(written + trailer);
    }
    bytes.fill(0);
    region[Symbol.dispose]();
    this.#options.onReturned?.();
    this.#returned = true;
    if (this.#failed) this.#options.onFailed?.(this.#answer);
  }

  /** The request was answered. */
  onAnswered(): Answer {
    return this.#answer!;
  }

  /** The request failed for its caller. */
  onFailed(): void {
    this.#failed = true;
    // It was never added, or the queue was reset before.
    if (this.#returned) this.#options.onFailed?.(this.#answer);
  }
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
