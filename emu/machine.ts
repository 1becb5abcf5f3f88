import {
  alignUp,
  type DeviceNode,
  type Dma,
  type MemoryWindow,
  type MmioLease,
  type MmioNode,
  type PciBar,
  type Platform,
  type RegisterSink,
  VireoError,
} from "@vireo/hal";
import type { DeviceModel } from "./device.ts";
import { blameText, type DeviceState, type Violation } from "./device_state.ts";
import { HostedDevice } from "./hosted_device.ts";
import { EmuInterrupt } from "./interrupt.ts";
import { EmuDma, GuestMemory } from "./memory.ts";
import { type MappedRegion, MmioDevice, type SelectorState, SLOT_SIZE } from "./transport/mmio.ts";
import type { RingOptions, TransportOffer } from "./offer.ts";
import { MessageController } from "./transport/pci/messages.ts";
import { PciDevice, type PciState, SHARED_BAR } from "./transport/pci/pci_device.ts";
import type { TurnBudget } from "./work.ts";

/** Where the first slot is, as on QEMU's aarch64 virt board. */
const SLOT_BASE = 0x0a00_0000;
/** Interrupt number of the first slot, as there. */
const FIRST_IRQ = 48;
const MIN_SLOTS = 8;
const DEFAULT_MEMORY = 64 * 1024 * 1024;
const PAGE = 4096;
/** Clause of virtio-mmio about the widths of configuration accesses. */
const MMIO_CONFIG = { clause: "4.2.2.2", rule: "drv.mmio.layout.3" };
const DEFAULT_MESSAGES = 256;
/** Devices of a bus, less the host bridge. */
const MAX_FUNCTIONS = 31;

/** A device of a machine. */
export interface MachineDevice {
  /** The device model. */
  readonly model: DeviceModel;
  /** Version of the register interface: 1 (legacy) or 2; 2 by default. On PCI 1 is the legacy interface alone. */
  readonly version?: 1 | 2;
  /** On PCI: whether it has both interfaces. */
  readonly transitional?: boolean;
  /** On PCI: MSI-X vectors; one a queue and one for changes by default. */
  readonly vectors?: number;
  /** On PCI: BARs that the machine cannot map; only configuration accesses reach them. */
  readonly unmapped?: readonly number[];
  /** An upper bound for its queue sizes. */
  readonly queueSize?: number;
  /** Ring and transport features that it offers. */
  readonly offer?: TransportOffer;
  /** Abilities of its rings; they override the machine's `ring`, and `offer` and `queueSize`. */
  readonly ring?: RingOptions;
}

/** Options of {@linkcode EmulatedMachine}. */
export interface MachineOptions {
  /** The devices; device n is in slot n. */
  readonly devices: readonly (DeviceModel | MachineDevice)[];
  /** Guest RAM in bytes, a multiple of 4096; 64 MiB by default. */
  readonly memorySize?: number;
  /** The bus that the devices are on: virtio-mmio by default. On PCI device n is 0000:00:(n + 1).0. */
  readonly bus?: "mmio" | "pci";
  /** On PCI: how many messages there are for MSI-X; 256 by default. */
  readonly messages?: number;
  /** On PCI: whether the machine delivers INTx lines; true by default. */
  readonly lines?: boolean;
  /** Number of slots; by default 8, or the number of devices if it is larger. The rest are empty. */
  readonly slots?: number;
  /** Abilities of the rings of all devices, unless a device says otherwise. */
  readonly ring?: RingOptions;
  /** Uses a SharedArrayBuffer for RAM. */
  readonly shared?: boolean;
  /** Existing memory to use, for a machine that takes over from another. */
  readonly memory?: GuestMemory;
  /** Allocates from that memory; by default an allocator of all of it. */
  readonly dma?: Dma;
  /** Told of every register access. */
  readonly trace?: RegisterSink;
  /** Runs models in a microtask after a notification instead of inside it. */
  readonly deferNotify?: boolean;
  /** The work that a device may do in one turn before it yields. */
  readonly budget?: Partial<TurnBudget>;
  /** Receives the slot whose interrupt line rose, for machines that forward it. */
  readonly lineRaised?: (slot: number) => void;
}

