import {
  BLK_APPEND_SECTOR_SIZE,
  BLK_CONFIG,
  BLK_ID_SIZE,
  BLK_LIFETIME,
  BLK_REQ,
  BLK_SECTOR_SIZE,
  BLK_ZONED_OFFSET,
  BlkFeature,
  BlkRequestType,
  BlkStatus,
  BlkZonedModel,
  DeviceId,
  type FeatureNames,
  FeatureSet,
  hi32,
  lo32,
} from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  DeviceQueue,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";
import { type BlkDeviceOptions, type BlkSetup, blkSetup, setCapacity } from "./config.ts";
import { DiskData } from "./_data.ts";
import { applyRanges, clearRange, type RequestTurn } from "./_ranges.ts";
import { CompletionOrder } from "./_order.ts";
import type { EmulatedZones } from "./zones.ts";

/** Counters of a {@linkcode BlkDevice} since it was made. */
export interface BlkStats {
  /** Reads that were inside the disk. */
  reads: number;
  /** Writes, likewise. */
  writes: number;
  /** Flushes. */
  flushes: number;
  /** Discard, write zeroes and secure erase requests. */
  ranges: number;
  /** Bytes read. */
  bytesRead: number;
  /** Bytes written. */
  bytesWritten: number;
  /** Requests that ended with IOERR, or an error of zones. */
  ioErrors: number;
  /** Requests that ended with UNSUPP. */
  unsupported: number;
}

/** Bytes that are cleared at a time. */
const CLEAR_PIECE = 1 << 20;
/** A status byte that is not known yet: the disk answers later. */
const PENDING = -1;

/**
 * An emulated block device (virtio 1.4 §5.2) on any disk backend.
 *
 * It makes no assumption on how a driver splits a request over descriptors. A chain that cannot hold
 * a header or a status byte is a guest fault; everything else ends with a status.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { blkDriver } from "@vireo/drivers/blk";
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { BlkDevice } from "@vireo/emu/blk";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = new MemoryDisk(1 << 16);
 * const device = new BlkDevice({ disk });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(blkDriver);
 * await bus.addPlatform(machine);
 * await bus.get(blkDriver)!.write(1, new Uint8Array(512).fill(7));
 * // What the driver wrote is in the host's disk.
 * const sector = new Uint8Array(512);
 * disk.read(512, sector, 0, 512);
 * assertEquals([device.capacity, sector[0], sector[511]], [128, 7, 7]);
 * ```
 */
export class BlkDevice implements DeviceModel {
  /** `blk`. */
  readonly name = "blk";
  /** 2. */
  readonly deviceId: number = DeviceId.BLOCK;
  /** Features that the options offer. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = BlkFeature;
  /** The request queues. */
  readonly queues: readonly QueueSpec[];
  /** ZONED, which the legacy interface has no way to settle (dev.blk.init.6). */
  readonly modernFeatures: FeatureSet = FeatureSet.of(BlkFeature.ZONED);
  /** Bytes of the configuration space: with the zoned part only if ZONED is offered. */
  readonly configSize: number;
  /** Counters, for reports and tests. */
  readonly stats: BlkStats = {
    reads: 0,
    writes: 0,
    flushes: 0,
    ranges: 0,
    bytesRead: 0,
    bytesWritten: 0,
    ioErrors: 0,
    unsupported: 0,
  };
  /** The storage. */
  readonly disk: DiskBackend;
  /** The checked options. */
  readonly setup: BlkSetup;
  readonly #options: BlkDeviceOptions;
  readonly #config: DataView;
  readonly #initialWriteback: number;
  readonly #order: CompletionOrder;
  readonly #data: DiskData;
  readonly #id = new Uint8Array(BLK_ID_SIZE);
  #attached: DeviceContext | undefined;
  #context: DeviceContext | undefined;
  /** Moves on at each reset, so that a disk's late answer finds its chain void. */
  #epoch = 0;
  #queueEpochs: Uint32Array;
  /** Whether the driver went on without ZONED: then the zoned part reads as zeroes (dev.blk.init.7). */
  #hidesZones = false;

