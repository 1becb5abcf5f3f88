/**
 * Ownership: a driver and a device on memory that bounces and keeps what was freed, with signals that
 * count their listeners. When a rig ends, all memory must be back, nobody may have written where he must
 * not, no listener may be left, and the machine's log must be empty.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type DeviceModel, EmulatedMachine, GuestMemory, type RingOptions } from "@vireo/emu";
import { type DmaOptions, type DmaRegion, FeatureSet, VireoError } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import type { VirtioDevice } from "../../drivers/device.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import type { WaitOptions } from "../../drivers/wait/mod.ts";
import { type BounceMistake, BouncingDma } from "../../drivers/testing/dma.ts";
import { type Lie, lyingMachine } from "./liar.ts";
import { turn } from "../turn.ts";

const HONEST: Lie = { name: "honest" };
// More than any use needs but one that lies without end: 16 MiB, which are cleared and collected, took half of the time.
const MEMORY = 4 << 20;
/** Why the device needs a reset, if it is the test that wants it. */
const INJECTED = "as the test wants";

/** Memory that bounces, of which an allocation may fail. */
class OwnedDma extends BouncingDma {
  /** How many allocations go well from now on. */
  left: number = Infinity;

  override alloc(size: number, options?: DmaOptions): DmaRegion {
    if (this.left-- <= 0) throw new VireoError("OUT_OF_MEMORY", "Over the test's limit");
    return super.alloc(size, options);
  }
}

/** Signals that count their listeners. */
class Signals {
  readonly #listeners = new Map<AbortSignal, Set<unknown>>();

  /** Listeners that are on any of them. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Makes one. */
  controller(): AbortController {
    const controller = new AbortController();
    const { signal } = controller;
    const { addEventListener: add, removeEventListener: remove } = signal;
    const own = new Set<unknown>();
    this.#listeners.set(signal, own);
    signal.addEventListener = ((...args: Parameters<typeof add>): void => {
      own.add(args[1]);
      add.apply(signal, args);
    }) as typeof add;
    signal.removeEventListener = ((...args: Parameters<typeof remove>): void => {
      own.delete(args[1]);
      remove.apply(signal, args);
    }) as typeof remove;
    return controller;
  }
}

/** How a rig is made. */
export interface RigOptions {
  readonly ring?: RingOptions;
  readonly without?: readonly number[];
  /** Allocations that go well. */
  readonly allocations?: number;
  /** How the device's registers lie. */
  readonly lie?: Lie;
  /** Names the lie's numbers. */
  readonly seed?: number;
  /** Whether the machine's log may have entries at the end, because the test makes the device lie. */
  readonly lies?: boolean;
  /** The bus; virtio-mmio by default. */
  readonly bus?: "mmio" | "pci";
  /** 1 for the legacy interface; 2 by default. */
  readonly version?: 1 | 2;
  /** Bytes of memory; 4 MiB by default. */
  readonly memory?: number;
}

/** A driver, its device, and all that watches them. */
export class Rig<T extends DriverInstance> implements AsyncDisposable {
  readonly dma: OwnedDma;
  readonly signals: Signals = new Signals();
  readonly errors: Error[] = [];
  /** Which mistakes with memory count; all of them by default. */
  mistaken: (mistake: BounceMistake) => boolean = () => true;
  /** Whether memory may be kept, because the device would not let go of it. */
  mayKeep = false;
  readonly bus: Bus;
  readonly machine: EmulatedMachine;
  readonly model: DeviceModel;
  device!: VirtioDevice;
  readonly #driver: VirtioDriver<T>;
  readonly #lies: boolean;
  readonly #ends: (() => void | Promise<void>)[] = [];
  #held: Set<number> | undefined;

  private constructor(driver: VirtioDriver<T>, model: DeviceModel, options: RigOptions) {
    const { ring = {}, without = [], allocations = Infinity, lies = false } = options;
    const { bus, version = 2 } = options;
    this.#driver = driver;
    this.#lies = lies;
    this.model = model;
    this.dma = new OwnedDma({ size: options.memory ?? MEMORY });
    this.dma.left = allocations;
    const { dma } = this;
    const memory = new GuestMemory(dma.memory.buffer, dma.base);
    this.machine = EmulatedMachine.create({
      devices: [{ model, version }],
      ...{ memory, dma, ring },
      ...(bus === undefined ? {} : { bus }),
    });
    this.bus = new Bus({
      filter: FeatureSet.of(...without),
      onError: (error) => this.errors.push(error),
    });
    const notify = model.notify.bind(model);
    model.notify = (queue) => {
      if (this.#held === undefined) notify(queue);
      else this.#held.add(queue);
    };
  }

  /** Binds the driver; {@linkcode Rig.device} tells whether that worked. */
  static async open<T extends DriverInstance>(
    driver: VirtioDriver<T>,
    model: DeviceModel,
    options: RigOptions = {},
  ): Promise<Rig<T>> {
    const rig = new Rig(driver, model, options);
    await rig.bus.registerDriver(driver);
    const { lie = HONEST, seed = 1 } = options;
    const platform = lyingMachine(rig.machine, lie, seed);
    [rig.device] = await rig.bus.addPlatform(platform) as [VirtioDevice];
    return rig;
  }

  /** Instance that the driver's probe returned. */
  get instance(): T {
    const { error } = this.device;
    if (error !== undefined) throw error;
    return this.bus.get(this.#driver)!;
  }

  /** Runs when the driver was taken off, for what belongs to a test. */
  atEnd(end: () => void | Promise<void>): void {
    this.#ends.push(end);
  }

  /** The device fails, and is recovered. */
  async fail(limits: WaitOptions): Promise<void> {
    const recovered = this.device.recovered(limits);
    this.machine.device(0).fault(INJECTED);
    // What it held is void.
    this.#held = undefined;
    await recovered;
  }

  /** The device takes nothing from its queues from now on: what the driver gives stays with it. */
  hold(): void {
    this.#held = new Set();
  }

  /** The device works again, on all that was given to it meanwhile. */
  release(): void {
    const held = this.#held ?? new Set();
    this.#held = undefined;
    for (const queue of held) this.model.notify(queue);
  }

  /** Takes the driver off and checks that nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.bus[Symbol.asyncDispose]();
    } catch (error) {
      // A device whose registers lie may be reported as left running.
      if (!this.#lies || !(error instanceof VireoError)) throw error;
    }
    for (const end of this.#ends.splice(0)) await end();
    await this.machine[Symbol.asyncDispose]();
    await turn();
    assertEquals({
      mistakes: this.dma.inspect().filter((mistake) => this.mistaken(mistake)),
      regions: this.mayKeep ? 0 : this.dma.live,
      listeners: this.signals.listeners,
      violations: this.#lies
        ? []
        : this.machine.violations().filter(({ reason }) => reason !== INJECTED),
    }, { mistakes: [], regions: 0, listeners: 0, violations: [] });
  }
}
