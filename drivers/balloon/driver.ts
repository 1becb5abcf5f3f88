import {
  ANY_ID,
  BALLOON_CONFIG,
  BALLOON_QUEUES,
  BALLOON_STAT,
  BalloonFeature,
  BalloonHint,
  DeviceId,
  type DmaRegion,
  FeatureSet,
  setU64,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { Loan } from "../virtqueue/exchange.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { Condition, type Deadline, pause, waitOn, type WaitOptions, within } from "../wait/mod.ts";
import { Pages } from "./_pages.ts";

/** Pages in one request, as in Linux. */
const STEP = 256;
/** Most ranges of one report. */
const MAX_RANGES = 32;
/** Milliseconds that the host may take for one request. */
const DEADLINE = 10_000;
/** Milliseconds until a balloon that found no memory tries again, as Linux has it. */
const RETRY = 200;
/** Milliseconds between two answers to a host that asks for statistics: others get a turn. */
const STATISTICS_PAUSE = 1;
/** The number of statistics in a buffer is a multiple of this. */
const STATISTICS_UNIT = 3;

/** Numbers by `BalloonStat`; what is missing is not told. */
export type BalloonStatistics = Readonly<Record<number, number>>;

/** How a balloon behaves. */
export interface BalloonOptions {
  /** Whether it follows the host's target by itself; true by default. */
  readonly follow?: boolean;
  /** Byte that fills freed pages, 0 to 255: asks for PAGE_POISON. */
  readonly poison?: number;
  /** Gives the statistics when the host asks; the same tags each time. None by default. */
  readonly statistics?: () => BalloonStatistics;
  /** Gives free memory when the host asks for hints; none by default. It must stay free. */
  readonly freePages?: () => Iterable<DmaRegion>;
}

/** How to report memory. */
export interface BalloonReport extends WaitOptions {
  /**
   * Called exactly once for each region when it is the caller's again: the host returned it, the device
   * was reset, or the host never had it.
   */
  readonly onReturned?: (region: DmaRegion) => void;
}

type QueueName = typeof BALLOON_QUEUES[number]["name"];

/**
 * A memory balloon (virtio 1.4 §5.5): gives the guest's memory to the host, and takes it back.
 *
 * @example
 * ```ts
 * import type { Balloon } from "@vireo/drivers/balloon";
 *
 * // Gives the host 8 MiB of memory.
 * async function inflate(balloon: Balloon): Promise<number> {
 *   return await balloon.resize(2048, { deadline: 5000 });
 * }
 * ```
 */
export class Balloon extends QueueDriver {
  readonly #options: BalloonOptions;
  readonly #pages: Pages;
  readonly #tags: readonly number[];
  #queues!: ReadonlyMap<QueueName, RequestQueue>;
  #work: Promise<void> = Promise.resolve();
  /** Settles when the host has answered what an earlier caller gave up. */
  #answered: Promise<void> = Promise.resolve();
  /** Whether a change to the host's target waits for its turn. */
  #following = false;
  /** Ends the pauses when the device fails or is removed. */
  #life = new AbortController();
  /** Free memory that the host has now. */
  readonly #lent = new Set<DmaRegion>();
  readonly #sizes = new Condition({
    details: () => ({
      device: this.device.name,
      seen: `${this.size} pages`,
      expected: `${this.target} pages`,
    }),
  });
  #short = false;
  #size = 0;
  #hinted = 0;
  #hinting: Promise<void> | undefined;
  /** The last command that was answered. */
  #hintDone: number | undefined;

  /** Sets up a balloon; {@linkcode createBalloonDriver} gives it its options. */
  constructor(device: VirtioDevice, options: BalloonOptions = {}) {
    super(device, "Balloon");
    this.#options = options;
    this.#pages = new Pages(device.dma);
    const told = device.has(BalloonFeature.STATS_VQ) ? options.statistics?.() ?? {} : {};
    this.#tags = Object.keys(told).map(Number);
    this.setUp();
  }

  /** Pages of 4 KiB that the host wants the balloon to have. */
  get target(): number {
    return this.device.config.read32(BALLOON_CONFIG.num_pages.offset);
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
   * Gives the host pages until the balloon has so many, or takes them back. Pages that the host wants are
   * taken back only with DEFLATE_ON_OOM (virtio 1.4 §5.5.6.1).
   *
   * @returns The pages it has then; fewer than asked for if memory is short.
   * @throws {VireoError} `UNSUPPORTED` If the host wants the pages; `TIMEOUT`, or why the device failed.
   */
  async resize(pages: number, options: WaitOptions = {}): Promise<number> {
    let held = 0;
    await this.#serial(within(options), async (call, life) => {
      this.#checkWanted(pages);
      await this.#moveTo(pages, call, life);
      held = this.#pages.held;
    });
    return held;
  }

  /**
   * Waits until the balloon is as large as the host wants.
   *
   * @throws {VireoError} `TIMEOUT` If it is not within the deadline (10 s by default), for example
   * because memory is short; why the device failed.
   */
  async settled(options: WaitOptions = {}): Promise<void> {
    await this.#sizes.until("the balloon to reach its target", () => {
      if (this.failure !== undefined) throw this.failure;
      return this.size === this.target ? true : undefined;
    }, within(options, DEADLINE));
  }

  /**
   * The guest is out of memory: takes pages back though the host wants them (DEFLATE_ON_OOM).
   *
   * @returns How many it took back.
   * @throws {VireoError} `UNSUPPORTED` If that was not negotiated.
   */
  async release(pages: number = STEP, options: WaitOptions = {}): Promise<number> {
    if (!this.device.has(BalloonFeature.DEFLATE_ON_OOM)) {
      throw this.error("UNSUPPORTED", "Balloon must keep its pages: no DEFLATE_ON_OOM");
    }
    let taken = 0;
    await this.#serial(within(options), async (call, life) => {
      const before = this.#pages.held;
      await this.#moveTo(Math.max(0, before - pages), call, life);
      taken = before - this.#pages.held;
    });
    return taken;
  }

  /**
   * Reports memory that nobody uses (PAGE_REPORTING): its contents are lost, or the poison.
   *
   * @param regions Free memory, which must stay so until it is returned: when this ends well, or later, as
   * `onReturned` tells.
   * @throws {VireoError} `UNSUPPORTED` If that was not negotiated; `DEVICE_STATE` If the host has one of
   * the regions already; `TIMEOUT` or why the device failed.
   */
  async report(regions: readonly DmaRegion[], options: BalloonReport = {}): Promise<void> {
    const { onReturned } = options;
    let at = 0;
    try {
      const queue = this.#queues.get("reporting");
      if (queue === undefined) throw this.error("UNSUPPORTED", "Balloon takes no reports");
      if (new Set(regions).size < regions.length || regions.some((one) => this.#lent.has(one))) {
        throw this.error("DEVICE_STATE", "Cannot report memory: the host already has it");
      }
      const call = within(options, DEADLINE);
      while (at < regions.length) {
        const part = regions.slice(at, at += MAX_RANGES);
        await this.#lendFree(queue, part, call, onReturned);
      }
    } catch (error) {
      for (const region of regions.slice(at)) onReturned?.(region);
      throw error;
    }
  }

  /** The host's target or command may have changed. */
  configChanged(): void {
    this.#follow();
    if (this.#queues.has("free_page")) this.#hint();
  }

  /** Starts to follow the host's target. */
  override scan(): void {
    void this.#giveStatistics();
    this.configChanged();
  }

  /** Sets up an empty balloon again after a reset: the host has lost it. */
  override restore(): void | Promise<void> {
    this.#pages.clear();
    this.#hinting = undefined;
    this.#following = false;
    this.#life = new AbortController();
    const scanned = super.restore();
    this.#setActual();
    return scanned;
  }

  /** Takes all pages back, as Linux does, resets the device and frees its memory. */
  override async remove(): Promise<void> {
    if (this.failure === undefined) {
      const call = within({ deadline: 1000 });
      await this.#serial(call, (call, life) => this.#moveTo(0, call, life)).catch(() => {});
    }
    await super.remove();
    this.#pages.clear();
  }

  /** Rejects the callers that wait for a size. */
  protected override ended(error: Error): void {
    this.#life.abort(error);
    this.#sizes.fail(error);
  }

  get #poisoned(): boolean {
    return this.device.has(BalloonFeature.PAGE_POISON);
  }

  /** Opens the queues that were negotiated, and sets the poison. */
  protected override setUp(): void {
    // Linux and QEMU count only the queues that are there.
    const present = BALLOON_QUEUES.filter(({ feature }) =>
      feature === undefined || this.device.offered.has(feature)
    );
    const used = present.flatMap(({ name, feature }, index) =>
      feature === undefined || this.device.has(feature)
        ? [{ name, index, receives: name === "stats" }]
        : []
    );
    const queues = this.openQueues(...used);
    this.#queues = new Map(used.map(({ name }, i) => [name, queues[i]!]));
    if (this.#poisoned) {
      const value = this.#options.poison! * 0x01010101;
      this.device.config.write32(BALLOON_CONFIG.poison_val.offset, value >>> 0);
    }
  }

  /**
   * One change of size at a time; the wait for the others counts too. One that was asked for before a reset must
   * not run after it: it would take and give pages between those of the changes that a restore begins.
   */
  async #serial(
    call: Deadline,
    work: (call: Deadline, life: AbortSignal) => Promise<void>,
  ): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const { signal: life } = this.#life;
    const before = this.#work;
    const turn = Promise.withResolvers<void>();
    this.#work = turn.promise;
    try {
      const device = this.device.name;
      const what = "the balloon's earlier changes of size";
      await waitOn(before, { what, details: () => ({ device }) }, call);
      life.throwIfAborted();
      await work(call, life);
    } finally {
      // One that gave up does not let the next one pass those before it.
      void before.then(() => turn.resolve());
    }
  }

  /** Goes to the host's target, when the changes before are done; once, however often it is called. */
  #follow(): void {
    if (this.#options.follow === false || this.#following || this.failure !== undefined) return;
    this.#following = true;
    const begin = (call: Deadline, life: AbortSignal): Promise<void> => {
      this.#following = false;
      return this.#moveTo(this.target, call, life);
    };
    this.#serial(within({}), begin).then(async () => {
      if (!this.#short) return;
      // Memory that lacks now may be there soon.
      await pause(RETRY, this.#life.signal);
      this.#follow();
    }).catch(() => {});
  }

  /** @throws {VireoError} If the host wants the pages and did not agree that it may lose them. */
  #checkWanted(pages: number): void {
    if (pages >= Math.min(this.target, this.#pages.held)) return;
    if (this.device.has(BalloonFeature.DEFLATE_ON_OOM)) return;
    throw this.error("UNSUPPORTED", "Balloon must keep the pages that the host wants", {
      seen: `${pages} pages`,
      expected: `${this.target} pages at least, without DEFLATE_ON_OOM`,
    });
  }

  async #moveTo(target: number, call: Deadline, life: AbortSignal): Promise<void> {
    const device = this.device.name;
    const what = "the host to return the balloon's earlier pages";
    await waitOn(this.#answered, { what, details: () => ({ device }) }, within(call, DEADLINE));
    // A removal resolves it too: pages that are taken now would be freed by nobody.
    life.throwIfAborted();
    this.#short = false;
    while (this.#pages.held < target) {
      const taken = this.#pages.take(Math.min(STEP, target - this.#pages.held));
      if (taken.length === 0) {
        this.#short = true;
        break;
      }
      await this.#tell("inflate", taken, call, life, () => {});
    }
    while (this.#pages.held > target) {
      const last = this.#pages.last(Math.min(STEP, this.#pages.held - target));
      // Told first, used after (drv.balloon.operation.4), whether the host must be told or not.
      await this.#tell("deflate", last, call, life, () => {
        const fill = this.#poisoned ? this.#options.poison! * 0x01010101 >>> 0 : 0;
        this.#pages.give(last.length, fill);
      });
    }
    this.#sizes.notify();
  }

  /**
   * Tells the host of pages; `done` runs when it has answered, also after the caller gave up. Until then
   * the pages are neither the host's nor ours, and no other change begins.
   */
  async #tell(
    name: "inflate" | "deflate",
    pages: readonly number[],
    call: Deadline,
    life: AbortSignal,
    done: () => void,
  ): Promise<void> {
    const message = new Uint8Array(pages.length * 4);
    const view = new DataView(message.buffer);
    pages.forEach((page, i) => view.setUint32(i * 4, page, true));
    const answered = Promise.withResolvers<void>();
    this.#answered = answered.promise;
    const settle = (): void => {
      // The device may fail right after its answer: its reset empties the balloon, and during the next
      // initialization the configuration must not be written (drv.basic.init.2).
      if (life.aborted) return answered.resolve();
      done();
      this.#setActual();
      answered.resolve();
    };
    await this.ask(this.#queues.get(name)!, [message], 0, {
      ...within(call, DEADLINE),
      onFailed: (late) => {
        // Without an answer the pages are as they were, and only a reset empties the balloon.
        if (late === undefined) return answered.resolve();
        settle();
        this.#follow();
      },
    });
    settle();
    life.throwIfAborted();
  }

  #setActual(): void {
    this.#size = this.#pages.held;
    this.device.config.write32(BALLOON_CONFIG.actual.offset, this.#size);
    this.#sizes.notify();
  }

  /** The host answers by giving the buffer back: that is its way to ask for new ones. */
  async #giveStatistics(): Promise<void> {
    const queue = this.#queues.get("stats");
    if (queue === undefined) return;
    const { signal } = this.#life;
    try {
      for (;;) {
        await this.ask(queue, [this.#statistics()], 0);
        // A host that gives it back at once must not keep the event loop.
        await pause(STATISTICS_PAUSE, signal);
      }
    } catch {
      // The device failed or was removed: a restore begins again.
    }
  }

  /** The message of the statistics as they are now. */
  #statistics(): Uint8Array {
    const now = this.#options.statistics?.() ?? {};
    // A buffer has an entry at least, so that there is something to give back, and a length that is a
    // multiple of 6 (drv.balloon.stats.5), so that there are 3, 6 or 9 entries of 10 bytes.
    const count = Math.ceil(Math.max(this.#tags.length, 1) / STATISTICS_UNIT) * STATISTICS_UNIT;
    const message = new Uint8Array(count * BALLOON_STAT.SIZE);
    const view = new DataView(message.buffer);
    // Entries that only fill up have a tag that no host knows, and hosts ignore those (dev.balloon.stats.1).
    for (let i = this.#tags.length; i < count; i++) {
      view.setUint16(i * BALLOON_STAT.SIZE, 0xffff, true);
    }
    this.#tags.forEach((tag, i) => {
      const at = i * BALLOON_STAT.SIZE;
      const value = Math.max(0, Math.trunc(now[tag] ?? 0));
      view.setUint16(at, tag, true);
      setU64(view, at + BALLOON_STAT.val.offset, value);
    });
    return message;
  }

  /** Answers the host's command: hints while it wants them. A command that comes meanwhile is next. */
  #hint(): void {
    if (this.#hinting !== undefined || this.failure !== undefined) return;
    const id = this.#hintCommand;
    if (id === BalloonHint.STOP || id === BalloonHint.DONE || id === this.#hintDone) return;
    const round = this.#giveHints(id).catch(() => {}).then(() => {
      if (this.#hinting !== round) return;
      this.#hinting = undefined;
      this.#hintDone = id;
      this.#hint();
    });
    this.#hinting = round;
  }

  get #hintCommand(): number {
    return this.device.config.read32(BALLOON_CONFIG.free_page_hint_cmd_id.offset);
  }

  async #giveHints(id: number): Promise<void> {
    const queue = this.#queues.get("free_page")!;
    const command = async (value: number): Promise<void> => {
      const message = new Uint8Array(4);
      new DataView(message.buffer).setUint32(0, value, true);
      await this.ask(queue, [message], 0, { deadline: DEADLINE });
    };
    this.#hinted = 0;
    await command(id);
    for (const region of this.#options.freePages?.() ?? []) {
      // The host may have had enough.
      if (this.#hintCommand !== id) break;
      // It still has one that it did not return in time.
      if (this.#lent.has(region)) continue;
      await this.#lendFree(queue, [region], { deadline: DEADLINE });
      this.#hinted++;
    }
    await command(BalloonHint.STOP);
  }

  /** Lends free memory: what it holds is lost, unless it is the poison. */
  async #lendFree(
    queue: RequestQueue,
    regions: readonly DmaRegion[],
    limits: WaitOptions,
    onReturned?: (region: DmaRegion) => void,
  ): Promise<void> {
    for (const region of regions) {
      if (this.#poisoned) region.bytes.fill(this.#options.poison!);
      this.#lent.add(region);
    }
    const loans = regions.map((region): Loan => ({ region, direction: "both" }));
    await this.lend(queue, loans, {
      ...limits,
      onReturned: () => {
        for (const region of regions) {
          this.#lent.delete(region);
          onReturned?.(region);
        }
      },
    });
  }
}

/**
 * Makes a driver whose balloons have these options; what `probe` gives is a {@linkcode Balloon}.
 *
 * @throws {RangeError} If the poison is not a byte.
 *
 * @example
 * ```ts
 * import { createBalloonDriver } from "@vireo/drivers/balloon";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * // Every page that it gives to the host has this byte.
 * const driver = createBalloonDriver({ poison: 0xaa });
 * assertEquals(driver.name, "virtio_balloon");
 * assertThrows(() => createBalloonDriver({ poison: 300 }), RangeError);
 * ```
 */
export function createBalloonDriver(options: BalloonOptions = {}): VirtioDriver<Balloon> {
  const { poison } = options;
  if (poison !== undefined && !(Number.isInteger(poison) && poison >= 0 && poison <= 255)) {
    throw new RangeError(`Cannot poison pages with ${poison}: expected a byte, 0 to 255`);
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