  /**
   * Makes a device.
   *
   * @throws {RangeError} If an option is outside what the specification allows.
   */
  constructor(options: BlkDeviceOptions) {
    this.setup = blkSetup(options);
    this.features = this.setup.features;
    this.disk = options.disk;
    this.#data = new DiskData(options.disk);
    this.#options = options;
    this.#config = this.setup.config;
    this.configSize = this.#config.byteLength;
    this.#initialWriteback = this.#config.getUint8(BLK_CONFIG.writeback.offset);
    this.#order = new CompletionOrder(options.order ?? "in-order", options.seed ?? 1, this.#serve);
    this.queues = Array.from({ length: this.setup.queues }, (_, i) => ({
      name: `requestq${i + 1}`,
      maxSize: options.queueSize ?? 256,
    }));
    this.#queueEpochs = new Uint32Array(this.setup.queues);
    const serial = new TextEncoder().encode(options.serial ?? "vireo-disk");
    this.#id.set(serial.subarray(0, BLK_ID_SIZE));
  }

  /** Capacity in sectors of 512 bytes. */
  get capacity(): number {
    return this.disk.size / BLK_SECTOR_SIZE;
  }

  /** Zones of the disk, if it has any that drivers see. */
  get zones(): EmulatedZones | undefined {
    return this.setup.zones;
  }

  /** Whether a write may complete before it is durable, as negotiated and configured. */
  get writeback(): boolean {
    const features = this.#context?.features ?? this.features;
    return features.has(BlkFeature.CONFIG_WCE)
      ? this.#config.getUint8(BLK_CONFIG.writeback.offset) !== 0
      : features.has(BlkFeature.FLUSH);
  }

  /** Requests that wait for {@linkcode BlkDevice.release} under the `held` order. */
  get held(): number {
    return this.#order.held;
  }

