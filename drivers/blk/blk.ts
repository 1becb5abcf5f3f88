import {
  BLK_CONFIG,
  BLK_ID_SIZE,
  BLK_LIFETIME,
  BLK_SECTOR_SIZE,
  BlkFeature,
  BlkRequestType,
  type DmaRegion,
  VireoError,
} from "@vireo/hal";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import type { DriverInstance } from "../driver.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { BlkDriverOptions, BlkLifetime, BlkLimits } from "./types.ts";
import { BlkBatch } from "./batch.ts";
import {
  type BlkConfig,
  type BlkGeometry,
  type BlkRangeLimits,
  type BlkTopology,
  readBlkConfig,
  readCapacity,
  type RequestSizes,
  requestSizes,
} from "./config.ts";
import { BlkQueue } from "./_queue.ts";
import { Slots } from "./_slots.ts";
import { BlkZones, type BlkZonesHost } from "./zones.ts";
import {
  type BlkRange,
  type BlkRequestOptions,
  type BlkTarget,
  checkRange,
  LentMemory,
  packRanges,
  sendAll,
} from "./requests.ts";

const NO_OPTIONS: BlkRequestOptions = {};
const NO_DATA = new Uint8Array(0);
/** Milliseconds that a freeze waits for requests in flight before it gives them up. */
const FREEZE_DEADLINE = 5000;

/**
 * A virtio block device (virtio 1.4 §5.2).
 *
 * Requests of any length are split by the device's bounds, and many may be in flight; an aborted one
 * rejects at once and its device memory is used again when the device gave it back.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const { blk } = vireo;
 * await blk.write(0, new TextEncoder().encode("virtio".padEnd(512)));
 * await blk.flush();
 * const text = new TextDecoder().decode(await blk.read(0, 512));
 * assertEquals(text.trimEnd(), "virtio");
 * ```
 */
export class Blk implements DriverInstance {
  /** Unit of sector numbers in bytes, whatever the block size. */
  readonly sectorSize: number = BLK_SECTOR_SIZE;
  /** The device. */
  readonly device: VirtioDevice;
  /** Called with the new capacity in sectors when the device changed it. */
  onCapacityChange: ((sectors: number) => void) | undefined;
  /** The zones of a zoned disk; undefined if it has none, or keeps them to itself. */
  readonly zones: BlkZones | undefined;
  readonly #config: BlkConfig;
  readonly #queues: readonly BlkQueue[];
  readonly #sizes: RequestSizes;
  #sectors: number;
  #next = 0;
  #frozen = false;
  /** How the write cache was set; undefined if it was left as the device has it. */
  #wantedCache: boolean | undefined;

