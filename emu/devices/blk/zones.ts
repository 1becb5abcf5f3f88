import {
  BLK_SECTOR_SIZE,
  BLK_ZONE_DESCRIPTOR,
  BLK_ZONE_REPORT,
  BLK_ZONED,
  BlkRequestType as T,
  BlkStatus as S,
  BlkZonedModel,
  BlkZoneState as Z,
  BlkZoneType,
  setU64,
} from "@vireo/hal";
import type { Chain } from "../../device.ts";
import type { WorkMeter } from "../../work.ts";

/** How an emulated disk is zoned (virtio 1.4 §5.2.4). The zones of a disk that begins its life are empty. */
export interface BlkZonedOptions {
  /**
   * Zones that must be written in order (`host-managed`, the default), should be (`host-aware`), or are the disk's own
   * affair (`drive-managed`).
   */
  readonly model?: "host-managed" | "host-aware" | "drive-managed";
  /** Sectors of a zone; the disk has whole ones. */
  readonly zoneSectors: number;
  /** Sectors of a host-managed zone that hold data; all by default. */
  readonly zoneCapacity?: number;
  /** How many zones, from the first one, are conventional: written in any order. 0 by default. */
  readonly conventional?: number;
  /** Most zones that are open at a time; 0, the default, is any number. */
  readonly maxOpen?: number;
  /** Most zones that are open or closed at a time; 0, the default, is any number. */
  readonly maxActive?: number;
  /** Most sectors of one append; those of a zone by default, and 0 has none. */
  readonly maxAppendSectors?: number;
  /** Bytes that writes to sequential zones are multiples of; the logical block by default. */
  readonly writeGranularity?: number;
}

/** A zone of an emulated disk, as reports have it; sectors of 512 bytes. */
export interface EmulatedZone {
  /** First sector. */
  readonly start: number;
  /** Sectors that hold data. */
  readonly capacity: number;
  /** Where the next write must begin. */
  readonly pointer: number;
  /** A value of `BlkZoneType`. */
  readonly type: number;
  /** A value of `BlkZoneState`. */
  readonly state: number;
}

/** The disk that zones divide. */
interface ZonedDisk {
  /** Its size in sectors. */
  readonly sectors: number;
  /** Its logical block in bytes. */
  readonly blockSize: number;
  /** Most sectors of one request. */
  readonly mostAppended: number;
}

/** Most zones of a disk. */
const MAX_ZONES = 1 << 16;
const MODELS = {
  "host-managed": BlkZonedModel.HM,
  "host-aware": BlkZonedModel.HA,
  "drive-managed": BlkZonedModel.NONE,
} as const;

const isOpen = (state: number): boolean => state === Z.IOPEN || state === Z.EOPEN;
const isActive = (state: number): boolean => isOpen(state) || state === Z.CLOSED;

/**
 * The zones of an emulated disk: types, states, write pointers and what is left of the limits (virtio 1.4 §5.2.6). It
 * answers requests with statuses, and has no data.
 */
export class EmulatedZones {
  /** A value of `BlkZonedModel`. */
  readonly model: number;
  /** Whether the limits hold: a driver that knows of no zones is not held to them. */
  limited = true;
  /** Sectors of a zone. */
  readonly zoneSectors: number;
  /** How many zones there are. */
  readonly count: number;
  /** Most sectors of one append. */
  readonly maxAppendSectors: number;
  readonly #capacity: number;
  readonly #granularity: number;
  readonly #maxOpen: number;
  readonly #maxActive: number;
  readonly #types: Uint8Array;
  readonly #states: Uint8Array;
  readonly #pointers: Float64Array;
  /** Where data ends; the pointer of a zone that was finished is past it. */
  readonly #ends: Float64Array;
  /** Zones that writes have opened, the oldest first. */
  readonly #implicit = new Set<number>();
  #open = 0;
  #active = 0;

