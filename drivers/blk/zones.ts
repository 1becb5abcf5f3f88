import {
  BLK_SECTOR_SIZE,
  BLK_ZONE_DESCRIPTOR,
  BLK_ZONE_REPORT,
  BlkRequestType,
  BlkZonedModel,
  BlkZoneState,
  BlkZoneType,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import { Condition } from "../wait/condition.ts";
import { type WaitOptions, within } from "../wait/options.ts";
import type { BlkRequestOptions } from "./requests.ts";
import type { BlkZoned } from "./zoned.ts";

/** A zone, as the device reports it (virtio 1.4 §5.2.6). */
export interface BlkZone {
  /** First sector. */
  readonly start: number;
  /** Sectors that can be written. */
  readonly capacity: number;
  /** Sector of the next write; undefined where there is none: conventional, full, read-only and offline zones. */
  readonly pointer: number | undefined;
  /** Conventional, or sequential. */
  readonly type: BlkZoneType;
  /** Says what may be done with it. */
  readonly state: BlkZoneState;
}

/** The parts of its disk that {@linkcode BlkZones} uses. */
export interface BlkZonesHost {
  /** The device. */
  readonly device: VirtioDevice;
  /** Sectors of the disk. */
  readonly sectors: number;
  /** Most data bytes of one device request. */
  readonly maxRequestBytes: number;
  /** Sends a request, which is one of the device if its data have room in one. */
  submit(
    type: number,
    sector: number,
    bytes: Uint8Array,
    options: BlkRequestOptions,
  ): Promise<Uint8Array>;
  /** Throws if the disk is read-only. */
  checkWritable(): void;
}

/** Knowledge of one zone, and whether a request is under way that others must wait for. */
interface KnownZone {
  info: BlkZone | undefined;
  /** Where the next write or append goes. */
  pointer: number;
  busy: boolean;
  readonly free: Condition;
}

const NO_OPTIONS: BlkRequestOptions = {};
const NO_DATA = new Uint8Array(0);
/** Zones of one report. */
const MAX_REPORTED = 256;
const TYPES: ReadonlySet<number> = new Set(Object.values(BlkZoneType));
const STATES: ReadonlySet<number> = new Set(Object.values(BlkZoneState));

/**
 * The zones of a zoned disk (virtio 1.4 §5.2.6), as `Blk.zones`.
 *
 * Writes to a host-managed disk go through here: those of one zone are sent one after another in the order of their
 * calls, because a device may carry out requests in any order. Batches are sent as they are.
 *
 * @example
 * ```ts
 * import type { Blk } from "@vireo/drivers/blk";
 *
 * // Adds a record to a zone, and returns its sector.
 * async function log(blk: Blk, zone: number, record: Uint8Array): Promise<number> {
 *   return await blk.zones!.append(zone, record);
 * }
 * ```
 */
export class BlkZones {
  /** Geometry and limits. */
  readonly zoned: BlkZoned;
  readonly #host: BlkZonesHost;
  readonly #known = new Map<number, KnownZone>();

  /** Wraps the zones of a disk; the disk does it. */
  constructor(host: BlkZonesHost, zoned: BlkZoned) {
    this.#host = host;
    this.zoned = zoned;
  }

  /** How many zones there are. */
  get count(): number {
    return Math.ceil(this.#host.sectors / this.zoned.zoneSectors);
  }

  /** Whether sequential zones must be written in order: a host-managed disk. */
  get ordered(): boolean {
    return this.zoned.model === BlkZonedModel.HM;
  }

  /** Most bytes of one append; 0 if there are no appends. */
  get maxAppendBytes(): number {
    const { maxAppendSectors, writeGranularity } = this.zoned;
    const most = Math.min(maxAppendSectors * BLK_SECTOR_SIZE, this.#host.maxRequestBytes);
    return most - most % writeGranularity;
  }

  /**
   * Asks for zones.
   *
   * @param sector A sector of the first one; 0 by default.
   * @param options `count` zones at most; all from there on by default.
   * @throws {RangeError} If the sector or the count is no integer of at least 0.
   * @throws {VireoError} `OUT_OF_RANGE` If the disk has no such sector, `BAD_STATUS` If the report makes no sense, or
   * as `Blk.read`.
   */
  async report(
    sector = 0,
    options: BlkRequestOptions & { readonly count?: number } = NO_OPTIONS,
  ): Promise<BlkZone[]> {
    const first = this.#index(sector);
    const { count = Infinity } = options;
    if (!(count === Infinity || Number.isInteger(count) && count >= 0)) {
      throw new RangeError(`Cannot report ${count} zones: expected an integer of at least 0`);
    }
    const call = { ...options, ...within(options) };
    const zones: BlkZone[] = [];
    const wanted = Math.min(count, this.count - first);
    const room = Math.floor(this.#host.maxRequestBytes / BLK_ZONE_DESCRIPTOR.SIZE) - 1;
    while (zones.length < wanted) {
      const most = Math.min(wanted - zones.length, MAX_REPORTED, room);
      zones.push(...await this.#reportSome(first + zones.length, most, call));
    }
    return zones;
  }

  /**
   * Opens a zone, so that it stays open until it is closed, finished, full or reset.
   *
   * @param sector First sector of the zone.
   * @throws {RangeError} If it is not the first sector of a zone.
   * @throws {VireoError} `ZONE_REFUSED` If the zone or a limit does not allow it, `OUT_OF_RANGE`, `READ_ONLY`, or as
   * `Blk.write`.
   */
  open(sector: number, options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    return this.#manage(BlkRequestType.ZONE_OPEN, sector, options);
  }

  /** Closes an open zone: the next write opens it again. @throws As {@linkcode BlkZones.open}. */
  close(sector: number, options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    return this.#manage(BlkRequestType.ZONE_CLOSE, sector, options);
  }

  /** Makes a zone full: nothing more can be written. @throws As {@linkcode BlkZones.open}. */
  finish(sector: number, options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    return this.#manage(BlkRequestType.ZONE_FINISH, sector, options);
  }

  /** Empties a zone: its data are gone. @throws As {@linkcode BlkZones.open}. */
  reset(sector: number, options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    return this.#manage(BlkRequestType.ZONE_RESET, sector, options);
  }

  /** Empties all sequential zones. @throws As {@linkcode BlkZones.open}. */
  async resetAll(options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    this.#host.checkWritable();
    this.forget();
    try {
      await this.#host.submit(BlkRequestType.ZONE_RESET_ALL, 0, NO_DATA, options);
    } finally {
      this.forget();
    }
  }

  /**
   * Appends to a zone, wherever its data end. Any number of appends may be under way; they may end in any order.
   *
   * @param sector First sector of the zone.
   * @param data A multiple of `zoned.writeGranularity` bytes, at most {@linkcode BlkZones.maxAppendBytes}.
   * @returns The sector of the first byte.
   * @throws {RangeError} If a number is out of these bounds.
   * @throws {VireoError} `UNSUPPORTED` If the disk has no appends, `OUT_OF_RANGE` If the zone has no room, or as
   * {@linkcode BlkZones.open}.
   */
  async append(
    sector: number,
    data: Uint8Array,
    options: BlkRequestOptions = NO_OPTIONS,
  ): Promise<number> {
    this.#host.checkWritable();
    const index = this.#first(sector);
    const { maxAppendSectors, writeGranularity } = this.zoned;
    if (maxAppendSectors === 0) throw this.#error("UNSUPPORTED", "Disk has no appends to zones");
    const most = this.maxAppendBytes;
    if (data.length === 0 || data.length > most || data.length % writeGranularity !== 0) {
      throw new RangeError(
        `Cannot append ${data.length} bytes: expected a multiple of ${writeGranularity}, at most ${most}`,
      );
    }
    const call = { ...options, ...within(options) };
    const zone = await this.#take(index, call);
    try {
      const info = await this.#learn(zone, index, call);
      this.#checkRoom(info, zone.pointer, data.length);
      zone.pointer += data.length / BLK_SECTOR_SIZE;
    } finally {
      leave(zone);
    }
    try {
      const answer = await this.#host.submit(BlkRequestType.ZONE_APPEND, sector, data, call);
      return this.#readAppended(zone, sector, answer);
    } catch (error) {
      zone.info = undefined;
      throw error;
    }
  }

  /** Reads whole sectors zone by zone, as no read may cross a border; the disk has checked the range. */
  async read(sector: number, bytes: Uint8Array, options: BlkRequestOptions): Promise<Uint8Array> {
    const call = { ...options, ...within(options) };
    const parts = this.#parts(sector, bytes.length).map((part) =>
      this.#host.submit(
        BlkRequestType.IN,
        part.sector,
        bytes.subarray(part.from, part.from + part.length),
        call,
      )
    );
    // The device may still write for those that did not fail.
    for (const end of await Promise.allSettled(parts)) {
      if (end.status === "rejected") throw end.reason;
    }
    return bytes;
  }

  /** Writes whole sectors zone by zone, each zone's in order; the disk has checked the range. */
  async write(sector: number, data: Uint8Array, options: BlkRequestOptions): Promise<void> {
    const call = { ...options, ...within(options) };
    for (const part of this.#parts(sector, data.length)) {
      const index = Math.floor(part.sector / this.zoned.zoneSectors);
      const zone = await this.#take(index, call);
      try {
        await this.#writePart(
          zone,
          index,
          part.sector,
          data.subarray(part.from, part.from + part.length),
          call,
        );
      } catch (error) {
        zone.info = undefined;
        throw error;
      } finally {
        leave(zone);
      }
    }
  }

  /** Forgets where zones are written: something else has changed them, or the device was reset. */
  forget(): void {
    for (const zone of this.#known.values()) zone.info = undefined;
  }

  async #writePart(
    zone: KnownZone,
    index: number,
    sector: number,
    data: Uint8Array,
    call: BlkRequestOptions,
  ): Promise<void> {
    // The device may be reset, or an append fail, before this goes on: then the others ask again.
    const info = await this.#learn(zone, index, call);
    const { writeGranularity: unit } = this.zoned;
    const sequential = info.type !== BlkZoneType.CONV;
    if (sequential) {
      // drv.blk.operation.23
      if (sector * BLK_SECTOR_SIZE % unit !== 0 || data.length % unit !== 0) {
        throw new RangeError(
          `Cannot write ${data.length} bytes at sector ${sector}: expected multiples of ${unit} bytes in this zone`,
        );
      }
      this.#checkRoom(info, zone.pointer, data.length);
    }
    const { maxRequestBytes } = this.#host;
    const piece = Math.max(unit, maxRequestBytes - maxRequestBytes % unit);
    for (let from = 0; from < data.length; from += piece) {
      const part = data.subarray(from, from + piece);
      const at = sector + from / BLK_SECTOR_SIZE;
      await this.#host.submit(BlkRequestType.OUT, at, part, call);
      if (sequential) zone.pointer += part.length / BLK_SECTOR_SIZE;
    }
  }

  /** Cuts a range at the borders of zones. */
  #parts(
    sector: number,
    length: number,
  ): { readonly sector: number; readonly from: number; readonly length: number }[] {
    const { zoneSectors } = this.zoned;
    const parts: { sector: number; from: number; length: number }[] = [];
    for (let from = 0; from < length;) {
      const at = sector + from / BLK_SECTOR_SIZE;
      const left = (zoneSectors - at % zoneSectors) * BLK_SECTOR_SIZE;
      const size = Math.min(length - from, left);
      parts.push({ sector: at, from, length: size });
      from += size;
    }
    return parts;
  }

  async #manage(type: number, sector: number, options: BlkRequestOptions): Promise<void> {
    this.#host.checkWritable();
    const index = this.#first(sector);
    const call = { ...options, ...within(options) };
    const zone = await this.#take(index, call);
    try {
      await this.#host.submit(type, sector, NO_DATA, call);
    } finally {
      zone.info = undefined;
      leave(zone);
    }
  }

  /** Waits until no request that must be alone is under way in a zone, and keeps others from it. */
  #take(index: number, call: WaitOptions): Promise<KnownZone> {
    let zone = this.#known.get(index);
    if (zone === undefined) {
      zone = { info: undefined, pointer: 0, busy: false, free: new Condition() };
      this.#known.set(index, zone);
    }
    const known = zone;
    return known.free.until("the request before this one in the zone", () => {
      if (known.busy) return undefined;
      known.busy = true;
      return known;
    }, call);
  }

  /** Asks where a zone is written, if that is not known. */
  async #learn(zone: KnownZone, index: number, call: BlkRequestOptions): Promise<BlkZone> {
    if (zone.info !== undefined) return zone.info;
    const [found] = await this.#reportSome(index, 1, call);
    const info = found!;
    const { start, capacity, pointer, state } = info;
    zone.info = info;
    zone.pointer = state === BlkZoneState.FULL ? start + capacity : pointer ?? start;
    return info;
  }

  /** @throws {VireoError} `OUT_OF_RANGE` If so many bytes have no room behind the write pointer (drv.blk.operation.23). */
  #checkRoom({ start, capacity }: BlkZone, pointer: number, bytes: number): void {
    const end = start + capacity;
    const sectors = bytes / BLK_SECTOR_SIZE;
    if (pointer + sectors <= end) return;
    throw this.#error(
      "OUT_OF_RANGE",
      `Cannot write ${sectors} sectors to the zone at sector ${start}: it has no room for them`,
      { seen: pointer + sectors, expected: `at most ${end}` },
    );
  }

  #readAppended(zone: KnownZone, start: number, answer: Uint8Array): number {
    const view = new DataView(answer.buffer, answer.byteOffset);
    const sector = readU64(view, 0);
    const { zoneSectors } = this.zoned;
    if (sector >= start && sector < start + (zone.info?.capacity ?? zoneSectors)) return sector;
    throw this.#error("BAD_STATUS", "Device appended outside of the zone", {
      seen: sector,
      expected: `${start} to ${start + zoneSectors - 1}`,
    });
  }

  /** One report: at least one zone. */
  async #reportSome(first: number, most: number, options: BlkRequestOptions): Promise<BlkZone[]> {
    const { zoneSectors } = this.zoned;
    const bytes = new Uint8Array(BLK_ZONE_REPORT.SIZE + most * BLK_ZONE_DESCRIPTOR.SIZE);
    await this.#host.submit(BlkRequestType.ZONE_REPORT, first * zoneSectors, bytes, options);
    const view = new DataView(bytes.buffer);
    const count = readU64(view, BLK_ZONE_REPORT.nr_zones.offset);
    if (count < 1 || count > most) {
      throw this.#error(
        "BAD_STATUS",
        "Device reported another number of zones than it was asked for",
        {
          seen: count,
          expected: `1 to ${most}`,
        },
      );
    }
    return Array.from({ length: count }, (_, i) => {
      const at = BLK_ZONE_REPORT.SIZE + i * BLK_ZONE_DESCRIPTOR.SIZE;
      return this.#readZone(view, at, (first + i) * zoneSectors);
    });
  }

  #readZone(view: DataView, at: number, expected: number): BlkZone {
    const { z_cap, z_start, z_wp, z_type, z_state } = BLK_ZONE_DESCRIPTOR;
    const start = readU64(view, at + z_start.offset);
    const capacity = readU64(view, at + z_cap.offset);
    const wp = readU64(view, at + z_wp.offset);
    const type = view.getUint8(at + z_type.offset);
    const state = view.getUint8(at + z_state.offset);
    const has = type !== BlkZoneType.CONV && state !== BlkZoneState.FULL &&
      state !== BlkZoneState.RDONLY && state !== BlkZoneState.OFFLINE;
    const check = (name: string, seen: number, fits: boolean, wanted: string): void => {
      if (fits) return;
      throw this.#error("BAD_STATUS", `Device reported a zone whose ${name} cannot be`, {
        seen,
        expected: wanted,
      });
    };
    check("start", start, start === expected, `${expected}`);
    check("type", type, TYPES.has(type), "1, 2 or 3");
    check("state", state, STATES.has(state), "0 to 4, or 13 to 15");
    const { zoneSectors } = this.zoned;
    check("capacity", capacity, capacity <= zoneSectors, `at most ${zoneSectors}`);
    const end = start + capacity;
    check("write pointer", wp, !has || wp >= start && wp <= end, `${start} to ${end}`);
    return {
      start,
      capacity,
      pointer: has ? wp : undefined,
      type: type as BlkZoneType,
      state: state as BlkZoneState,
    };
  }

  /** The zone of a sector, by index. */
  #index(sector: number): number {
    if (!Number.isSafeInteger(sector) || sector < 0) {
      throw new RangeError(`Cannot use sector ${sector}: expected an integer of at least 0`);
    }
    if (sector < this.#host.sectors) return Math.floor(sector / this.zoned.zoneSectors);
    throw this.#error("OUT_OF_RANGE", "Cannot reach past the end of the disk", {
      seen: sector,
      expected: `below ${this.#host.sectors}`,
    });
  }

  /** The zone that begins at a sector, by index. */
  #first(sector: number): number {
    const index = this.#index(sector);
    const { zoneSectors } = this.zoned;
    if (sector % zoneSectors === 0) return index;
    throw new RangeError(
      `Cannot use sector ${sector} as a zone: expected a multiple of ${zoneSectors}`,
    );
  }

  #error(
    code: "BAD_STATUS" | "OUT_OF_RANGE" | "UNSUPPORTED",
    what: string,
    details: { readonly seen?: number; readonly expected?: string } = {},
  ): VireoError {
    return new VireoError(code, what, { device: this.#host.device.name, base: 10, ...details });
  }
}

/** Lets the next request into a zone. */
function leave(zone: KnownZone): void {
  zone.busy = false;
  zone.free.notify();
}

/** A number of 64 bits; one that a number cannot hold is too large for any disk. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
