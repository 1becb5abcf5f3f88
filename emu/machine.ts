import {
  type Dma,
  type Interrupt,
  type InterruptWait,
  type MemoryWindow,
  type MmioLease,
  type MmioNode,
  type Platform,
  type TraceSink,
  VireoError,
} from "@vireo/hal";
import type { DeviceModel } from "./device.ts";
import type { DeviceState, Violation } from "./device_state.ts";
import { HostedDevice } from "./hosted_device.ts";
import { EmuDma, GuestMemory } from "./memory.ts";
import { type MappedRegion, MmioDevice, type SelectorState, SLOT_SIZE } from "./mmio_device.ts";
import type { RingOptions, TransportOffer } from "./offer.ts";

/** Where the first slot is, as on QEMU's aarch64 virt board. */
const SLOT_BASE = 0x0a00_0000;
/** Interrupt number of the first slot, as there. */
const FIRST_IRQ = 48;
const MIN_SLOTS = 8;
const DEFAULT_MEMORY = 64 * 1024 * 1024;
const PAGE = 4096;

/** A device of a machine. */
export interface MachineDevice {
  /** The device model. */
  readonly model: DeviceModel;
  /** Version of the register interface: 1 (legacy) or 2; 2 by default. */
  readonly version?: 1 | 2;
  /** An upper bound for its queue sizes. */
  readonly queueSize?: number;
  /** Ring and transport features that it offers. */
  readonly offer?: TransportOffer;
  /** What its rings can do, over the machine's `ring` and over `offer` and `queueSize`. */
  readonly ring?: RingOptions;
}

/** What an {@linkcode EmulatedMachine} is made of. */
export interface MachineOptions {
  /** The devices; device n is in slot n. */
  readonly devices: readonly (DeviceModel | MachineDevice)[];
  /** Guest RAM in bytes, a multiple of 4096; 64 MiB by default. */
  readonly memorySize?: number;
  /** Number of slots; 8 or as many as devices by default. The rest is empty. */
  readonly slots?: number;
  /** What the rings of all devices can do, unless a device says otherwise. */
  readonly ring?: RingOptions;
  /** Uses a SharedArrayBuffer for RAM. */
  readonly shared?: boolean;
  /** Memory to use instead of new one, as when a machine takes over from another. */
  readonly memory?: GuestMemory;
  /** Hands out that memory; one that hands out all of it by default. */
  readonly dma?: Dma;
  /** Told of every register access. */
  readonly trace?: TraceSink;
  /** Runs models in a microtask after a notification instead of inside it. */
  readonly deferNotify?: boolean;
  /** Told of the slot whose interrupt line rose, for machines that pass it on. */
  readonly lineRaised?: (slot: number) => void;
}

/** State of a machine as plain data, and its memory if it was asked for. */
export interface MachineState {
  /** The devices by slot; null for an empty one. */
  readonly devices: readonly (DeviceState | null)[];
  /** The selector registers by slot. */
  readonly selectors: readonly SelectorState[];
  /** Guest RAM, if it was asked for. */
  readonly memory?: Uint8Array;
}

/** A machine of emulated devices in this process, as drivers see it. */
export class EmulatedMachine implements Platform {
  /** The target string that made it. */
  readonly name = "emu";
  /** Guest RAM. */
  readonly memory: GuestMemory;
  /** Hands out guest RAM. */
  readonly dma: Dma;
  /** The slots with their devices. */
  readonly slots: readonly MmioDevice[];
  readonly #lines: EmuInterrupt[] = [];
  readonly #windows: { readonly address: number; readonly bytes: Uint8Array }[] = [];
  #windowEnd: number;

