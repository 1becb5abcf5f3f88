import { setImmediate } from "node:timers";
import {
  type DeviceNode,
  type Dma,
  type DmaAccess,
  type DmaOptions,
  type DmaRegion,
  type Interrupt,
  type InterruptWait,
  type MemoryWindow,
  type Mmio,
  type MmioNode,
  type PciBar,
  type PciLease,
  type PciMessage,
  type PciNode,
  type Platform,
  VireoError,
  type VireoErrorCode,
} from "@vireo/hal";
import { TracedDma } from "../trace/traced_dma.ts";
import type { Ring } from "../virtqueue/create_ring.ts";
import type { RingObserver, RingPlace } from "../virtqueue/observer.ts";
import { type PlayedRecord, RecordQueue } from "./_record_queue.ts";
import { ReplayedRing } from "./_replayed_ring.ts";
import { noRescan } from "./_rescan.ts";
import { metaText, type Step, type StepNames, stepOf, stepText } from "./_steps.ts";
import { type HostStep, RecordKind, RecordReader } from "./format.ts";

/** The first step at which the driver did something else than in the recording. */
export interface Divergence {
  /** Number of the step, from 1. */
  readonly step: number;
  /** The driver's step in the recording. */
  readonly recorded: string;
  /** The driver's step now. */
  readonly now: string;
  /** Whether the recording is cut there: then it is no fault of the driver. */
  readonly cut: boolean;
  /** Whether it is cut because what follows there is no record. */
  readonly damaged?: boolean;
}

/** A dispatch loop that waits for an interrupt. */
interface Waiter {
  readonly options: InterruptWait;
  resolve(): void;
  reject(reason: unknown): void;
}

/** A node, as a META record has it. */
interface Opened {
  readonly polled?: boolean;
  readonly window: number;
  readonly source?: number;
  readonly bars: readonly PciBar[];
  readonly config: { readonly name: string; readonly size: number };
}

/** Kinds of records that no driver makes: they apply at once. */
const DEVICE_KINDS: ReadonlySet<number> = new Set([
  RecordKind.MEMORY,
  RecordKind.DIAGNOSIS,
  RecordKind.HOST,
]);

/** A step that the driver takes. */
export interface TakenStep {
  /** Name of the node that it is about. */
  readonly node: string;
  /** Kind of its record. */
  readonly kind: number;
  /** Whether a record is of this step, where the kind is. */
  same(record: PlayedRecord): boolean;
  /** The step, for a message. */
  now(): Step;
}

/**
 * The device side of a recording, played to a driver: reads give what they gave, memory changes before the step
 * before which it changed, interrupts come where they came. It needs no device. A bus must have it as its `rings`.
 *
 * The steps of one device must come in the order of then; those of different devices may change places, as programs that
 * do several things at once change them. From the first step at which the driver does something else the device is dead:
 * registers read 0, nothing comes back, and {@linkcode Replay.onDiverged} hears of it.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { Recorder, Replay } from "@vireo/drivers/record";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { type Platform } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * async function read(platform: Platform, rings: Recorder | Replay): Promise<Uint8Array> {
 *   await using bus = new Bus({ rings });
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(platform);
 *   return await bus.get(rngDriver)!.read(4);
 * }
 *
 * const parts: number[] = [];
 * const device = new RngDevice({ random: seededRandom(1) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * const recorder = new Recorder(machine, (bytes) => parts.push(...bytes));
 * const then = await read(recorder, recorder);
 * recorder.close();
 * // The same driver, without the device.
 * const replay = new Replay(Uint8Array.from(parts));
 * assertEquals(await read(replay, replay), then);
 * assertEquals(replay.end(), undefined);
 * ```
 */
export class Replay implements Platform, RingObserver {
  /** Name of the platform that was recorded. */
  readonly name: string;
  /** Memory, at the addresses of then. */
  readonly dma: Dma;
  /** Data of the program that made the recording. */
  readonly program: unknown;
  /** Told when the replay diverges or is cut; it should fail what waits for devices. */
  onDiverged: ((error: VireoError) => void) | undefined;
  /** Told that {@linkcode Replay.hostSteps} has more. */
  onHost: (() => void) | undefined;
  /** Steps at the host's end of a port that are due; the player of that end takes them from the front. */
  readonly hostSteps: HostStep[] = [];
  readonly #nodes: readonly Readonly<Record<string, unknown>>[];
  readonly #memory: TracedDma;
  readonly #records: RecordQueue;
  readonly #names: StepNames;
  readonly #windows: { readonly name: string; readonly mmio: boolean }[] = [];
  readonly #ringNames: string[] = [];
  readonly #waiters = new Map<number, Waiter>();
  /** Interrupts that are due, whose loop does not wait yet. */
  readonly #due = new Map<number, number>();
  readonly #diagnoses = new Map<string, VireoError>();
  #step = 0;
  #diverged: Divergence | undefined;
  #delivering = false;
  #cutSeen = false;
  #finished = false;

