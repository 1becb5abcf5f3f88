import {
  ANY_ID,
  BALLOON_CONFIG,
  BALLOON_PAGE_SIZE,
  BALLOON_QUEUES,
  BALLOON_STAT,
  BalloonFeature,
  BalloonHint,
  DeviceId,
  type DmaRegion,
  FeatureSet,
  hi32,
  lo32,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import type { WaitOptions } from "../wait/options.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList } from "../virtqueue/virtqueue.ts";
import { Pages } from "./_pages.ts";

/** Pages told of in one request, as Linux has it. */
const STEP = 256;
/** Most ranges of one report. */
const MAX_RANGES = 32;
/** Milliseconds that the host may take for one request. */
const DEADLINE = 10_000;

/** Numbers by `BalloonStat`; what is missing is not told. */
export type BalloonStatistics = Readonly<Record<number, number>>;

/** How a balloon behaves. */
export interface BalloonOptions {
  /** Whether it follows the host's target by itself; true by default. */
  readonly follow?: boolean;
  /** What freed pages hold, a byte repeated, 0 to 255: asks for PAGE_POISON. */
  readonly poison?: number;
  /** Gives the statistics when the host asks; the same tags each time. None by default. */
  readonly statistics?: () => BalloonStatistics;
  /** Gives free memory when the host asks for hints; none by default. It must stay free. */
  readonly freePages?: () => Iterable<DmaRegion>;
}

type QueueName = typeof BALLOON_QUEUES[number]["name"];

/** A memory balloon (virtio 1.4 §5.5): gives the guest's memory to the host, and takes it back. */
export class Balloon implements DriverInstance {
  readonly #device: VirtioDevice;
  readonly #options: BalloonOptions;
  readonly #pages: Pages;
  readonly #statistics: DmaRegion | undefined;
  readonly #tags: readonly number[];
  #queues!: ReadonlyMap<QueueName, RequestQueue>;
  #work: Promise<void> = Promise.resolve();
  #waiters: (() => void)[] = [];
  #failure: Error | undefined;
  #short = false;
  #size = 0;
  #hinted = 0;
  #hinting: Promise<void> | undefined;

  /** Sets up a balloon; {@linkcode createBalloonDriver} gives it its options. */
  constructor(device: VirtioDevice, options: BalloonOptions = {}) {
    this.#device = device;
    this.#options = options;
    this.#pages = new Pages(device.dma);
    const given = device.has(BalloonFeature.STATS_VQ) ? options.statistics?.() ?? {} : undefined;
    this.#tags = Object.keys(given ?? {}).map(Number);
    // A buffer has one entry at least, so that there is something to give back.
    const length = Math.max(this.#tags.length, 1) * BALLOON_STAT.SIZE;
    this.#statistics = given && device.dma.alloc(length);
    this.#setUp();
  }

  /** Pages of 4 KiB that the host wants the balloon to have. */
  get target(): number {
    return this.#device.config.read32(BALLOON_CONFIG.numPages.offset);
  }

  /** Pages of 4 KiB that the balloon has, as the host acknowledged. */
  get size(): number {
    return this.#size;
  }

  /** Whether the last attempt to grow found no memory. */
  get outOfMemory(): boolean {
    return this.#short;
  }

  /** How many ranges were given as hints since the last command. */
  get hinted(): number {
    return this.#hinted;
  }

  /**
   * Gives the host pages until the balloon has so many, or takes them back.
   *
   * @returns The pages it has then; fewer than asked for if memory is short.
   * @throws {VireoError} `TIMEOUT`, or why the device failed.
   */
  async resize(pages: number, options: WaitOptions = {}): Promise<number> {
    await this.#serial(() => this.#moveTo(pages, options));
    return this.#pages.held;
  }

  /**
   * Waits until the balloon is as large as the host wants.
   *
   * @throws {VireoError} `TIMEOUT` If it is not within the deadline (10 s by default), for example
   * because memory is short; why the device failed.
   */
  async settled(options: WaitOptions = {}): Promise<void> {
    const { signal, deadline = DEADLINE } = options;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(
        this.#error(
          "TIMEOUT",
          `Balloon has ${this.size} pages of ${this.target} after ${deadline} ms`,
        ),
      );
    }, deadline);
    const onAbort = (): void => late.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    try {
      signal?.throwIfAborted();
      while (this.size !== this.target) {
        if (this.#failure !== undefined) throw this.#failure;
        const moved = new Promise<void>((resolve) => this.#waiters.push(resolve));
        await Promise.race([moved, late.promise]);
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      late.promise.catch(() => {});
    }
  }

  /**
   * The guest is out of memory: takes pages back though the host wants them (DEFLATE_ON_OOM).
   *
   * @returns How many it took back.
   * @throws {VireoError} `UNSUPPORTED` If that was not negotiated.
   */
  async release(pages: number = STEP, options: WaitOptions = {}): Promise<number> {
    if (!this.#device.has(BalloonFeature.DEFLATE_ON_OOM)) {
      throw this.#error("UNSUPPORTED", "Balloon must keep its pages: no DEFLATE_ON_OOM");
    }
    const before = this.#pages.held;
    await this.#serial(() => this.#moveTo(Math.max(0, before - pages), options));
    return before - this.#pages.held;
  }

  /**
   * Reports memory that nobody uses (PAGE_REPORTING): its contents are lost, or the poison.
   *
   * @param regions Free memory, which must stay so until this ends.
   * @throws {VireoError} `UNSUPPORTED` If that was not negotiated; `TIMEOUT` or why the device failed.
   */
  async report(regions: readonly DmaRegion[], options: WaitOptions = {}): Promise<void> {
    const queue = this.#queues.get("reporting");
    if (queue === undefined) throw this.#error("UNSUPPORTED", "Balloon takes no reports");
    for (let at = 0; at < regions.length; at += MAX_RANGES) {
      const part = regions.slice(at, at + MAX_RANGES);
      const chain = new SgList(part.length);
      for (const { bytes, address } of part) {
        if (this.#poisoned) bytes.fill(this.#options.poison!);
        chain.addWritable(address, bytes.length);
      }
      await queue.submit(chain, { deadline: DEADLINE, ...options });
    }
  }

  /** The host's target or command may have changed. */
  configChanged(): void {
    if (this.#options.follow !== false) {
      this.#serial(() => this.#moveTo(this.target, {})).catch(() => {});
    }
    if (this.#queues.has("free_page")) this.#hint();
  }

  /** Starts to follow the host's target. */
  scan(): void {
    this.#postStatistics();
    this.configChanged();
  }

  /** Rejects what is pending. */
  failed(error: Error): void {
    this.#failure ??= error;
    for (const queue of this.#queues.values()) queue.failAll(error);
    this.#wake();
  }

  /** Stops for a suspend; the host has lost the balloon then. */
  freeze(): void {
    this.failed(this.#error("DEVICE_STATE", "Balloon was suspended"));
  }

  /** Sets up an empty balloon again after a reset. */
  restore(): void {
    const old = this.#queues;
    this.#setUp();
    for (const queue of old.values()) queue.detachAll();
    this.#pages.clear();
    this.#failure = undefined;
    this.#hinting = undefined;
    this.#work = Promise.resolve();
    this.#device.ready();
    this.#setActual();
    this.scan();
  }

  /** Takes all pages back, resets the device and frees its memory. */
  async remove(): Promise<void> {
    const removed = this.#error("DEVICE_REMOVED", "Balloon was removed");
    if (this.#failure === undefined) {
      await this.#serial(() => this.#moveTo(0, { deadline: 1000 })).catch(() => {});
    }
    this.failed(removed);
    await this.#device.reset();
    for (const queue of this.#queues.values()) queue.detachAll();
    this.#pages.clear();
    this.#statistics?.[Symbol.dispose]();
    this.#device.deleteQueues();
  }

  get #poisoned(): boolean {
    return this.#device.has(BalloonFeature.PAGE_POISON);
  }

  #setUp(): void {
    // Linux and QEMU count only the queues that are there.
    const present = BALLOON_QUEUES.filter(({ feature }) =>
      feature === undefined || this.#device.offered.has(feature)
    );
    const used = present.flatMap(({ name, feature }, index) =>
      feature === undefined || this.#device.has(feature) ? [{ name, index }] : []
    );
    const queues = new Map<QueueName, RequestQueue>();
    const found = this.#device.findQueues(used.map(({ name, index }) => ({
      name,
      index,
      callback: () => queues.get(name)?.drain(),
    })));
    used.forEach(({ name }, i) => queues.set(name, new RequestQueue(found[i]!)));
    this.#queues = queues;
    if (this.#poisoned) {
      const value = this.#options.poison! * 0x01010101;
      this.#device.config.write32(BALLOON_CONFIG.poisonValue.offset, value >>> 0);
    }
  }

  /** One change of size at a time. */
  async #serial(work: () => Promise<void>): Promise<void> {
    const run = this.#work.then(work);
    this.#work = run.catch(() => {});
    await run;
  }

  async #moveTo(target: number, options: WaitOptions): Promise<void> {
    this.#short = false;
    while (this.#pages.held < target) {
      const taken = this.#pages.take(Math.min(STEP, target - this.#pages.held));
      if (taken.length === 0) {
        this.#short = true;
        break;
      }
      await this.#tell("inflate", taken, options);
    }
    while (this.#pages.held > target) {
      const last = this.#pages.last(Math.min(STEP, this.#pages.held - target));
      // Told first, used after (drv.balloon.operation.4), whether the host must be told or not.
      await this.#tell("deflate", last, options);
      const fill = this.#poisoned ? this.#options.poison! * 0x01010101 >>> 0 : 0;
      this.#pages.give(last.length, fill);
      this.#setActual();
    }
    this.#wake();
  }

  async #tell(
    name: "inflate" | "deflate",
    pages: readonly number[],
    options: WaitOptions,
  ): Promise<void> {
    const length = pages.length * 4;
    const region = this.#device.dma.alloc(length);
    const view = new DataView(region.bytes.buffer, region.bytes.byteOffset, length);
    pages.forEach((page, i) => view.setUint32(i * 4, page, true));
    const chain = new SgList(1).addReadable(region.share(0, length, "to-device"), length);
    const onReturned = (): void => {
      region.unshare(0, length, "to-device");
      region[Symbol.dispose]();
    };
    await this.#queues.get(name)!.submit(chain, { deadline: DEADLINE, ...options, onReturned });
    if (name === "inflate") this.#setActual();
  }

  #setActual(): void {
    this.#size = this.#pages.held;
    this.#device.config.write32(BALLOON_CONFIG.actual.offset, this.#size);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** The host answers by giving the buffer back: that is its way to ask for new ones. */
  #postStatistics(): void {
    const queue = this.#queues.get("stats");
    const region = this.#statistics;
    if (queue === undefined || region === undefined) return;
    const now = this.#options.statistics?.() ?? {};
    const view = new DataView(region.bytes.buffer, region.bytes.byteOffset, region.bytes.length);
    this.#tags.forEach((tag, i) => {
      const at = i * BALLOON_STAT.SIZE;
      const value = Math.max(0, Math.trunc(now[tag] ?? 0));
      view.setUint16(at, tag, true);
      view.setUint32(at + BALLOON_STAT.value.offset, lo32(value), true);
      view.setUint32(at + BALLOON_STAT.value.offset + 4, hi32(value), true);
    });
    // Without a statistic the entry's tag is one that no host knows (dev.balloon.stats.1).
    if (this.#tags.length === 0) view.setUint16(0, 0xffff, true);
    const length = region.bytes.length;
    const chain = new SgList(1).addReadable(region.share(0, length, "to-device"), length);
    const onReturned = (): void => region.unshare(0, length, "to-device");
    queue.submit(chain, { onReturned }).then(() => this.#postStatistics(), () => {});
  }

  /** Answers the host's command: hints while it wants them. */
  #hint(): void {
    const id = this.#device.config.read32(BALLOON_CONFIG.freePageHintId.offset);
    if (id === BalloonHint.STOP || id === BalloonHint.DONE || this.#hinting !== undefined) return;
    this.#hinting = this.#giveHints(id).catch(() => {}).finally(() => this.#hinting = undefined);
  }

  async #giveHints(id: number): Promise<void> {
    const queue = this.#queues.get("free_page")!;
    const command = async (value: number): Promise<void> => {
      const region = this.#device.dma.alloc(4);
      new DataView(region.bytes.buffer, region.bytes.byteOffset, 4).setUint32(0, value, true);
      const chain = new SgList(1).addReadable(region.share(0, 4, "to-device"), 4);
      const onReturned = (): void => {
        region.unshare(0, 4, "to-device");
        region[Symbol.dispose]();
      };
      await queue.submit(chain, { deadline: DEADLINE, onReturned });
    };
    this.#hinted = 0;
    await command(id);
    const { config } = this.#device;
    for (const region of this.#options.freePages?.() ?? []) {
      // The host may have had enough.
      if (config.read32(BALLOON_CONFIG.freePageHintId.offset) !== id) break;
      if (this.#poisoned) region.bytes.fill(this.#options.poison!);
      const chain = new SgList(1).addWritable(region.address, region.bytes.length);
      await queue.submit(chain, { deadline: DEADLINE });
      this.#hinted++;
    }
    await command(BalloonHint.STOP);
  }

  #error(
    code: "TIMEOUT" | "UNSUPPORTED" | "DEVICE_STATE" | "DEVICE_REMOVED",
    what: string,
  ): VireoError {
    return new VireoError(code, what, { device: this.#device.name });
  }
}

/**
 * Makes a driver whose balloons have these options; what `probe` gives is a {@linkcode Balloon}.
 *
 * @throws {RangeError} If the poison is no byte.
 */
export function createBalloonDriver(options: BalloonOptions = {}): VirtioDriver<Balloon> {
  const { poison } = options;
  if (poison !== undefined && !(Number.isInteger(poison) && poison >= 0 && poison <= 255)) {
    throw new RangeError(`Cannot poison pages with what is no byte: ${poison}`);
  }
  return {
    name: "virtio_balloon",
    ids: [{ device: DeviceId.BALLOON, vendor: ANY_ID }],
    features: FeatureSet.of(...Object.values(BalloonFeature)),
    featureNames: BalloonFeature,
    validate: (_, features) => {
      // drv.balloon.features.2, .3: as Linux, which reports nothing that it expects to keep a value.
      if (poison === undefined) return features.without(BalloonFeature.PAGE_POISON);
      if (features.has(BalloonFeature.PAGE_POISON)) return features;
      return features.without(BalloonFeature.PAGE_REPORTING);
    },
    probe: (device) => new Balloon(device, options),
  };
}

/** Drives balloons: follows the host's target, poisons nothing, tells no statistics. */
export const balloonDriver: VirtioDriver<Balloon> = createBalloonDriver();

/** Bytes of a number of balloon pages. */
export function balloonBytes(pages: number): number {
  return pages * BALLOON_PAGE_SIZE;
}