  private constructor(options: MachineOptions) {
    const size = options.memorySize ?? DEFAULT_MEMORY;
    this.memory = options.memory ??
      new GuestMemory(options.shared ? new SharedArrayBuffer(size) : size);
    this.dma = options.dma ?? new EmuDma(this.memory);
    this.#windowEnd = this.memory.base + this.memory.size;
    const count = Math.max(options.slots ?? MIN_SLOTS, options.devices.length);
    this.slots = Array.from({ length: count }, (_, i) => this.#makeSlot(i, options));
  }

  /** Makes a machine. */
  static create(options: MachineOptions): EmulatedMachine {
    return new EmulatedMachine(options);
  }

  /** The device in a slot. @throws {RangeError} If the slot is empty. */
  device(slot: number): HostedDevice {
    const device = this.slots[slot]?.device;
    if (device === undefined) throw new RangeError(`Cannot find a device in slot ${slot}`);
    return device;
  }

  /** What drivers did wrong, by slot. */
  violations(): readonly (Violation & { readonly slot: string })[] {
    return this.slots.flatMap((slot) =>
      (slot.device?.log ?? []).map((entry) => ({ slot: slot.name, ...entry }))
    );
  }

  /** The slots, lowest address first. */
  nodes(): readonly MmioNode[] {
    return this.slots.map((slot, i) => ({
      kind: "mmio",
      name: slot.name,
      base: SLOT_BASE + i * SLOT_SIZE,
      size: SLOT_SIZE,
      irq: FIRST_IRQ + i,
      open: (): MmioLease => ({
        mmio: slot,
        interrupt: this.#lines[i]!,
        [Symbol.dispose]() {},
      }),
    }));
  }

  /**
   * Opens a range of guest RAM or of a device's shared memory.
   *
   * @throws {VireoError} `BAD_ACCESS` If it is neither.
   */
  openMemory(address: number, length: number): MemoryWindow {
    if (this.memory.contains(address, length)) {
      const at = address - this.memory.base;
      return window(this.memory.bytes.subarray(at, at + length));
    }
    for (const region of this.#windows) {
      const at = address - region.address;
      if (at >= 0 && at + length <= region.bytes.length) {
        return window(region.bytes.subarray(at, at + length));
      }
    }
    throw new VireoError("BAD_ACCESS", "No memory of this machine", {
      device: this.name,
      seen: address,
      expected: "guest RAM or a device's shared memory",
    });
  }

  /** The state of all devices; with `memory`, guest RAM too. */
  snapshot(options: { readonly memory?: boolean } = {}): MachineState {
    const devices = this.slots.map((slot) => slot.device?.snapshot() ?? null);
    const selectors = this.slots.map((slot) => slot.snapshot());
    const state = { devices, selectors };
    return options.memory ? { ...state, memory: this.memory.bytes.slice() } : state;
  }

  /**
   * Takes a state over from a machine with the same devices.
   *
   * @throws {RangeError} If slots or memory are different.
   */
  restore(state: MachineState): void {
    if (state.devices.length !== this.slots.length) {
      throw new RangeError(
        `Cannot restore ${state.devices.length} slots to a machine with ${this.slots.length}`,
      );
    }
    this.slots.forEach((slot, i) => {
      if ((state.devices[i] === null) === (slot.device === undefined)) return;
      throw new RangeError(
        `Cannot restore slot ${i} as only one of the machines has a device there`,
      );
    });
    if (state.memory !== undefined) {
      if (state.memory.length !== this.memory.size) {
        throw new RangeError(
          `Cannot restore ${state.memory.length} bytes of memory to ${this.memory.size}`,
        );
      }
      this.memory.bytes.set(state.memory);
    }
    this.slots.forEach((slot, i) => {
      const device = state.devices[i]!;
      if (device !== null) this.device(i).restore(device);
      slot.restore(state.selectors[i]!);
    });
  }

  /** Disposes the models; drivers must be gone. */
  [Symbol.asyncDispose](): Promise<void> {
    for (const slot of this.slots) slot.device?.model[Symbol.dispose]();
    return Promise.resolve();
  }

  #makeSlot(i: number, options: MachineOptions): MmioDevice {
    const entry = options.devices[i];
    const spec = entry === undefined || "model" in entry ? entry : { model: entry };
    const name = `virtio-mmio@${(SLOT_BASE + i * SLOT_SIZE).toString(16)}`;
    const version = spec?.version ?? 2;
    const ring: RingOptions = { ...options.ring, ...spec?.offer, ...spec?.ring };
    const line = new EmuInterrupt(() => device?.line ?? false);
    this.#lines.push(line);
    const device = spec === undefined ? undefined : new HostedDevice({
      model: spec.model,
      memory: this.memory,
      legacy: version === 1,
      queueSize: spec.ring?.maxQueueSize ?? spec.queueSize ?? options.ring?.maxQueueSize,
      offer: ring,
      deferNotify: options.deferNotify,
      lineRaised: () => {
        line.raised();
        options.lineRaised?.(i);
      },
    });
    const regions = spec?.model.sharedMemory?.map((region) => this.#map(region)) ?? [];
    return new MmioDevice({ name, version, device, regions, trace: options.trace });
  }

  #map(region: { readonly id: number; readonly bytes: Uint8Array }): MappedRegion {
    const address = this.#windowEnd;
    this.#windowEnd += Math.ceil(region.bytes.length / PAGE) * PAGE;
    this.#windows.push({ address, bytes: region.bytes });
    return { id: region.id, address, length: region.bytes.length };
  }
}

function window(bytes: Uint8Array): MemoryWindow {
  return { bytes, [Symbol.dispose]() {} };
}

/** The interrupt line of a slot: waiters are woken in a microtask. */
export class EmuInterrupt implements Interrupt {
  /** Never: waiters are woken when the line rises. */
  readonly polled = false;
  readonly #level: () => boolean;
  readonly #waiters = new Set<() => void>();

  /** Makes a line whose level is derived from the device's state. */
  constructor(level: () => boolean) {
    this.#level = level;
  }

  /** Number of waits that did not end yet. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** The line rose. */
  raised(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /**
   * Resolves in a microtask when the line rises, at once if it is active.
   *
   * @throws The signal's reason if it is aborted.
   */
  async wait({ signal }: InterruptWait): Promise<void> {
    signal.throwIfAborted();
    if (this.#level()) return;
    // One entry a wait: a promise that all waits share would keep every aborted one until the line rises.
    const { promise, resolve } = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    this.#waiters.add(resolve);
    try {
      await Promise.race([promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#waiters.delete(resolve);
    }
  }
}