  /**
   * Changes the size in sectors and tells the driver (dev.blk.operation.1).
   *
   * @throws {RangeError} If the disk has zones.
   */
  resize(sectors: number): void {
    if (this.zones !== undefined) {
      throw new RangeError("Cannot resize a zoned disk: its zones must stay as they are");
    }
    this.disk.resize(sectors * BLK_SECTOR_SIZE);
    setCapacity(this.#config, sectors);
    this.#attached?.configChanged();
  }

  /** Completes up to `count` requests that the `held` order keeps, oldest first. */
  release(count: number = Number.MAX_SAFE_INTEGER): void {
    this.#order.release(count);
  }

  /** Reads configuration bytes. */
  readConfig(offset: number, width: ConfigWidth): number {
    if (this.#hidesZones && offset >= BLK_ZONED_OFFSET) return 0;
    return readSpace(this.#config, offset, width);
  }

  /** Takes the one writable field, `writeback`; any other write has no effect. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (offset !== BLK_CONFIG.writeback.offset || width !== 1) return;
    if (!this.features.has(BlkFeature.CONFIG_WCE)) return;
    this.#config.setUint8(offset, value === 0 ? 0 : 1);
  }

  /** A host-managed disk needs ZONED (dev.blk.init.8), and takes no DISCARD (drv.blk.init.5). */
  acceptFeatures(features: FeatureSet): boolean {
    const zoned = features.has(BlkFeature.ZONED);
    this.#hidesZones = !zoned;
    if (this.zones?.model !== BlkZonedModel.HM) return true;
    return zoned && !features.has(BlkFeature.DISCARD);
  }

  /** Keeps the way to report capacity changes. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
    const { features } = context;
    if (this.zones !== undefined) this.zones.limited = features.has(BlkFeature.ZONED);
    // dev.blk.init.3: without FLUSH there is no way to write a cache back. Not on the legacy interface
    // (dev.blk.legacy-init.2): there the mode of a driver with CONFIG_WCE is its own.
    if (!context.legacy && features.has(BlkFeature.CONFIG_WCE) && !features.has(BlkFeature.FLUSH)) {
      this.#config.setUint8(BLK_CONFIG.writeback.offset, 0);
    }
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const order = this.#order;
    const { work } = this.#context!;
    let served = false;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      if (order.immediate) {
        if (this.#serveOne(queue, chain)) served = true;
      } else {
        order.add(queue, chain);
      }
    }
    if (served) queue.signal();
    if (!order.immediate) order.endBatch();
  }

  /** Voids the chains of one queue. */
  resetQueue(queue: number): void {
    this.#queueEpochs[queue]!++;
    this.#order.drop(queue);
  }

  /** Voids all chains and puts the write cache back as it was made. */
  reset(): void {
    this.#epoch++;
    this.#context = undefined;
    this.#order.drop(undefined);
    this.#hidesZones = false;
    this.#config.setUint8(BLK_CONFIG.writeback.offset, this.#initialWriteback);
  }

  /** The device's own state and that of its zones; the disk has its own snapshot. */
  snapshot(): unknown {
    const writeback = this.#config.getUint8(BLK_CONFIG.writeback.offset);
    if (this.zones === undefined) return { writeback };
    return { writeback, zones: this.zones.snapshot(), hidesZones: this.#hidesZones };
  }

  /** Takes the state back; the capacity is the disk's. */
  restore(state: unknown): void {
    const { writeback, zones, hidesZones = false } = state as {
      readonly writeback: number;
      readonly zones?: unknown;
      readonly hidesZones?: boolean;
    };
    this.#hidesZones = hidesZones;
    this.zones?.restore(zones);
    this.#config.setUint8(BLK_CONFIG.writeback.offset, writeback === 0 ? 0 : 1);
    setCapacity(this.#config, this.capacity);
  }

  /** Disposes the disk if the device owns it. */
  [Symbol.dispose](): void {
    this.reset();
    if (this.#options.ownsDisk) this.disk[Symbol.dispose]();
  }

  readonly #serve = (queue: DeviceQueue, chain: Chain): boolean => this.#serveOne(queue, chain);

  /** Serves one request; true if it was pushed and the queue must be signalled. */
  #serveOne(queue: DeviceQueue, chain: Chain): boolean {
    if (chain.readableLength < BLK_REQ.SIZE) {
      this.#context?.fault(`blk request header of ${chain.readableLength} bytes, expected 16`);
      return false;
    }
    if (chain.writableLength < 1) {
      this.#context?.fault("blk request without room for the status byte");
      return false;
    }
    const type = chain.readU32();
    chain.readU32();
    const sector = chain.readU64();
    let status: number;
    try {
      status = this.#execute(queue, chain, type, sector);
    } catch (error) {
      // The disk failed; a model never throws into the machine.
      this.#context!.hostFailed(error);
      status = BlkStatus.IOERR;
    }
    return status !== PENDING && this.#finish(queue, chain, status);
  }

  /** Completes a request; false if that takes another turn. */
  #finish(queue: DeviceQueue, chain: Chain, status: number): boolean {
    if (status !== BlkStatus.OK) {
      if (status === BlkStatus.UNSUPP) this.stats.unsupported++;
      else this.stats.ioErrors++;
    }
    return this.#answer(queue, chain, status);
  }

  #answer(queue: DeviceQueue, chain: Chain, status: number): boolean {
    const { work } = this.#context!;
    const last = chain.writableLength - 1;
    // The used length covers the status byte, so all before it must have been written too.
    while (chain.written < last) {
      if (work.exhausted) {
        const valid = this.#validity(queue.index);
        work.later(() => {
          if (valid() && this.#answer(queue, chain, status)) queue.signal();
        });
        return false;
      }
      chain.writeZeroes(Math.min(CLEAR_PIECE, last - chain.written));
    }
    chain.seekWrite(last);
    chain.writeU8(status);
    queue.push(chain, last + 1);
    return true;
  }

  /** Tells, later, whether a chain that a queue has now was not voided by a reset. */
  #validity(queue: number): () => boolean {
    const epoch = this.#epoch;
    const queueEpoch = this.#queueEpochs[queue];
    return () => epoch === this.#epoch && queueEpoch === this.#queueEpochs[queue];
  }

  /** When a request of a queue may go on. */
  #turn(queue: DeviceQueue): RequestTurn {
    return { work: this.#context!.work, valid: this.#validity(queue.index) };
  }

  /** Completes a request when its disk operation does, unless a reset voided it. */
  #later(queue: DeviceQueue, chain: Chain, work: Promise<void>): number {
    const valid = this.#validity(queue.index);
    const finish = (status: number): void => {
      if (valid() && this.#finish(queue, chain, status)) queue.signal();
    };
    work.then(() => finish(BlkStatus.OK), (error) => {
      this.#context?.hostFailed(error);
      finish(BlkStatus.IOERR);
    });
    return PENDING;
  }

  #execute(queue: DeviceQueue, chain: Chain, type: number, sector: number): number {
    switch (type) {
      case BlkRequestType.IN:
        return this.#read(queue, chain, sector);
      case BlkRequestType.OUT:
        return this.#write(queue, chain, sector);
      case BlkRequestType.FLUSH_OUT:
        return this.#context!.legacy ? this.#flush(queue, chain) : BlkStatus.UNSUPP;
      case BlkRequestType.FLUSH:
        return this.#flush(queue, chain);
      case BlkRequestType.GET_ID:
        if (chain.readableLeft > 0 || chain.writableLength - 1 !== BLK_ID_SIZE) {
          return BlkStatus.IOERR;
        }
        chain.write(this.#id);
        return BlkStatus.OK;
      case BlkRequestType.GET_LIFETIME:
        return this.#lifetime(chain);
      case BlkRequestType.DISCARD:
      case BlkRequestType.WRITE_ZEROES:
      case BlkRequestType.SECURE_ERASE: {
        const result = applyRanges(this, this.#context!.features, chain, type, this.#turn(queue));
        if (typeof result === "number") return result;
        return this.#later(queue, chain, result);
      }
      case BlkRequestType.ZONE_REPORT:
        if (!this.#zoned()) return BlkStatus.UNSUPP;
        return this.zones!.report(chain, sector, this.#context!.work);
      case BlkRequestType.ZONE_APPEND:
        return this.#zoned() ? this.#append(queue, chain, sector) : BlkStatus.UNSUPP;
      case BlkRequestType.ZONE_OPEN:
      case BlkRequestType.ZONE_CLOSE:
      case BlkRequestType.ZONE_FINISH:
      case BlkRequestType.ZONE_RESET:
      case BlkRequestType.ZONE_RESET_ALL:
        return this.#zoned() ? this.#manageZones(queue, chain, type, sector) : BlkStatus.UNSUPP;
      default:
        return BlkStatus.UNSUPP;
    }
  }

  /** Whether there are zones, and the driver knows of them (dev.blk.operation.13). */
  #zoned(): boolean {
    return this.zones !== undefined && this.#context!.features.has(BlkFeature.ZONED);
  }

  #append(queue: DeviceQueue, chain: Chain, sector: number): number {
    const length = chain.readableLength - BLK_REQ.SIZE;
    const wrong = this.setup.readOnly || chain.writableLength !== BLK_APPEND_SECTOR_SIZE + 1 ||
      length % this.setup.blockSize !== 0;
    if (wrong) return BlkStatus.IOERR;
    const { status, sector: at } = this.zones!.append(sector, length / BLK_SECTOR_SIZE);
    if (status !== BlkStatus.OK) return status;
    chain.writeU32(lo32(at));
    chain.writeU32(hi32(at));
    return this.#store(queue, chain, at * BLK_SECTOR_SIZE, length);
  }

  #manageZones(queue: DeviceQueue, chain: Chain, type: number, sector: number): number {
    if (this.setup.readOnly || chain.readableLeft > 0 || chain.writableLength > 1) {
      return BlkStatus.IOERR;
    }
    const zones = this.zones!;
    if (type === BlkRequestType.ZONE_RESET_ALL) this.#context!.work.spend(zones.count);
    const status = zones.manage(type, sector);
    const stale = status === BlkStatus.OK ? zones.stale(type, sector) : undefined;
    if (stale === undefined) return status;
    const [offset, length] = [stale.start * BLK_SECTOR_SIZE, stale.sectors * BLK_SECTOR_SIZE];
    const result = clearRange(this.disk, offset, length, this.#turn(queue));
    return typeof result === "number" ? result : this.#later(queue, chain, result);
  }

  /** Whether a transfer is whole blocks inside the disk. */
  #fits(sector: number, length: number): boolean {
    const offset = sector * BLK_SECTOR_SIZE;
    const { blockSize } = this.setup;
    return offset % blockSize === 0 && length % blockSize === 0 &&
      offset + length <= this.disk.size;
  }

  #read(queue: DeviceQueue, chain: Chain, sector: number): number {
    const room = chain.writableLength - 1;
    // Data that the device is to read is none that it could fill.
    if (chain.readableLeft > 0 || !this.#fits(sector, room)) return BlkStatus.IOERR;
    const { stats, zones } = this;
    const sectors = room / BLK_SECTOR_SIZE;
    if (zones !== undefined) {
      const status = zones.read(sector, sectors);
      if (status !== BlkStatus.OK) return status;
    }
    // Sectors that were never written are filled with zeroes.
    const length = zones === undefined ? room : zones.written(sector, sectors) * BLK_SECTOR_SIZE;
    const offset = sector * BLK_SECTOR_SIZE;
    stats.reads++;
    stats.bytesRead += length;
    if (!this.#data.isSlow(length)) {
      this.#data.read(chain, offset, length);
      return BlkStatus.OK;
    }
    const turn = this.#turn(queue);
    return this.#later(queue, chain, this.#data.readSlowly(chain, offset, length, turn));
  }

  #write(queue: DeviceQueue, chain: Chain, sector: number): number {
    const length = chain.readableLength - BLK_REQ.SIZE;
    const wrong = this.setup.readOnly || chain.writableLength > 1 || !this.#fits(sector, length);
    if (wrong) return BlkStatus.IOERR;
    const { zones } = this;
    if (zones !== undefined) {
      const sectors = length / BLK_SECTOR_SIZE;
      // A legacy driver knows nothing of zones that must be written in order.
      if (!zones.limited && zones.requiresOrder(sector, sectors)) return BlkStatus.IOERR;
      const status = zones.write(sector, sectors);
      if (status !== BlkStatus.OK) return status;
    }
    return this.#store(queue, chain, sector * BLK_SECTOR_SIZE, length);
  }

  /** Writes the data of a chain to the disk: a status. */
  #store(queue: DeviceQueue, chain: Chain, offset: number, length: number): number {
    const { disk, stats } = this;
    stats.writes++;
    stats.bytesWritten += length;
    // dev.blk.operation.9: without a write cache a completed write is a durable one.
    const through = !this.writeback;
    if (this.#data.isSlow(length)) {
      const written = this.#data.writeSlowly(chain, offset, length, this.#turn(queue));
      const done = written.then((valid) => valid && through ? disk.flush() : undefined);
      return this.#later(queue, chain, done);
    }
    this.#data.write(chain, offset, length);
    const wait = through ? disk.flush() : undefined;
    return wait === undefined ? BlkStatus.OK : this.#later(queue, chain, wait);
  }

  #flush(queue: DeviceQueue, chain: Chain): number {
    if (!this.#context!.features.has(BlkFeature.FLUSH)) return BlkStatus.UNSUPP;
    this.stats.flushes++;
    const wait = this.disk.flush();
    return wait === undefined ? BlkStatus.OK : this.#later(queue, chain, wait);
  }

  #lifetime(chain: Chain): number {
    const report = this.#options.lifetime;
    if (report === undefined || !this.#context!.features.has(BlkFeature.LIFETIME)) {
      return BlkStatus.UNSUPP;
    }
    if (chain.writableLength - 1 < BLK_LIFETIME.SIZE) return BlkStatus.IOERR;
    chain.writeU16(report.preEolInfo);
    chain.writeU16(report.estTypA);
    chain.writeU16(report.estTypB);
    return BlkStatus.OK;
  }
}
