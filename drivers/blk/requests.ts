import {
  BLK_RANGE,
  BLK_RANGE_UNMAP,
  BLK_SECTOR_SIZE,
  blkRequestName,
  BlkStatus,
  type DmaRegion,
  nameIn,
  setU64,
  VireoError,
} from "@vireo/hal";
import type { Linked } from "../wait/row.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { Limit } from "../wait/limit.ts";
import type { BlkRangeLimits } from "./config.ts";

/**
 * How long a request may take, as long as it needs by default, and where it goes. The device may still
 * carry out one that its caller gave up.
 */
export interface BlkRequestOptions extends WaitOptions {
  /** Index of the request queue; round robin by default. */
  readonly queue?: number | undefined;
}

/** A run of sectors. */
export interface BlkRange {
  /** First sector. */
  readonly sector: number;
  /** Number of sectors. */
  readonly sectors: number;
}

/** A read into memory that the caller lends to the device. */
export interface BlkTarget extends BlkRequestOptions {
  /** First sector. */
  readonly sector: number;
  /** Bytes to read, whole blocks; by default as many as the region has from `at` on. */
  readonly length?: number;
  /** First byte in the region; 0 by default. */
  readonly at?: number;
  /**
   * Called exactly once when the memory is the caller's again: before the promise settles, or later if the
   * read was given up while the device had it. What it throws is reported as uncaught.
   */
  readonly onReturned?: () => void;
}

/** Memory of a caller's while the device may write to it. */
export class LentMemory {
  readonly #region: DmaRegion;
  readonly #at: number;
  readonly #onReturned: (() => void) | undefined;
  /** Parts that the device has. */
  #parts = 0;
  #settled = false;

  /** Lends nothing yet. */
  constructor(region: DmaRegion, at: number, onReturned: (() => void) | undefined) {
    this.#region = region;
    this.#at = at;
    this.#onReturned = onReturned;
  }

  /** Gives the device a part; returns its address. */
  give(offset: number, length: number): number {
    this.#parts++;
    return this.#region.share(this.#at + offset, length, "from-device");
  }

  /** Takes a part back. */
  take(offset: number, length: number): void {
    this.#region.unshare(this.#at + offset, length, "from-device");
    this.#parts--;
    this.#check();
  }

  /** The request is over for its caller: no more parts are given. */
  settled(): void {
    this.#settled = true;
    this.#check();
  }

  #check(): void {
    if (!this.#settled || this.#parts > 0) return;
    try {
      this.#onReturned?.();
    } catch (error) {
      reportError(error);
    }
  }
}

/** A request on its way; recycled, so that one costs no more than its promise. */
export class BlkRequest implements Linked<BlkRequest> {
  type = 0;
  sector = 0;
  /** The caller's data, or where it wants them. */
  bytes: Uint8Array = EMPTY;
  /** The memory that the device writes instead of a slot's. */
  lent: LentMemory | undefined = undefined;
  /** Data bytes already handed to the device. */
  issued = 0;
  /** Whether nothing is left to hand to the device. */
  allIssued = false;
  /** Slots that the device has. */
  inFlight = 0;
  /** The first failure of a part. */
  error: Error | undefined = undefined;
  resolve: (value: Uint8Array | Promise<never>) => void = ignore;
  /** Its deadline and signal; made when the first request of this object has one. */
  limit: Limit<BlkRequest> | undefined = undefined;
  /** Whether it was not settled yet. */
  pending = false;
  /** Neighbours in the row of requests that have parts left to hand over. */
  next: BlkRequest | undefined = undefined;
  previous: BlkRequest | undefined = undefined;
  inRow = false;
}

const EMPTY = new Uint8Array(0);
function ignore(): void {}

/** Where a request went, for its error. */
export interface BlkErrorContext {
  readonly device: string;
  readonly queue: number;
  /** Whether it is a zoned disk, which has statuses of its own. */
  readonly zoned: boolean;
}

/**
 * The error of a status byte that is not OK (virtio 1.4 §5.2.6).
 *
 * @param status The byte; 0xff was never written by the device.
 * @param diagnose Says what the machine knows of it.
 */
