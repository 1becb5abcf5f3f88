import {
  BALLOON_CONFIG,
  BALLOON_PAGE_SIZE,
  BALLOON_QUEUES,
  BALLOON_STAT,
  BalloonFeature,
  BalloonHint,
  DeviceId,
  type FeatureNames,
  FeatureSet,
} from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  DeviceQueue,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";

/** Most statistics that are looked at. */
const MAX_STATISTICS = 64;
/** Bytes that are discarded at a time. */
const PIECE = 1 << 20;
/** Pages of the largest guest memory, 4 GiB, and bytes that each counts for. */
const MAX_PAGES = 2 ** 32 / BALLOON_PAGE_SIZE;
const PAGE_COST = 32;

interface Saved {
  readonly target: number;
  readonly config: readonly number[];
  readonly held: readonly number[];
  readonly values: readonly (readonly [number, number])[];
  readonly hints: readonly [last: number, command: number, driver: number];
}

/** Options of {@linkcode BalloonDevice}. */
export interface BalloonDeviceOptions {
  /** Pages of 4 KiB that it wants at first; 0 by default. */
  readonly target?: number;
  /** Feature bits not to offer. */
  readonly withhold?: readonly number[];
}

/**
 * The memory balloon (virtio 1.4 §5.5). Pages that the driver gives it are really discarded: they read
 * as zeroes, or as the poison.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { balloonDriver } from "@vireo/drivers/balloon";
 * import { BalloonDevice } from "@vireo/emu/balloon";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new BalloonDevice();
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(balloonDriver);
 * await bus.addPlatform(machine);
 * const balloon = bus.get(balloonDriver)!;
 * await balloon.resize(16);
 * // The host has pages of the guest, and gets its statistics.
 * assertEquals(device.actual, 16);
 * ```
 */