/** State of a machine as plain data, with its memory if the caller asked for it. */
export interface MachineState {
  /** The devices by slot; null for an empty one. */
  readonly devices: readonly (DeviceState | null)[];
  /** The selector registers by slot. */
  readonly selectors: readonly SelectorState[];
  /** The functions, on a machine of PCI. */
  readonly functions?: readonly PciState[];
  /** Guest RAM, if the caller asked for it. */
  readonly memory?: Uint8Array;
}

/**
 * A machine of emulated devices in this process, as drivers see it.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using mmio = EmulatedMachine.create({ devices: [new EchoModel()], slots: 4 });
 * await using pci = EmulatedMachine.create({ devices: [new EchoModel()], bus: "pci" });
 * assertEquals(mmio.nodes().length, 4);
 * assertEquals(pci.nodes().map(({ name }) => name), ["0000:00:01.0"]);
 * ```
 */
export class EmulatedMachine implements Platform {
  /** The target string that made it. */
  readonly name = "emu";
  /** Guest RAM. */
  readonly memory: GuestMemory;
  /** Hands out guest RAM. */
  readonly dma: Dma;
  readonly #options: MachineOptions;
  readonly #messages: MessageController;
  readonly #slots: MmioDevice[];
  readonly #functions: PciDevice[];
  /** Devices that were unplugged and whose violations were not reported yet. */
  readonly #unplugged: { readonly name: string; readonly device: HostedDevice }[] = [];
  readonly #lines: EmuInterrupt[] = [];
  readonly #windows: { readonly address: number; readonly bytes: Uint8Array }[] = [];
  #windowEnd: number;

  private constructor(options: MachineOptions) {
    const size = options.memorySize ?? DEFAULT_MEMORY;
    this.memory = options.memory ??
      new GuestMemory(options.shared ? new SharedArrayBuffer(size) : size);
    this.dma = options.dma ?? new EmuDma(this.memory);
    this.#windowEnd = this.memory.base + this.memory.size;
    this.#options = options;
    this.#messages = new MessageController(options.messages ?? DEFAULT_MESSAGES);
    const { devices } = options;
    const pci = options.bus === "pci";
    const count = pci ? 0 : Math.max(options.slots ?? MIN_SLOTS, devices.length);
    this.#slots = Array.from({ length: count }, (_, i) => this.#makeSlot(i, specOf(devices[i])));
    if (pci && devices.length > MAX_FUNCTIONS) {
      throw new RangeError(
        `Cannot put ${devices.length} devices on a PCI bus: expected at most ${MAX_FUNCTIONS}`,
      );
    }
    this.#functions = pci ? devices.map((entry, i) => this.#makeFunction(i, specOf(entry)!)) : [];
  }

  /** Makes a machine. */
  static create(options: MachineOptions): EmulatedMachine {
    return new EmulatedMachine(options);
  }

  /** The slots with their devices; none on PCI. */
  get slots(): readonly MmioDevice[] {
    return this.#slots;
  }

  /** The functions of PCI, by address; none on virtio-mmio. */
  get functions(): readonly PciDevice[] {
    return this.#functions;
  }

  /**
   * Plugs a device in while the machine runs; `Bus.rescan` finds it.
   *
   * @param slot An empty slot, on PCI the device number less one; the first empty one by default.
   * @returns The slot.
   * @throws {RangeError} If the slot is not empty, or there is none.
   *
   * @example
   * ```ts
   * import { EmulatedMachine } from "@vireo/emu/core";
   * import { EchoModel } from "@vireo/emu/testing";
   * import { assertEquals } from "@std/assert";
   *
   * await using machine = EmulatedMachine.create({ devices: [], bus: "pci" });
   * const slot = machine.plug(new EchoModel());
   * assertEquals(machine.nodes().map(({ name }) => name), ["0000:00:01.0"]);
   * machine.unplug(slot);
   * assertEquals(machine.nodes(), []);
   * ```
   */
  plug(device: DeviceModel | MachineDevice, slot?: number): number {
    const pci = this.#options.bus === "pci";
    const count = pci ? MAX_FUNCTIONS : this.#slots.length;
    const isEmpty = (i: number): boolean =>
      Number.isInteger(i) && i >= 0 && i < count && this.#find(i) === undefined;
    const free = slot ?? Array.from({ length: count }, (_, i) => i).find(isEmpty);
    if (free === undefined || !isEmpty(free)) {
      const which = slot === undefined ? "" : ` into slot ${slot}`;
      throw new RangeError(`Cannot plug a device${which}: expected an empty slot below ${count}`);
    }
    const spec = specOf(device)!;
    if (pci) {
      this.#functions.push(this.#makeFunction(free, spec));
      this.#functions.sort((a, b) => a.address.device - b.address.device);
    } else this.#slots[free] = this.#makeSlot(free, spec);
    return free;
  }