  /**
   * Makes the zones of a disk.
   *
   * @throws {RangeError} If a number is outside what the specification allows.
   */
  constructor(options: BlkZonedOptions, { sectors, blockSize, mostAppended }: ZonedDisk) {
    const { zoneSectors, conventional = 0, maxOpen = 0, maxActive = 0 } = options;
    const { writeGranularity = blockSize, zoneCapacity = zoneSectors } = options;
    const largest = Math.min(zoneSectors, mostAppended);
    const { maxAppendSectors = largest } = options;
    const whole = (name: string, value: number, least: number, most: number, unit = 1): void => {
      if (Number.isInteger(value / unit) && value >= least && value <= most) return;
      const kind = unit === 1 ? "an integer from" : `a multiple of ${unit},`;
      throw new RangeError(
        `Cannot use ${value} as ${name} of a zoned disk: expected ${kind} ${least} to ${most}`,
      );
    };
    whole("writeGranularity", writeGranularity, blockSize, 2 ** 31, blockSize);
    const unit = writeGranularity / BLK_SECTOR_SIZE;
    whole("zoneSectors", zoneSectors, unit, 2 ** 31, unit);
    const managed = (options.model ?? "host-managed") === "host-managed";
    whole("zoneCapacity", zoneCapacity, managed ? unit : zoneSectors, zoneSectors, unit);
    const count = sectors / zoneSectors;
    whole("number of zones", count, 1, MAX_ZONES);
    whole("conventional", conventional, 0, count);
    whole("maxActive", maxActive, 0, count);
    whole("maxOpen", maxOpen, 0, maxActive === 0 ? count : maxActive);
    whole("maxAppendSectors", maxAppendSectors, 0, largest);
    this.model = MODELS[options.model ?? "host-managed"];
    this.zoneSectors = zoneSectors;
    this.count = count;
    this.maxAppendSectors = maxAppendSectors;
    this.#capacity = zoneCapacity;
    this.#granularity = writeGranularity;
    this.#maxOpen = maxOpen;
    this.#maxActive = maxActive;
    const sequential = this.model === BlkZonedModel.HA ? BlkZoneType.SWP : BlkZoneType.SWR;
    this.#types = new Uint8Array(count).fill(sequential);
    this.#types.fill(BlkZoneType.CONV, 0, conventional);
    this.#states = new Uint8Array(count).fill(Z.EMPTY).fill(Z.NOT_WP, 0, conventional);
    this.#pointers = Float64Array.from({ length: count }, (_, zone) => zone * zoneSectors);
    this.#ends = this.#pointers.slice();
  }