  /**
   * Opens a recording.
   *
   * @throws {VireoError} `BAD_MESSAGE` If it is no recording, or one of another version.
   */
  constructor(bytes: Uint8Array) {
    const reader = new RecordReader(bytes);
    const { platform, access, program, nodes } = reader.header;
    this.name = platform;
    this.program = program;
    this.#nodes = nodes;
    this.#records = new RecordQueue(reader);
    const alloc = (size: number, options?: DmaOptions) => this.#alloc(size, options);
    this.#memory = new TracedDma({ access: access as DmaAccess | undefined, alloc });
    this.dma = this.#memory;
    this.#names = {
      window: (id) => this.#windows[id] ?? { name: `window ${id}`, mmio: false },
      ringName: (id) => this.#ringNames[id] ?? `ring ${id}`,
    };
    this.settle();
  }

  /** Steps that the driver took. */
  get steps(): number {
    return this.#step;
  }

  /** The first step at which the driver did something else. */
  get diverged(): Divergence | undefined {
    return this.#diverged;
  }

  /**
   * Ends the replay: the driver takes no more steps.
   *
   * @returns The first step at which it did something else, or which it left out.
   */
  end(): Divergence | undefined {
    this.#finished = true;
    for (let record = this.#front(); record !== undefined; record = this.#front()) {
      if (this.#diverged !== undefined) break;
      // Interrupts that nobody waited for are no steps.
      if (record.kind === RecordKind.LOOK || record.kind === RecordKind.INTERRUPT) {
        record.done = true;
      } else this.#diverged = { ...this.#recorded(record), now: "end", cut: false };
    }
    return this.#diverged;
  }

  /** The nodes of then. */
  nodes(): readonly DeviceNode[] {
    return this.#nodes.map((data) => {
      const node = data as unknown as MmioNode | PciNode;
      return node.kind === "mmio"
        ? { ...node, open: () => this.#openMmio(node) }
        : { ...node, open: () => this.#openPci(node.name) };
    });
  }

  /** Refuses, as it was refused in the recording. @throws {VireoError} `UNSUPPORTED` Always. */
  rescan(): never {
    throw noRescan(this.name);
  }

  /** There is none: it was not recorded. */
  openMemory(address: number): MemoryWindow {
    throw new VireoError("BAD_ACCESS", "Cannot open shared memory: a recording has none", {
      seen: address,
      base: 16,
    });
  }

  /** Repeats the machine's diagnosis. */
  diagnose(node: string): VireoError | undefined {
    return this.#diagnoses.get(node);
  }

  /** A ring whose steps are compared with the recording. */
  ring(ring: Ring, { slot }: RingPlace): Ring {
    if (this.#diverged !== undefined) return ring;
    const { index, name, size } = ring;
    const { ring: id } = this.#meta({ op: "ring", slot, queue: index, name, size });
    this.#ringNames[id as number] = `${slot} '${name}'`;
    return new ReplayedRing(ring, { replay: this, id: id as number, node: slot });
  }

  /** The driver's view of what the device sees at an address. */
  find(address: number, length: number): Uint8Array | undefined {
    return this.#memory.find(address, length);
  }

  /**
   * Finds the record of a step that the driver takes, and has it played.
   *
   * @returns Undefined if the driver did something else then: rings and registers must not throw, so the device is dead
   * from now on.
   */
  take(step: TakenStep): PlayedRecord | undefined {
    const record = this.#match(step);
    if (record === undefined) return undefined;
    record.done = true;
    this.#step++;
    return record;
  }

  /** Applies what the device did up to the driver's next step. */
  settle(): void {
    const front = this.#front();
    if (front?.kind === RecordKind.INTERRUPT) this.#deliverLater(front);
    if (front === undefined && this.#records.cut) this.#cut();
  }

  /**
   * The driver looks for a used buffer: that is a step only where the recording has it next.
   *
   * @returns What it sees.
   */
  look(node: string, ring: number, see: () => boolean): boolean {
    if (this.#diverged !== undefined) return false;
    const next = this.#records.find(node, ({ kind }) => !DEVICE_KINDS.has(kind));
    if (next?.kind !== RecordKind.LOOK || next.a !== ring) return see();
    for (let record = this.#records.find(node)!; record !== next;) {
      this.#apply(record);
      record = this.#records.find(node)!;
    }
    next.done = true;
    this.#step++;
    const used = see();
    this.settle();
    return used;
  }

  /** Ends the replay. */
  [Symbol.asyncDispose](): Promise<void> {
    this.end();
    return Promise.resolve();
  }

  /** The record of a step, after what the device did before it. */
  #match({ node, kind, same, now }: TakenStep): PlayedRecord | undefined {
    if (this.#diverged !== undefined) return undefined;
    const such = kind === RecordKind.ALLOC ? same : undefined;
    for (;;) {
      const record = this.#records.find(node, such);
      if (record?.kind === kind && same(record)) return record;
      // Looks without an answer and interrupts that a loop is about to get do not hold the driver up.
      if (record !== undefined && this.#passes(record, kind)) continue;
      const recorded = record === undefined
        ? {
          step: this.#step + 1,
          recorded: this.#records.cut ? `the recording is ${this.#cutText} here` : "end",
        }
        : this.#recorded(record);
      const cut = record === undefined && this.#records.cut;
      this.#diverge({ ...recorded, now: stepText(now(), this.#names), cut });
      return undefined;
    }
  }

  #passes(record: PlayedRecord, kind: number): boolean {
    if (record.kind === kind) return false;
    switch (record.kind) {
      case RecordKind.LOOK:
        record.done = true;
        return true;
      case RecordKind.MEMORY:
      case RecordKind.DIAGNOSIS:
        this.#apply(record);
        return true;
      case RecordKind.INTERRUPT:
        if (this.#waiters.has(record.a)) this.#deliver(record);
        else {
          this.#due.set(record.a, (this.#due.get(record.a) ?? 0) + 1);
          record.done = true;
        }
        return true;
      default:
        return false;
    }
  }

  #recorded(record: PlayedRecord): { readonly step: number; readonly recorded: string } {
    return { step: this.#step + 1, recorded: stepText(stepOf(record), this.#names) };
  }

  get #cutText(): string {
    return this.#records.damaged ? "damaged" : "cut";
  }

  #diverge(divergence: Divergence): void {
    const { damaged } = this.#records;
    this.#diverged = divergence.cut && damaged ? { ...divergence, damaged } : divergence;
    // The device answers no waiter any more.
    queueMicrotask(() => this.onDiverged?.(this.#failure()));
  }

  /** The divergence as an error, for what cannot go on. */
  #failure(): VireoError {
    const { step, recorded, now, cut } = this.#diverged!;
    if (cut) {
      const after = `after step ${step - 1}`;
      return new VireoError("REPLAY_DIVERGED", `The recording is ${this.#cutText} ${after}`);
    }
    return new VireoError("REPLAY_DIVERGED", `The driver does something else at step ${step}`, {
      seen: `'${now}'`,
      expected: `'${recorded}' as in the recording`,
    });
  }

  /** Nothing comes after a cut, whatever the driver waits for. */
  #cut(): void {
    if (this.#cutSeen) return;
    this.#cutSeen = true;
    setImmediate(() => {
      if (this.#diverged !== undefined || this.#finished) return;
      const recorded = `the recording is ${this.#cutText} here`;
      this.#diverge({ step: this.#step + 1, recorded, now: "wait", cut: true });
    });
  }

  /** The next record that a driver, or its wait for an interrupt, has to take; memory before it changes. */
  #front(): PlayedRecord | undefined {
    for (;;) {
      const record = this.#records.front();
      if (record === undefined || !DEVICE_KINDS.has(record.kind)) return record;
      this.#apply(record);
    }
  }

  #apply(record: PlayedRecord): void {
    record.done = true;
    if (record.kind === RecordKind.MEMORY) {
      this.#memory.find(record.b, record.bytes.length)?.set(record.bytes);
      return;
    }
    if (record.kind === RecordKind.HOST) {
      this.hostSteps.push({ kind: record.a, bytes: record.bytes });
      this.onHost?.();
      return;
    }
    const { node, code, message } = record.json() as { [K in "node" | "code" | "message"]: string };
    if (message === null) this.#diagnoses.delete(node);
    else this.#diagnoses.set(node, new VireoError(code as VireoErrorCode, message));
  }

  /** An interrupt comes when the driver is done with what it does now. */
  #deliverLater(record: PlayedRecord): void {
    if (this.#delivering || this.#diverged !== undefined || !this.#waiters.has(record.a)) return;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      if (!record.done && this.#waiters.has(record.a)) this.#deliver(record);
    });
  }

  #deliver(record: PlayedRecord): void {
    const { a: source, b: by } = record;
    const waiter = this.#waiters.get(source)!;
    this.#waiters.delete(source);
    record.done = true;
    this.settle();
    const { ready, readyInMemory = ready, serve } = waiter.options;
    try {
      // The reads of the poll are steps.
      if (by === 1) readyInMemory();
      if (by === 2) ready();
      serve?.();
    } catch (error) {
      return waiter.reject(error);
    }
    waiter.resolve();
  }

  #interrupt(polled: boolean, source: number): Interrupt {
    const wait = (options: InterruptWait): Promise<void> => {
      const { signal } = options;
      if (signal.aborted) return Promise.reject(signal.reason);
      const due = this.#due.get(source) ?? 0;
      if (due > 0) {
        this.#due.set(source, due - 1);
        return Promise.resolve();
      }
      return new Promise((resolve, reject) => {
        const gone = (): void => {
          this.#waiters.delete(source);
          reject(signal.reason);
        };
        signal.addEventListener("abort", gone, { once: true });
        const done = <T>(end: (value: T) => void) => (value: T): void => {
          signal.removeEventListener("abort", gone);
          end(value);
        };
        this.#waiters.set(source, {
          options,
          resolve: done<void>(resolve),
          reject: done<unknown>(reject),
        });
        this.settle();
      });
    };
    return { polled, wait };
  }

  /** A step that a META record describes. */
  #meta(now: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const text = metaText(now);
    const kind = RecordKind.META;
    const record = this.take({
      node: String(now["node"] ?? now["slot"]),
      kind,
      same: (record) => metaText(record.json()) === text,
      now: () => ({ kind, a: 0, b: 0, c: 0, text }),
    });
    if (record === undefined) throw this.#failure();
    this.settle();
    return record.json();
  }

  #openMmio({ name: node, size }: MmioNode): ReturnType<MmioNode["open"]> {
    const opened = this.#meta({ op: "open", node }) as unknown as Opened;
    return {
      mmio: this.#window(node, { name: node, size, id: opened.window, mmio: true }),
      interrupt: this.#interrupt(opened.polled === true, opened.source!),
      [Symbol.dispose]: () => {},
    };
  }

  #openPci(node: string): PciLease {
    const opened = this.#meta({ op: "open", node }) as unknown as Opened;
    const { window: id, source, polled, config, bars } = opened;
    return {
      config: this.#window(node, { ...config, id, mmio: false }),
      bars,
      line: source === undefined ? undefined : this.#interrupt(polled === true, source),
      messages: (count) => {
        const { given } = this.#meta({ op: "messages", node, count }) as {
          given:
            | readonly { address: number; data: number; polled: boolean; source: number }[]
            | null;
        };
        return given?.map(({ address, data, polled, source }): PciMessage => {
          return { address, data, interrupt: this.#interrupt(polled, source) };
        });
      },
      openBar: (index) => {
        const { name, size, window } = this.#meta({ op: "bar", node, index }) as {
          name: string;
          size: number;
          window: number;
        };
        return this.#window(node, { name, size, id: window, mmio: false });
      },
      [Symbol.dispose]: () => {},
    };
  }

  #window(
    node: string,
    { name, size, id, mmio }: {
      readonly name: string;
      readonly size: number;
      readonly id: number;
      readonly mmio: boolean;
    },
  ): Mmio {
    this.#windows[id] = { name, mmio };
    const access = (kind: number, offset: number, value?: number): number => {
      const record = this.take({
        node,
        kind,
        same: ({ a, b, c }) => a === id && b === offset && (value === undefined || c === value),
        now: () => ({ kind, a: id, b: offset, c: value ?? 0 }),
      });
      if (record === undefined) return 0;
      this.settle();
      return record.c;
    };
    return {
      name,
      size,
      read8: (offset) => access(RecordKind.READ8, offset),
      read16: (offset) => access(RecordKind.READ16, offset),
      read32: (offset) => access(RecordKind.READ32, offset),
      write8: (offset, value) => void access(RecordKind.WRITE8, offset, value >>> 0),
      write16: (offset, value) => void access(RecordKind.WRITE16, offset, value >>> 0),
      write32: (offset, value) => void access(RecordKind.WRITE32, offset, value >>> 0),
    };
  }

  #alloc(size: number, options?: DmaOptions): DmaRegion {
    const align = options?.align ?? 16;
    const kind = RecordKind.ALLOC;
    const record = this.take({
      node: "",
      kind,
      same: ({ kind: found, a, b }) => found === kind && a === size && b === align,
      now: () => ({ kind, a: size, b: align, c: 0 }),
    });
    if (record === undefined) throw this.#failure();
    if (record.c === 0) {
      this.settle();
      throw new VireoError("OUT_OF_MEMORY", "The machine had no room left then", { seen: size });
    }
    const address = record.c - 1;
    // The device writes to it after it is there.
    queueMicrotask(() => this.settle());
    return {
      address,
      bytes: new Uint8Array(size),
      share: (offset) => address + offset,
      unshare: () => {},
      [Symbol.dispose]: () => {},
    };
  }
}