  /**
   * Unplugs a device, whether or not a driver uses it, and disposes its model; `Bus.rescan` removes it from a bus.
   *
   * @param slot The slot, on PCI the device number less one.
   * @throws {RangeError} If the slot is empty.
   */
  unplug(slot: number): void {
    const device = this.device(slot);
    const fn = this.#functions.find(({ hosted }) => hosted === device);
    this.#unplugged.push({ name: (fn ?? this.#slots[slot]!).name, device });
    fn?.unplug();
    if (fn !== undefined) this.#functions.splice(this.#functions.indexOf(fn), 1);
    this.#slots[slot]?.unplug();
    device.model[Symbol.dispose]();
  }

  /** Resets all devices, as a reset of the machine does: `Bus.rescan` recovers them. */
  reset(): void {
    for (const slot of this.#slots) slot.reset();
    for (const fn of this.#functions) fn.reset();
  }

  #find(slot: number): HostedDevice | undefined {
    return this.#slots[slot]?.device ??
      this.#functions.find(({ address }) => address.device === slot + 1)?.hosted;
  }

  /** The device in a slot, or of a function. @throws {RangeError} If there is none. */
  device(slot: number): HostedDevice {
    const device = this.#find(slot);
    if (device === undefined) throw new RangeError(`Cannot find a device: slot ${slot} is empty`);
    return device;
  }

  /** The violations of drivers, by slot. */
  violations(): readonly (Violation & { readonly slot: string })[] {
    const of = (slot: string, device: HostedDevice | undefined) =>
      (device?.log ?? []).map((entry) => ({ slot, ...entry }));
    return [
      ...this.#unplugged.flatMap(({ name, device }) => of(name, device)),
      ...this.slots.flatMap(({ name, device }) => of(name, device)),
      ...this.functions.flatMap(({ name, hosted }) => of(name, hosted)),
    ];
  }

  /** Implements {@linkcode Platform.diagnose}: the last violation since the device was reset, else the host's last error. */
  diagnose(node: string): VireoError | undefined {
    const device = this.slots.find(({ name }) => name === node)?.device ??
      this.functions.find(({ name }) => name === node)?.hosted;
    const violation = device?.lastViolation;
    if (violation === undefined) {
      const cause = device?.hostFailure;
      return cause &&
        new VireoError("HOST_ERROR", "The host failed the emulated device", {
          device: node,
          cause,
        });
    }
    return new VireoError("VIOLATION", blameText(violation), { device: node });
  }

  /** The slots or functions, lowest address first. */
  nodes(): readonly DeviceNode[] {
    return [...this.slotNodes(), ...this.functions];
  }

  /** The slots of virtio-mmio, lowest address first. */
  slotNodes(): readonly MmioNode[] {
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
    throw new VireoError("BAD_ACCESS", "Cannot open memory of this machine", {
      device: this.name,
      seen: address,
      base: 16,
      expected: "guest RAM or a device's shared memory",
    });
  }

  /** The state of all devices; with `memory`, guest RAM too. */
  snapshot(options: { readonly memory?: boolean } = {}): MachineState {
    const devices = this.slots.map((slot) => slot.device?.snapshot() ?? null);
    const selectors = this.slots.map((slot) => slot.snapshot());
    const functions = this.functions.map((fn) => fn.snapshot());
    const state = { devices, selectors, ...functions.length > 0 ? { functions } : {} };
    return options.memory ? { ...state, memory: this.memory.bytes.slice() } : state;
  }

  /**
   * Restores a state from a machine with the same devices.
   *
   * @throws {RangeError} If the slots or the memory differ.
   */
  restore(state: MachineState): void {
    const functions = state.functions ?? [];
    if (functions.length !== this.functions.length) {
      throw new RangeError(
        `Cannot restore ${functions.length} functions: the machine has ${this.functions.length}`,
      );
    }
    if (state.devices.length !== this.slots.length) {
      throw new RangeError(
        `Cannot restore ${state.devices.length} slots: the machine has ${this.slots.length}`,
      );
    }
    this.slots.forEach((slot, i) => {
      if ((state.devices[i] === null) === (slot.device === undefined)) return;
      throw new RangeError(
        `Cannot restore slot ${i}: both machines must have a device there, or neither`,
      );
    });
    if (state.memory !== undefined) {
      if (state.memory.length !== this.memory.size) {
        throw new RangeError(
          `Cannot restore ${state.memory.length} bytes of memory: the machine has ${this.memory.size}`,
        );
      }
      this.memory.bytes.set(state.memory);
    }
    this.slots.forEach((slot, i) => {
      const device = state.devices[i]!;
      if (device !== null) this.device(i).restore(device);
      slot.restore(state.selectors[i]!);
    });
    this.functions.forEach((fn, i) => fn.restore(functions[i]!));
  }

  /** Disposes the models; drivers must have been removed. */
  [Symbol.asyncDispose](): Promise<void> {
    for (const slot of this.slots) slot.device?.model[Symbol.dispose]();
    for (const fn of this.functions) fn.hosted.model[Symbol.dispose]();
    return Promise.resolve();
  }

  #makeSlot(i: number, spec: MachineDevice | undefined): MmioDevice {
    const options = this.#options;
    const name = `virtio-mmio@${(SLOT_BASE + i * SLOT_SIZE).toString(16)}`;
    const version = spec?.version ?? 2;
    const line = new EmuInterrupt(() => device?.line ?? false);
    this.#lines[i] = line;
    const regions = spec?.model.sharedMemory?.map((region) => this.#map(region)) ?? [];
    const device = spec === undefined ? undefined : new HostedDevice({
      model: spec.model,
      configPlace: MMIO_CONFIG,
      regions,
      memory: this.memory,
      legacy: version === 1,
      ...ringOf(spec, options),
      deferNotify: options.deferNotify,
      budget: options.budget,
      lineRaised: () => {
        line.raised();
        options.lineRaised?.(i);
      },
    });
    return new MmioDevice({ name, version, device, regions, trace: options.trace });
  }

  #makeFunction(i: number, spec: MachineDevice): PciDevice {
    const options = this.#options;
    return new PciDevice({
      model: spec.model,
      memory: this.memory,
      face: spec.version === 1 ? "legacy" : spec.transitional ? "transitional" : "modern",
      // Device 0 is the host bridge, on real machines.
      address: { segment: 0, bus: 0, device: i + 1, function: 0 },
      messages: this.#messages,
      line: options.lines,
      vectors: spec.vectors,
      unmapped: spec.unmapped,
      shared: this.#mapShared(spec.model),
      ...ringOf(spec, options),
      deferNotify: options.deferNotify,
      budget: options.budget,
      trace: options.trace,
    });
  }