export class BalloonDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "balloon";
  /** Virtio device id 5. */
  readonly deviceId: number = DeviceId.BALLOON;
  /** Features that the options offer. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = BalloonFeature;
  /** The queues whose features are offered. */
  readonly queues: readonly QueueSpec[];
  /** Size of `struct virtio_balloon_config` in bytes. */
  readonly configSize: number = BALLOON_CONFIG.SIZE;
  /** The pages of the largest guest, and statistics. */
  readonly bounds: ModelUsage = { items: MAX_PAGES + MAX_STATISTICS, bytes: MAX_PAGES * PAGE_COST };
  /** Page numbers that it holds. */
  readonly held: Set<number> = new Set();
  /** Bytes that were reported as free, or hinted. */
  reported = 0;
  /** Pages that the driver deflated without having inflated them. */
  unknown = 0;
  readonly #names: readonly string[];
  readonly #config = new DataView(new ArrayBuffer(BALLOON_CONFIG.SIZE));
  #target: number;
  #attached: DeviceContext | undefined;
  #context: DeviceContext | undefined;
  /** The driver's buffer of statistics, until new ones are wanted. */
  #statistics: Chain | undefined;
  #values = new Map<number, number>();
  #wanted: ((values: ReadonlyMap<number, number>) => void)[] = [];
  /** The last id of a command for hints, the command in force, and the one that the driver follows. */
  #lastHint: number = BalloonHint.DONE;
  #hintCommand: number = BalloonHint.STOP;
  #driverCommand: number = BalloonHint.STOP;
  /** By queue: a chain that took more than a turn. */
  readonly #partial = new Map<number, Chain>();

  /** Makes the device. */
  constructor(options: BalloonDeviceOptions = {}) {
    this.features = FeatureSet.of(...Object.values(BalloonFeature))
      .without(...options.withhold ?? []);
    const present = BALLOON_QUEUES.filter(({ feature }) =>
      feature === undefined || this.features.has(feature)
    );
    this.#names = present.map(({ name }) => name);
    this.queues = present.map(({ name }) => ({
      name,
      maxSize: 128,
      keepsBuffers: name === "stats",
    }));
    this.#target = options.target ?? 0;
    this.#setUp();
  }

  /** Pages that it wants. */
  get target(): number {
    return this.#target;
  }

  /** Asks the driver for so many pages. */
  set target(pages: number) {
    this.#target = pages;
    this.#config.setUint32(BALLOON_CONFIG.num_pages.offset, pages, true);
    this.#attached?.configChanged();
  }

  /** Pages that the driver says it gave. */
  get actual(): number {
    return this.#config.getUint32(BALLOON_CONFIG.actual.offset, true);
  }

  /** The statistics that were told last, by tag. */
  get values(): ReadonlyMap<number, number> {
    return this.#values;
  }

  /** Asks for new statistics; resolves when the driver told them. */
  refresh(): Promise<ReadonlyMap<number, number>> {
    return new Promise((resolve) => {
      this.#wanted.push(resolve);
      this.#askForStatistics();
    });
  }

  /** Asks for hints of free pages. */
  startHinting(): void {
    // 0 and 1 are STOP and DONE.
    this.#lastHint = Math.max((this.#lastHint + 1) >>> 0, BalloonHint.DONE + 1);
    this.#setHint(this.#lastHint);
  }

  /** Has no use for hints any more: the driver may use its pages again. */
  finishHinting(): void {
    this.#setHint(BalloonHint.DONE);
  }

  /** Whether the driver gives hints now. */
  get hinting(): boolean {
    return this.#hintCommand > BalloonHint.DONE && this.#driverCommand === this.#hintCommand;
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** Takes `actual` and `poison_val`; the rest is the device's. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      const { actual, poison_val: poisonValue } = BALLOON_CONFIG;
      const mine = [actual, poisonValue].some((f) => at >= f.offset && at < f.offset + f.size);
      if (mine) this.#config.setUint8(at, value >>> 8 * i & 0xff);
    }
  }

  /** Keeps the way to report a new target. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const name = this.#names[index]!;
    const { work } = this.#context!;
    for (;;) {
      const partial = this.#partial.get(index);
      const chain = partial ?? work.take(queue);
      if (chain === undefined) break;
      this.#partial.delete(index);
      const done = this.#serve(chain, name, partial === undefined);
      if (done === undefined) return;
      if (!done) {
        // Too much for a turn: the chain's own cursor says where to go on.
        this.#partial.set(index, chain);
        work.again(index);
        break;
      }
      // The buffer of statistics stays until new ones are wanted.
      if (name !== "stats") queue.push(chain, 0);
    }
    queue.signal();
  }

  /** The driver gave one queue up. */
  resetQueue(index: number): void {
    this.#partial.delete(index);
    if (this.#names[index] === "stats") this.#statistics = undefined;
  }

  /** All pages are the driver's again. */
  reset(): void {
    this.#context = undefined;
    this.#statistics = undefined;
    this.#partial.clear();
    this.held.clear();
    this.#setUp();
  }

  /** Pages that it holds, and statistics. */
  usage(): ModelUsage {
    return { items: this.held.size + this.#values.size, bytes: this.held.size * PAGE_COST };
  }

  /** Target, configuration, pages and statistics. */
  snapshot(): unknown {
    return {
      target: this.#target,
      config: [...new Uint8Array(this.#config.buffer)],
      held: [...this.held],
      values: [...this.#values],
      hints: [this.#lastHint, this.#hintCommand, this.#driverCommand],
    };
  }

  /** Takes the state back. */
  restore(state: unknown): void {
    const { target, config, held, values, hints } = state as Saved;
    this.#target = target;
    new Uint8Array(this.#config.buffer).set(config);
    this.held.clear();
    for (const page of held) this.held.add(page);
    this.#values = new Map(values);
    [this.#lastHint, this.#hintCommand, this.#driverCommand] = hints;
  }

  /** Frees nothing. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #setUp(): void {
    new Uint8Array(this.#config.buffer).fill(0);
    this.#hintCommand = this.#driverCommand = BalloonHint.STOP;
    this.#config.setUint32(BALLOON_CONFIG.num_pages.offset, this.#target, true);
  }

  #setHint(id: number): void {
    this.#hintCommand = id;
    this.#config.setUint32(BALLOON_CONFIG.free_page_hint_cmd_id.offset, id, true);
    this.#attached?.configChanged();
  }

  /** Contents of discarded memory. */
  get #poison(): number {
    const poisoned = this.#context?.features.has(BalloonFeature.PAGE_POISON);
    return poisoned ? this.#config.getUint32(BALLOON_CONFIG.poison_val.offset, true) : 0;
  }

  /** Serves a chain, or a part of it: true if it is done, false if there is more to do, undefined after a fault. */
  #serve(chain: Chain, name: string, fresh: boolean): boolean | undefined {
    switch (name) {
      case "inflate":
      case "deflate":
        return this.#takePages(chain, name);
      case "stats":
        return this.#takeStatistics(chain);
      case "free_page":
        return this.#takeHint(chain, fresh);
      default:
        return this.#discard(chain, fresh);
    }
  }

  #takePages(chain: Chain, name: "inflate" | "deflate"): boolean | undefined {
    const { work } = this.#context!;
    if (chain.readableLength === 0 || chain.readableLength % 4 !== 0) {
      return this.#fault(
        `${name} request of ${chain.readableLength} bytes, expected a multiple of 4`,
      );
    }
    while (chain.readableLeft > 0) {
      if (work.exhausted) return false;
      const page = chain.readU32();
      work.spend(1, name === "inflate" ? BALLOON_PAGE_SIZE : 0);
      if (name === "deflate") {
        if (!this.held.delete(page)) this.unknown++;
        continue;
      }
      const bytes = this.#context?.memory(page * BALLOON_PAGE_SIZE, BALLOON_PAGE_SIZE);
      if (bytes === undefined) return this.#fault(`inflates page ${page}, which is not memory`);
      bytes.fill(0);
      this.held.add(page);
    }
    return true;
  }

  /** Reported or hinted memory: its contents are nobody's. */
  #discard(chain: Chain, fresh: boolean): boolean {
    const { work } = this.#context!;
    const poison = this.#poison;
    if (fresh) this.reported += chain.writableLength;
    const piece = poison === 0 ? undefined : new Uint8Array(
      new Uint32Array(Math.ceil(Math.min(PIECE, chain.writableLeft) / 4)).fill(poison).buffer,
    );
    while (chain.writableLeft > 0) {
      if (work.exhausted) return false;
      work.spend(1);
      if (piece === undefined) chain.writeZeroes(PIECE);
      else chain.write(piece);
    }
    return true;
  }

  #takeHint(chain: Chain, fresh: boolean): boolean | undefined {
    if (chain.readableLength === 0) {
      // dev.balloon.free-page-hint.3 and .4: only those of the current command count, and none after DONE.
      return this.hinting ? this.#discard(chain, fresh) : true;
    }
    if (chain.readableLength !== 4) {
      const reason = `hint command of ${chain.readableLength} bytes, expected 4`;
      return this.#fault(reason, "drv.balloon.free-page-hint.1");
    }
    this.#driverCommand = chain.readU32();
    return true;
  }

  #takeStatistics(chain: Chain): true | undefined {
    // dev.balloon.stats: one buffer is the device's at any time.
    if (this.#statistics !== undefined) {
      return this.#fault("a second buffer of statistics", "drv.balloon.stats.1");
    }
    const values = new Map<number, number>();
    const count = Math.min(Math.floor(chain.readableLength / BALLOON_STAT.SIZE), MAX_STATISTICS);
    for (let i = 0; i < count; i++) {
      const tag = chain.readU16();
      const value = chain.readU64();
      if (tag !== 0xffff) values.set(tag, value);
    }
    this.#statistics = chain;
    const first = this.#values.size === 0 && this.#wanted.length === 0;
    this.#values = values;
    if (!first) { for (const resolve of this.#wanted.splice(0)) resolve(values); }
    return true;
  }

  #askForStatistics(): void {
    const index = this.#names.indexOf("stats");
    const queue: DeviceQueue | undefined = this.#context?.queue(index);
    const chain = this.#statistics;
    if (queue === undefined || chain === undefined) return;
    this.#statistics = undefined;
    queue.push(chain, 0);
    queue.signal();
  }

  #fault(reason: string, rule?: string): undefined {
    this.#context?.fault(`balloon: ${reason}`, rule);
    return undefined;
  }
}