  /** Writes `struct virtio_blk_zoned_characteristics`. */
  fillConfig(view: DataView, at: number): void {
    const { zone_sectors, max_open_zones, max_active_zones } = BLK_ZONED;
    view.setUint8(at + BLK_ZONED.model.offset, this.model);
    // dev.blk.init.10 to .15 are about the other two models.
    if (this.model === BlkZonedModel.NONE) return;
    view.setUint32(at + zone_sectors.offset, this.zoneSectors, true);
    view.setUint32(at + max_open_zones.offset, this.#maxOpen, true);
    view.setUint32(at + max_active_zones.offset, this.#maxActive, true);
    view.setUint32(at + BLK_ZONED.max_append_sectors.offset, this.maxAppendSectors, true);
    view.setUint32(at + BLK_ZONED.write_granularity.offset, this.#granularity, true);
  }

  /** Zones that are open now. */
  get open(): number {
    return this.#open;
  }

  /** Zones that are open or closed now. */
  get active(): number {
    return this.#active;
  }

  /** The zone of a sector, by index; the disk has the sector. */
  indexOf(sector: number): number {
    return Math.floor(sector / this.zoneSectors);
  }

  /** A zone, by index. */
  zone(index: number): EmulatedZone {
    return {
      start: index * this.zoneSectors,
      capacity: this.#types[index] === BlkZoneType.CONV ? this.zoneSectors : this.#capacity,
      pointer: this.#pointers[index]!,
      type: this.#types[index]!,
      state: this.#states[index]!,
    };
  }

  /** Makes a zone read-only or takes it away, as a disk that fails does (virtio 1.4 §5.2.6). */
  fail(index: number, state: "read-only" | "offline"): void {
    if (!(index >= 0 && index < this.count) || this.#types[index] === BlkZoneType.CONV) {
      throw new RangeError(`Cannot fail zone ${index}: it must be a sequential one`);
    }
    if (this.#states[index] !== Z.OFFLINE) {
      this.#set(index, state === "offline" ? Z.OFFLINE : Z.RDONLY);
    }
  }

  /** Serves OPEN, CLOSE, FINISH, RESET and RESET_ALL: a status. */
  manage(type: number, sector: number): number {
    if (type === T.ZONE_RESET_ALL) {
      for (let zone = 0; zone < this.count; zone++) {
        if (isActive(this.#states[zone]!) || this.#states[zone] === Z.FULL) this.#empty(zone);
      }
      return S.OK;
    }
    const zone = sector / this.zoneSectors;
    // dev.blk.operation.14
    if (!Number.isInteger(zone) || zone >= this.count || this.#types[zone] === BlkZoneType.CONV) {
      return S.ZONE_INVALID_CMD;
    }
    const state = this.#states[zone]!;
    if (state === Z.RDONLY || state === Z.OFFLINE) return S.ZONE_INVALID_CMD;
    switch (type) {
      case T.ZONE_OPEN:
        if (state === Z.FULL) return S.ZONE_INVALID_CMD;
        return this.#enter(zone, Z.EOPEN);
      case T.ZONE_CLOSE:
        if (!isActive(state)) return S.ZONE_INVALID_CMD;
        this.#set(zone, this.#pointers[zone] === sector ? Z.EMPTY : Z.CLOSED);
        return S.OK;
      case T.ZONE_FINISH:
        // The lists of §5.2.6 leave out empty and closed zones; the ZBD standards finish them too, and a driver cannot
        // tell a closed zone from an open one, which the device closes as it likes.
        this.#set(zone, Z.FULL);
        return S.OK;
      default:
        this.#empty(zone);
        return S.OK;
    }
  }

  /**
   * The sectors that read as zeroes after a reset that was served, and have data: reads tell what was written by the write
   * pointer, but for zones that are written in any order.
   */
  stale(
    type: number,
    sector: number,
  ): { readonly start: number; readonly sectors: number } | undefined {
    if (this.model !== BlkZonedModel.HA) return undefined;
    if (type === T.ZONE_RESET) return { start: sector, sectors: this.zoneSectors };
    if (type !== T.ZONE_RESET_ALL) return undefined;
    const conventional = this.#types.filter((kind) => kind === BlkZoneType.CONV).length;
    const start = conventional * this.zoneSectors;
    return { start, sectors: this.count * this.zoneSectors - start };
  }

  /** Serves REPORT from the zone of a sector on, as far as the chain has room: a status. */
  report(chain: Chain, sector: number, work: WorkMeter): number {
    const room = chain.writableLength - 1 - BLK_ZONE_REPORT.SIZE;
    if (chain.readableLeft > 0 || room < 0 || sector >= this.count * this.zoneSectors) {
      return S.ZONE_INVALID_CMD;
    }
    const first = this.indexOf(sector);
    const count = Math.min(this.count - first, Math.floor(room / BLK_ZONE_DESCRIPTOR.SIZE));
    const { z_cap, z_start, z_wp, z_type, z_state } = BLK_ZONE_DESCRIPTOR;
    const bytes = new Uint8Array(BLK_ZONE_DESCRIPTOR.SIZE);
    const view = new DataView(bytes.buffer);
    work.spend(count);
    chain.writeU32(count);
    chain.writeZeroes(BLK_ZONE_REPORT.SIZE - 4);
    for (let i = first; i < first + count; i++) {
      const zone = this.zone(i);
      setU64(view, z_cap.offset, zone.capacity);
      setU64(view, z_start.offset, zone.start);
      setU64(view, z_wp.offset, zone.pointer);
      view.setUint8(z_type.offset, zone.type);
      view.setUint8(z_state.offset, zone.state);
      chain.write(bytes);
    }
    return S.OK;
  }

  /** Whether a range has a sector in a zone that must be written in order. */
  requiresOrder(sector: number, sectors: number): boolean {
    return this.#some(sector, sectors, (zone) => this.#types[zone] === BlkZoneType.SWR);
  }

  /** Asks for a read: a status. */
  read(sector: number, sectors: number): number {
    // dev.blk.operation.27 and .30
    const wrong = this.#crosses(sector, sectors) ||
      this.#some(sector, sectors, (zone) => this.#states[zone] === Z.OFFLINE);
    return wrong ? S.ZONE_INVALID_CMD : S.OK;
  }

  /** Sectors of a read, from its first one, that hold data: the others were never written (dev.blk.operation.31). */
  written(sector: number, sectors: number): number {
    const zone = this.indexOf(sector);
    if (sectors === 0 || this.#types[zone] !== BlkZoneType.SWR) return sectors;
    return Math.max(0, Math.min(sectors, this.#ends[zone]! - sector));
  }

  /**
   * Asks for a write, and moves the write pointer.
   *
   * @returns A status; with `OK` the data must be written.
   */
  write(sector: number, sectors: number): number {
    if (sectors === 0) return S.OK;
    const wrong = this.#crosses(sector, sectors) || this.#some(sector, sectors, (zone) => {
      const state = this.#states[zone];
      return state === Z.RDONLY || state === Z.OFFLINE;
    });
    if (wrong) return S.ZONE_INVALID_CMD;
    const zone = this.indexOf(sector);
    if (this.#types[zone] !== BlkZoneType.SWR) return this.#prefer(sector, sector + sectors);
    if (this.#states[zone] === Z.FULL) return S.ZONE_INVALID_CMD;
    const bytes = sectors * BLK_SECTOR_SIZE;
    if (sector !== this.#pointers[zone] || bytes % this.#granularity !== 0) {
      return S.ZONE_UNALIGNED_WP;
    }
    return this.#advance(zone, sectors);
  }

  /**
   * Asks for an append to the zone that begins at a sector, and moves the write pointer.
   *
   * @returns A status, and with `OK` where the data go.
   */
  append(start: number, sectors: number): { readonly status: number; readonly sector: number } {
    const zone = start / this.zoneSectors;
    const fails = (status: number) => ({ status, sector: 0 });
    if (sectors > this.maxAppendSectors) {
      return fails(this.maxAppendSectors === 0 ? S.UNSUPP : S.ZONE_INVALID_CMD);
    }
    // dev.blk.operation.15 and .22; what is no zone has no type.
    if (this.#types[zone] !== BlkZoneType.SWR) return fails(S.ZONE_INVALID_CMD);
    const sector = this.#pointers[zone]!;
    const state = this.#states[zone]!;
    const writable = isActive(state) || state === Z.EMPTY;
    if (!writable) return fails(S.ZONE_INVALID_CMD);
    if (sectors * BLK_SECTOR_SIZE % this.#granularity !== 0) return fails(S.ZONE_UNALIGNED_WP);
    const status = sectors === 0 ? S.OK : this.#advance(zone, sectors);
    return { status, sector };
  }

  /** Asks to erase whole zones as ZONE_RESET does (dev.blk.operation.35): a status, and nothing changes without OK. */
  erasable(sector: number, sectors: number): number {
    const wrong = this.#some(sector, sectors, (zone) => {
      const state = this.#states[zone];
      return state === Z.NOT_WP || state === Z.RDONLY || state === Z.OFFLINE;
    });
    return wrong ? S.ZONE_INVALID_CMD : S.OK;
  }

  /** Empties the zones of a range. */
  erase(sector: number, sectors: number): void {
    this.#some(sector, sectors, (zone) => (this.#empty(zone), false));
  }

  /** The states as plain data. */
  snapshot(): unknown {
    return {
      states: [...this.#states],
      pointers: [...this.#pointers],
      ends: [...this.#ends],
      implicit: [...this.#implicit],
    };
  }

  /** Takes the states back. @throws {RangeError} If they are of another number of zones. */
  restore(state: unknown): void {
    const { states, pointers, ends, implicit } = state as {
      readonly [name in "states" | "pointers" | "ends" | "implicit"]: readonly number[];
    };
    if (states.length !== this.count) {
      throw new RangeError(
        `Cannot restore ${states.length} zones: the disk has ${this.count}`,
      );
    }
    this.#states.set(states);
    this.#pointers.set(pointers);
    this.#ends.set(ends);
    this.#implicit.clear();
    for (const zone of implicit) this.#implicit.add(zone);
    this.#open = states.filter(isOpen).length;
    this.#active = states.filter(isActive).length;
  }

  /** Asks a test about the zones of a range, until it holds. */
  #some(sector: number, sectors: number, test: (zone: number) => boolean): boolean {
    const end = sector + sectors;
    for (let zone = this.indexOf(sector); zone * this.zoneSectors < end; zone++) {
      if (test(zone)) return true;
    }
    return false;
  }

  /** Whether a range is in several zones, one of which must be written in order. */
  #crosses(sector: number, sectors: number): boolean {
    const across = this.indexOf(sector + sectors - 1) !== this.indexOf(sector);
    return across && this.requiresOrder(sector, sectors);
  }

  #empty(zone: number): void {
    this.#set(zone, Z.EMPTY);
    this.#pointers[zone] = this.#ends[zone] = zone * this.zoneSectors;
  }

  /** Moves a write pointer over what a request writes: a status. */
  #advance(zone: number, sectors: number): number {
    const pointer = this.#pointers[zone]!;
    const limit = zone * this.zoneSectors + this.#capacity;
    // dev.blk.operation.23
    if (pointer + sectors > limit) return S.ZONE_INVALID_CMD;
    const status = isOpen(this.#states[zone]!) ? S.OK : this.#enter(zone, Z.IOPEN);
    if (status !== S.OK) return status;
    this.#pointers[zone] = this.#ends[zone] = pointer + sectors;
    if (pointer + sectors === limit) this.#set(zone, Z.FULL);
    return S.OK;
  }

  /** A write to zones that prefer order and take any, or have no order: a status. */
  #prefer(sector: number, end: number): number {
    for (let zone = this.indexOf(sector); zone * this.zoneSectors < end; zone++) {
      const state = this.#states[zone]!;
      if (state === Z.NOT_WP || state === Z.FULL) continue;
      const status = isOpen(state) ? S.OK : this.#enter(zone, Z.IOPEN);
      if (status !== S.OK) return status;
      const limit = (zone + 1) * this.zoneSectors;
      this.#pointers[zone] = Math.max(this.#pointers[zone]!, Math.min(end, limit));
      if (this.#pointers[zone] === limit) this.#set(zone, Z.FULL);
    }
    return S.OK;
  }

  /** Opens a zone, if the limits leave room for it or one that a write has opened can be closed: a status. */
  #enter(zone: number, state: number): number {
    const now = this.#states[zone]!;
    // Both limits: ZONE_ACTIVE_RESOURCE (virtio 1.4 §5.2.6).
    const { limited } = this;
    if (limited && !isActive(now) && this.#maxActive > 0 && this.#active >= this.#maxActive) {
      return S.ZONE_ACTIVE_RESOURCE;
    }
    if (limited && !isOpen(now) && this.#maxOpen > 0 && this.#open >= this.#maxOpen) {
      const [oldest] = this.#implicit;
      if (oldest === undefined) return S.ZONE_OPEN_RESOURCE;
      this.#set(oldest, Z.CLOSED);
    }
    this.#set(zone, state);
    return S.OK;
  }

  #set(zone: number, state: number): void {
    const before = this.#states[zone]!;
    this.#open += Number(isOpen(state)) - Number(isOpen(before));
    this.#active += Number(isActive(state)) - Number(isActive(before));
    this.#states[zone] = state;
    if (state === Z.IOPEN) this.#implicit.add(zone);
    else this.#implicit.delete(zone);
  }
}