  /** Maps all shared memory of a model in one block for its BAR, whose size must be a power of two. */
  #mapShared(model: DeviceModel) {
    const { sharedMemory = [] } = model;
    if (sharedMemory.length === 0) return undefined;
    const pages = sharedMemory.reduce((sum, { bytes }) => sum + Math.ceil(bytes.length / PAGE), 0);
    const size = 2 ** Math.ceil(Math.log2(pages * PAGE));
    const address = this.#windowEnd = alignUp(this.#windowEnd, size);
    const regions = sharedMemory.map((region) => this.#map(region));
    this.#windowEnd = address + size;
    const bar: PciBar = { index: SHARED_BAR, space: "memory", address, size };
    return { bar, regions };
  }

  #map(region: { readonly id: number; readonly bytes: Uint8Array }): MappedRegion {
    const address = this.#windowEnd;
    this.#windowEnd += Math.ceil(region.bytes.length / PAGE) * PAGE;
    this.#windows.push({ address, bytes: region.bytes });
    return { id: region.id, address, length: region.bytes.length };
  }
}

function specOf(entry: DeviceModel | MachineDevice | undefined): MachineDevice | undefined {
  return entry === undefined || "model" in entry ? entry : { model: entry };
}

/** Merges the abilities of a device's rings: the machine's options, overridden by the device's. */
function ringOf(
  spec: MachineDevice,
  options: MachineOptions,
): { readonly offer: RingOptions; readonly queueSize: number | undefined } {
  return {
    offer: { ...options.ring, ...spec.offer, ...spec.ring },
    queueSize: spec.ring?.maxQueueSize ?? spec.queueSize ?? options.ring?.maxQueueSize,
  };
}

function window(bytes: Uint8Array): MemoryWindow {
  return { bytes, [Symbol.dispose]() {} };
}