export function statusError(
  where: BlkErrorContext,
  type: number,
  sector: number,
  status: number,
  diagnose: () => VireoError | undefined,
): VireoError {
  const what = `${blkRequestName(type)} request at sector ${sector}`;
  const details = { device: where.device, queue: where.queue, seen: status, base: 16 } as const;
  if (status === BlkStatus.IOERR) {
    const cause = diagnose();
    // Mistakes of the driver before have nothing to do with it.
    const because = cause?.code === "HOST_ERROR" ? { cause } : {};
    return new VireoError("IO_ERROR", `Device reports an I/O error for ${what}`, {
      ...details,
      ...because,
    });
  }
  if (status === BlkStatus.UNSUPP) {
    return new VireoError("UNSUPPORTED", `Device does not support ${what}`, details);
  }
  const name = nameIn(BlkStatus, status);
  if (where.zoned && name !== undefined) {
    return new VireoError("ZONE_REFUSED", `Zone does not take ${what}`, {
      ...details,
      seen: name,
      expected: "OK",
    });
  }
  return new VireoError("BAD_STATUS", `Device left no known status for ${what}`, {
    ...details,
    expected: where.zoned ? "0 to 6" : "0, 1 or 2",
  });
}

/** The error of a used length that does not cover what a device claims to have read. */
export function lengthError(
  where: BlkErrorContext,
  type: number,
  sector: number,
  seen: number,
  expected: number,
): VireoError {
  return new VireoError(
    "BAD_LENGTH",
    `Device wrote too little for ${blkRequestName(type)} request at sector ${sector}`,
    { device: where.device, queue: where.queue, seen, expected },
  );
}

/**
 * Checks that ranges lie inside the disk.
 *
 * @throws {RangeError} If a number is negative, not an integer, or not aligned to blocks.
 * @throws {VireoError} `OUT_OF_RANGE` If a range ends past the capacity.
 */
export function checkRange(
  device: string,
  sector: number,
  sectors: number,
  capacity: number,
  align: number,
): void {
  if (!Number.isSafeInteger(sector) || sector < 0) {
    throw new RangeError(`Cannot use sector ${sector}: expected an integer of at least 0`);
  }
  if (!Number.isSafeInteger(sectors) || sectors < 0) {
    throw new RangeError(
      `Cannot transfer ${
        sectors * BLK_SECTOR_SIZE
      } bytes: expected a multiple of ${BLK_SECTOR_SIZE}`,
    );
  }
  if (sector % align !== 0 || sectors % align !== 0) {
    throw new RangeError(
      `Cannot transfer ${
        sectors * BLK_SECTOR_SIZE
      } bytes at sector ${sector}: expected whole blocks of ` +
        `${align * BLK_SECTOR_SIZE} bytes`,
    );
  }
  if (sector + sectors > capacity) {
    throw new VireoError("OUT_OF_RANGE", "Cannot reach past the end of the disk", {
      device,
      seen: sector + sectors,
      expected: `at most ${capacity} sectors`,
    });
  }
}

/**
 * Packs ranges into payloads, cut by the device's bounds (virtio 1.4 §5.2.6); lazily, because a
 * device that allows one sector a range makes very many of them.
 *
 * @param limits The bounds of the request type.
 * @param align Ranges are cut at multiples of this many sectors.
 * @param maxBytes Most bytes of one payload.
 * @returns One payload a request.
 */
export function* packRanges(
  ranges: readonly BlkRange[],
  limits: BlkRangeLimits,
  align: number,
  maxBytes: number,
  unmap: boolean,
): Generator<Uint8Array> {
  const most = Math.max(1, Math.min(limits.maxSegments, Math.floor(maxBytes / BLK_RANGE.SIZE)));
  const step = Math.max(align, Math.floor(limits.maxSectors / align) * align);
  const payload = new DataView(new ArrayBuffer(most * BLK_RANGE.SIZE));
  let used = 0;
  for (const { sector, sectors } of ranges) {
    for (let done = 0; done < sectors; done += step) {
      const at = used * BLK_RANGE.SIZE;
      const first = sector + done;
      setU64(payload, at + BLK_RANGE.sector.offset, first);
      payload.setUint32(at + BLK_RANGE.num_sectors.offset, Math.min(step, sectors - done), true);
      payload.setUint32(at + BLK_RANGE.flags.offset, unmap ? BLK_RANGE_UNMAP : 0, true);
      if (++used < most) continue;
      yield new Uint8Array(payload.buffer.slice(0));
      used = 0;
    }
  }
  if (used > 0) yield new Uint8Array(payload.buffer.slice(0, used * BLK_RANGE.SIZE));
}

/** Range requests of one call that are in flight at once. */
const WINDOW = 16;

/** Sends payloads, a few at a time; the first failure ends it. */
export async function sendAll(
  payloads: Iterable<Uint8Array>,
  send: (payload: Uint8Array) => Promise<unknown>,
): Promise<void> {
  const inFlight = new Set<Promise<unknown>>();
  for (const payload of payloads) {
    const request = send(payload);
    inFlight.add(request);
    request.then(() => inFlight.delete(request), () => {});
    if (inFlight.size >= WINDOW) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
}