  /**
   * Sets a device up; its queues are found but DRIVER_OK is left to the bus. Use
   * {@linkcode blkDriver}.
   *
   * @throws {VireoError} `CONFIG_INVALID`, `QUEUE_SIZE`, or what finding queues throws.
   */
  constructor(device: VirtioDevice, options: BlkDriverOptions = {}) {
    this.device = device;
    const config = this.#config = readBlkConfig(device);
    this.#sectors = config.sectors;
    const count = Math.min(config.queues, options.queues ?? 8);
    const rings = device.findQueues(this.#requests(count));
    const ringSize = Math.min(...rings.map((ring) => ring.size));
    const sizes = this.#sizes = requestSizes(device, config, { ringSize, queues: count }, options);
    const queues: BlkQueue[] = [];
    try {
      for (let i = 0; i < count; i++) {
        const { depth, bytes, segment, longest } = sizes;
        const slots = new Slots(device.dma, depth, bytes, segment, longest, true);
        const zoned = config.zoned !== undefined;
        queues.push(new BlkQueue(i, slots, device.name, !device.transport.legacy, zoned));
      }
    } catch (error) {
      for (const queue of queues) queue.dispose();
      throw error;
    }
    this.#queues = queues;
    this.zones = config.zoned && new BlkZones(this.#zonesHost(), config.zoned);
    queues.forEach((queue, i) => queue.start(rings[i]!));
  }

  /** Size in bytes. */
  get capacity(): number {
    return this.#sectors * BLK_SECTOR_SIZE;
  }

  /** Size in sectors of 512 bytes. */
  get sectors(): number {
    return this.#sectors;
  }

  /** Logical block size in bytes: reads and writes are whole blocks. */
  get blockSize(): number {
    return this.#config.blockSize;
  }

  /** Sectors of a logical block. */
  get blockSectors(): number {
    return this.#config.blockSize / BLK_SECTOR_SIZE;
  }

  /** Whether the device refuses writes. */
  get readOnly(): boolean {
    return this.device.has(BlkFeature.RO);
  }

  /** Alignment and preferred sizes, if the device tells. */
  get topology(): BlkTopology | undefined {
    return this.#config.topology;
  }

  /** Cylinders, heads and sectors, if the device tells. */
  get geometry(): BlkGeometry | undefined {
    return this.#config.geometry;
  }

  /** Number of request queues in use. */
  get queues(): number {
    return this.#queues.length;
  }

  /** Device requests that the device has now, aborted ones included. */
  get inFlight(): number {
    let sum = 0;
    for (const queue of this.#queues) sum += queue.inFlight;
    return sum;
  }

  /** The bounds that requests are cut to. */
  get limits(): BlkLimits {
    const { sizeMax, segMax, discard, writeZeroes, secureErase } = this.#config;
    const { bytes, longest, depth } = this.#sizes;
    return {
      maxRequestBytes: bytes,
      maxBatchBytes: longest,
      sizeMax,
      segMax,
      depth,
      discard,
      writeZeroes,
      secureErase,
    };
  }

  /** Whether a completed write may still be in a volatile cache, until a {@linkcode Blk.flush}. */
  get writeCache(): boolean {
    return this.device.has(BlkFeature.CONFIG_WCE)
      ? this.device.config.read8(BLK_CONFIG.writeback.offset) !== 0
      : this.device.has(BlkFeature.FLUSH);
  }

  /**
   * Turns the write cache on or off, also after each reset from now on. Turning it off does not make
   * earlier writes durable: flush.
   *
   * @throws {VireoError} `UNSUPPORTED` Without CONFIG_WCE.
   */
  set writeCache(on: boolean) {
    this.#need(BlkFeature.CONFIG_WCE, "CONFIG_WCE");
    this.#wantedCache = on;
    this.#setCache();
  }

  /**
   * Reads sectors.
   *
   * @param sector First sector.
   * @param into Where to put them, or how many bytes; whole blocks.
   * @returns The bytes; `into` itself if it was given.
   * @throws {RangeError} If the range is not whole blocks.
   * @throws {VireoError} `OUT_OF_RANGE`, `IO_ERROR`, `BAD_STATUS`, `BAD_LENGTH`, `TIMEOUT` or why the
   * device failed.
   */
  read(
    sector: number,
    into: Uint8Array | number,
    options: BlkRequestOptions = NO_OPTIONS,
  ): Promise<Uint8Array> {
    try {
      const length = typeof into === "number" ? into : into.length;
      this.#check(sector, length / BLK_SECTOR_SIZE);
      const bytes = typeof into === "number" ? new Uint8Array(into) : into;
      if (length === 0) return Promise.resolve(bytes);
      if (this.zones?.ordered) return this.zones.read(sector, bytes, options);
      return this.#submit(BlkRequestType.IN, sector, bytes, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Reads sectors into memory that the device can reach, without a copy. The memory is the device's until
   * `onReturned` is called: that may be after the promise settled if the read was given up.
   *
   * @param region Memory of the machine's `dma`.
   * @returns The bytes, in the region.
   * @throws {RangeError} If the range is not whole blocks or does not fit into the region.
   * @throws {VireoError} As {@linkcode Blk.read}.
   */
  readInto(region: DmaRegion, target: BlkTarget): Promise<Uint8Array> {
    const { sector, at = 0, length = region.bytes.length - at, onReturned } = target;
    const lent = new LentMemory(region, at, onReturned);
    try {
      if (!(at >= 0 && length >= 0 && at + length <= region.bytes.length)) {
        throw new RangeError(
          `Cannot read ${length} bytes to byte ${at}: the region has ${region.bytes.length}`,
        );
      }
      this.#check(sector, length / BLK_SECTOR_SIZE);
      const bytes = region.bytes.subarray(at, at + length);
      if (length > 0) return this.#submit(BlkRequestType.IN, sector, bytes, target, lent);
      lent.settled();
      return Promise.resolve(bytes);
    } catch (error) {
      lent.settled();
      return Promise.reject(error);
    }
  }

  /**
   * Writes sectors; the data must not change before the promise settles.
   *
   * @param sector First sector.
   * @param data Whole blocks.
   * @throws {RangeError} If the range is not whole blocks.
   * @throws {VireoError} `READ_ONLY`, `OUT_OF_RANGE`, `IO_ERROR`, `BAD_STATUS`, `TIMEOUT` or why the
   * device failed.
   */
  write(
    sector: number,
    data: Uint8Array,
    options: BlkRequestOptions = NO_OPTIONS,
  ): Promise<void> {
    try {
      this.#writable();
      this.#check(sector, data.length / BLK_SECTOR_SIZE);
      if (data.length === 0) return Promise.resolve();
      if (this.zones?.ordered) return this.zones.write(sector, data, options);
      const done: Promise<unknown> = this.#submit(BlkRequestType.OUT, sector, data, options);
      // The caller has no use for the value; another promise would cost.
      return done as Promise<void>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Makes completed writes durable. Without FLUSH each write already was (virtio 1.4 §5.2.6.2), and
   * nothing is sent.
   *
   * @throws {VireoError} `IO_ERROR`, `BAD_STATUS`, `TIMEOUT` or why the device failed.
   */
  async flush(options: BlkRequestOptions = NO_OPTIONS): Promise<void> {
    if (!this.device.has(BlkFeature.FLUSH)) return;
    await this.#submit(BlkRequestType.FLUSH, 0, NO_DATA, options);
  }

  /**
   * Tells the device that the contents of sectors are not needed; what they read as is undefined.
   *
   * @throws {VireoError} `UNSUPPORTED` Without DISCARD; as {@linkcode Blk.write} otherwise.
   */
  async discard(
    ranges: readonly BlkRange[],
    options: BlkRequestOptions = NO_OPTIONS,
  ): Promise<void> {
    this.#need(BlkFeature.DISCARD, "DISCARD");
    await this.#ranges(BlkRequestType.DISCARD, ranges, this.#config.discard!, false, options);
  }

  /**
   * Makes sectors read as zeroes without sending zeroes.
   *
   * @param options `unmap` allows the device to give the storage back.
   * @throws {VireoError} `UNSUPPORTED` Without WRITE_ZEROES; as {@linkcode Blk.write} otherwise.
   */
  async writeZeroes(
    ranges: readonly BlkRange[],
    options: BlkRequestOptions & { readonly unmap?: boolean } = NO_OPTIONS,
  ): Promise<void> {
    this.#need(BlkFeature.WRITE_ZEROES, "WRITE_ZEROES");
    const unmap = options.unmap ?? false;
    await this.#ranges(
      BlkRequestType.WRITE_ZEROES,
      ranges,
      this.#config.writeZeroes!,
      unmap,
      options,
    );
  }

  /**
   * Erases sectors so that their former contents cannot be recovered.
   *
   * @throws {VireoError} `UNSUPPORTED` Without SECURE_ERASE; as {@linkcode Blk.write} otherwise.
   */
  async secureErase(
    ranges: readonly BlkRange[],
    options: BlkRequestOptions = NO_OPTIONS,
  ): Promise<void> {
    this.#need(BlkFeature.SECURE_ERASE, "SECURE_ERASE");
    const limits = this.#config.secureErase!;
    try {
      await this.#ranges(BlkRequestType.SECURE_ERASE, ranges, limits, false, options);
    } finally {
      this.zones?.forget();
    }
  }

  /**
   * Reads the device's id string, its serial number: up to 20 bytes, ASCII by custom.
   *
   * @throws {VireoError} `UNSUPPORTED` If the device has none.
   */
  async getId(options: BlkRequestOptions = NO_OPTIONS): Promise<string> {
    const bytes = new Uint8Array(BLK_ID_SIZE);
    await this.#submit(BlkRequestType.GET_ID, 0, bytes, options);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /**
   * Reads the wear of the medium.
   *
   * @throws {VireoError} `UNSUPPORTED` Without LIFETIME.
   */
  async lifetime(options: BlkRequestOptions = NO_OPTIONS): Promise<BlkLifetime> {
    this.#need(BlkFeature.LIFETIME, "LIFETIME");
    const bytes = new Uint8Array(BLK_LIFETIME.SIZE);
    await this.#submit(BlkRequestType.GET_LIFETIME, 0, bytes, options);
    const view = new DataView(bytes.buffer);
    return {
      preEolInfo: view.getUint16(BLK_LIFETIME.pre_eol_info.offset, true),
      estTypA: view.getUint16(BLK_LIFETIME.device_lifetime_est_typ_a.offset, true),
      estTypB: view.getUint16(BLK_LIFETIME.device_lifetime_est_typ_b.offset, true),
    };
  }

  /**
   * Makes slots for requests that cost no allocation and no copy; dispose them when done.
   *
   * @param depth Slots, 1 to 65536.
   * @param bytesPerRequest Bytes of each, whole blocks, at most `limits.maxBatchBytes`.
   * @throws {RangeError} If a number is out of these bounds.
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room.
   */
  batch(
    depth: number,
    bytesPerRequest: number,
    options: { readonly queue?: number } = {},
  ): BlkBatch {
    if (!Number.isInteger(depth) || depth < 1 || depth > 65536) {
      throw new RangeError(`Cannot make a batch of ${depth} slots: expected 1 to 65536`);
    }
    if (
      !(bytesPerRequest > 0) || bytesPerRequest % this.blockSize !== 0 ||
      bytesPerRequest > this.#sizes.longest
    ) {
      throw new RangeError(
        `Cannot make batch slots of ${bytesPerRequest} bytes: expected a multiple of ` +
          `${this.blockSize}, at most ${this.#sizes.longest}`,
      );
    }
    const size = { depth, bytes: bytesPerRequest, segment: this.#sizes.segment };
    return new BlkBatch(this, this.#pick(options.queue), this.device.dma, size);
  }

  /** Reads the capacity again, as Linux does on a config change. */
  configChanged(): void {
    let sectors: number;
    try {
      sectors = readCapacity(this.device);
    } catch (error) {
      if (error instanceof VireoError) return this.device.break(error);
      throw error;
    }
    if (sectors === this.#sectors) return;
    this.#sectors = sectors;
    this.onCapacityChange?.(sectors);
  }

  /** Rejects what is pending; frees nothing, the device may still use it. */
  failed(error: Error): void {
    // The reset that belongs to a freeze: what waits is kept for the restore.
    if (this.#frozen && error instanceof VireoError && error.code === "DEVICE_STATE") return;
    for (const queue of this.#queues) queue.failAll(error);
  }

  /** Lets requests in flight end; those not handed out yet wait for the restore. */
  async freeze(): Promise<void> {
    const queues = this.#queues;
    if (queues.every((queue) => queue.failure === undefined)) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, FREEZE_DEADLINE));
      for (const queue of queues) queue.pause();
      await Promise.race([late, Promise.all(queues.map((queue) => queue.whenIdle()))]);
      clearTimeout(timer);
    }
    for (const queue of queues) queue.stop();
    this.#frozen = true;
  }

  /**
   * Resets one request queue while the others go on (virtio 1.4 §2.6.1). Requests that the device had in it fail
   * with `DEVICE_STATE`, those that waited for room go on.
   *
   * @param index The queue, 0 by default.
   * @throws {RangeError} If there is no such queue.
   * @throws {VireoError} `QUEUE_RESET_UNSUPPORTED` Without RING_RESET, `RESET_TIMEOUT` If the device does not
   * finish in time (the queue's requests fail with it), or `DEVICE_STATE` while the device itself is reset.
   */
  async resetQueue(index = 0, options: WaitOptions = NO_OPTIONS): Promise<void> {
    const queue = this.#pick(index);
    const { ring } = queue;
    if (ring === undefined) {
      throw new VireoError("DEVICE_STATE", "Cannot reset a queue: the device is being reset", {
        device: this.device.name,
        queue: index,
      });
    }
    const lost = new VireoError("DEVICE_STATE", "Queue was reset before the device answered", {
      device: this.device.name,
      queue: index,
    });
    try {
      await this.device.resetQueue(ring, options);
    } catch (error) {
      // Refused before anything was done, or the device may still have the buffers.
      if (ring.broken !== undefined && queue.ring === ring) queue.failAll(error as Error);
      throw error;
    }
    // A reset of the device meanwhile has taken the slots back itself.
    if (queue.ring !== ring) return;
    queue.reclaim(lost);
    queue.start(this.device.queues[index]!);
  }

  /** Finds the queues again and goes on. */
  restore(): void {
    const lost = new VireoError("DEVICE_STATE", "Device was reset before it answered", {
      device: this.device.name,
    });
    this.#frozen = false;
    for (const queue of this.#queues) queue.reclaim(lost);
    this.zones?.forget();
    try {
      const rings = this.device.findQueues(this.#requests(this.#queues.length));
      // Before a request can go: a reset turned it back to what the device likes (virtio 1.4 §5.2.5).
      this.#setCache();
      this.#queues.forEach((queue, i) => queue.start(rings[i]!));
      this.configChanged();
    } catch (error) {
      this.failed(error as Error);
      throw error;
    }
  }

  /** Resets the device, rejects what is pending and frees all memory. */
  async remove(): Promise<void> {
    const gone = new VireoError("DEVICE_REMOVED", "Block device was removed", {
      device: this.device.name,
    });
    for (const queue of this.#queues) queue.failAll(gone);
    // If the reset fails the device may still write: then nothing is freed.
    await this.device.reset();
    for (const queue of this.#queues) {
      queue.reclaim(gone);
      queue.stop();
      for (const batch of queue.batches()) batch[Symbol.dispose]();
    }
    this.device.deleteQueues();
    for (const queue of this.#queues) queue.dispose();
  }

  #setCache(): void {
    if (this.#wantedCache === undefined) return;
    this.device.config.write8(BLK_CONFIG.writeback.offset, this.#wantedCache ? 1 : 0);
  }

  #requests(count: number): QueueRequest[] {
    return Array.from({ length: count }, (_, i) => ({
      name: `req.${i}`,
      callback: () => this.#queues[i]?.drain(),
    }));
  }

  #pick(index: number | undefined): BlkQueue {
    if (index === undefined) {
      index = this.#next;
      this.#next = index + 1 === this.#queues.length ? 0 : index + 1;
    }
    const queue = this.#queues[index];
    if (queue === undefined) {
      throw new RangeError(`Cannot use queue ${index}: expected 0 to ${this.#queues.length - 1}`);
    }
    return queue;
  }

  #submit(
    type: number,
    sector: number,
    bytes: Uint8Array,
    options: BlkRequestOptions,
    lent?: LentMemory,
  ): Promise<Uint8Array> {
    const queue = this.#queues.length === 1 && options.queue === undefined
      ? this.#queues[0]!
      : this.#pick(options.queue);
    return queue.submit(type, sector, bytes, options, lent);
  }

  #zonesHost(): BlkZonesHost {
    const sectors = (): number => this.#sectors;
    return {
      device: this.device,
      maxRequestBytes: this.#sizes.bytes,
      get sectors() {
        return sectors();
      },
      submit: (type, sector, bytes, options) => this.#submit(type, sector, bytes, options),
      checkWritable: () => this.#writable(),
    };
  }

  #check(sector: number, sectors: number): void {
    checkRange(this.device.name, sector, sectors, this.#sectors, this.blockSectors);
  }

  #writable(): void {
    if (!this.readOnly) return;
    throw new VireoError("READ_ONLY", "Cannot write to the disk: it is read-only", {
      device: this.device.name,
    });
  }

  #need(feature: number, name: string): void {
    if (this.device.has(feature)) return;
    throw new VireoError("UNSUPPORTED", `Block device was not negotiated with ${name}`, {
      device: this.device.name,
      expected: `feature ${name}`,
    });
  }

  #ranges(
    type: number,
    ranges: readonly BlkRange[],
    limits: BlkRangeLimits,
    unmap: boolean,
    options: BlkRequestOptions,
  ): Promise<void> {
    this.#writable();
    const block = this.blockSectors;
    const erase = type === BlkRequestType.SECURE_ERASE;
    const align = erase ? Math.max(limits.alignment, block) : block;
    for (const { sector, sectors } of ranges) {
      checkRange(this.device.name, sector, sectors, this.#sectors, align);
    }
    const payloads = packRanges(ranges, limits, align, this.#sizes.bytes, unmap);
    return sendAll(payloads, (payload) => this.#submit(type, 0, payload, options));
  }
}
