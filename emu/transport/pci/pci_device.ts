import {
  Feature,
  type Interrupt,
  InterruptCause,
  type Mmio,
  MSIX_CAP,
  PCI_CFG_CAP,
  PCI_COMMON,
  PCI_LEGACY,
  PCI_LEGACY_MSIX,
  PCI_NO_VECTOR,
  PCI_VENDOR_VIRTIO,
  type PciAddress,
  type PciBar,
  PciCapType,
  PciCommand,
  type PciLease,
  type PciMessage,
  pciName,
  type PciNode,
  PciRegister,
  type RegisterSink,
  VireoError,
} from "@vireo/hal";
import type { ConfigWidth, DeviceModel } from "../../device.ts";
import type { DeviceState } from "../../device_state.ts";
import { HostedDevice } from "../../hosted_device.ts";
import { EmuInterrupt } from "../../interrupt.ts";
import type { GuestMemory } from "../../memory.ts";
import type { MappedRegion } from "../mmio.ts";
import type { TransportOffer } from "../../offer.ts";
import type { TurnBudget } from "../../work.ts";
import { QueueRegisters } from "../queue_registers.ts";
import { ConfigSpace, pciDeviceId, type PciInterface, type PciStructure } from "./config_space.ts";
import type { MessageController } from "./messages.ts";
import { MAX_VECTORS, MSIX_BAR, MsixTable } from "./msix.ts";
import {
  COMMON_ROWS,
  CONFIG_WIDTH,
  LEGACY_MSIX_ROWS,
  LEGACY_ROWS,
  type RegisterBank,
  RegisterFile,
} from "./registers.ts";
import { allOnes, RegisterWindow, type WindowHandler } from "./window.ts";

/** The specification's names of a queue's registers. */
const QUEUE_NAMES = {
  size: "queue_size",
  address: "queue_desc, queue_driver or queue_device",
  ready: "queue_enable",
  reset: "queue_reset",
  align: "Queue Align",
  page: "Queue Address",
  rules: {
    max: { clause: "4.1.4.3.2" },
    power: { clause: "4.1.4.3.2", rule: "drv.pci.common-cfg.3" },
    busy: { clause: "4.1.4.3.2", rule: "drv.pci.common-cfg.4" },
  },
} as const;
const LEGACY_BAR = 0;
/** The BAR of shared memory. */
export const SHARED_BAR = 2;
const MODERN_BAR = 4;
/** Bytes of each structure in the modern BAR, as in QEMU. */
const PART = 0x1000;
const ISR_OFFSET = PART;
const DEVICE_OFFSET = 2 * PART;
const NOTIFY_OFFSET = 3 * PART;
/** The status register's bit of a pending INTx interrupt (PCI 3.0 §6.2.3). */
const INTERRUPT_STATUS = 1 << 3;
/** Distance of notification addresses in bytes. */
const NOTIFY_MULTIPLIER = 4;
const COMMON = new RegisterFile(COMMON_ROWS);
const LEGACY = new RegisterFile(LEGACY_ROWS);
const LEGACY_MSIX = new RegisterFile([...LEGACY_ROWS, ...LEGACY_MSIX_ROWS]);

/** Options of {@linkcode PciDevice}. */
export interface PciDeviceOptions {
  /** The device model. */
  readonly model: DeviceModel;
  /** The memory of rings and buffers. */
  readonly memory: GuestMemory;
  /** Its interfaces. */
  readonly face: PciInterface;
  /** Where it is. */
  readonly address: PciAddress;
  /** Receives its messages. */
  readonly messages: MessageController;
  /** Whether the machine delivers its INTx line; true by default. */
  readonly line?: boolean | undefined;
  /** Number of MSI-X vectors; by default one a queue and one for configuration changes. */
  readonly vectors?: number | undefined;
  /** An upper bound for queue sizes. */
  readonly queueSize?: number | undefined;
  /** Ring and transport features. */
  readonly offer?: TransportOffer | undefined;
  /** Runs a model's notify in a microtask instead of inside the register write. */
  readonly deferNotify?: boolean | undefined;
  /** Budget of one turn of the model. */
  readonly budget?: Partial<TurnBudget> | undefined;
  /** Where its shared memory regions are; all in one aligned block. */
  readonly shared?: { readonly bar: PciBar; readonly regions: readonly MappedRegion[] } | undefined;
  /** BARs that the machine cannot map: only the configuration access capability reaches them. */
  readonly unmapped?: readonly number[] | undefined;
  /** Told of every access. */
  readonly trace?: RegisterSink | undefined;
}

/** State of a function as plain data: of the device, and of what the driver wrote. */
export interface PciState {
  /** The device's own state. */
  readonly device: DeviceState;
  /** Whether the driver uses the legacy interface. */
  readonly legacy: boolean;
  /** Selectors of features and queue. */
  readonly selects: readonly [deviceFeature: number, driverFeature: number, queue: number];
  /** MSI-X vectors: of configuration changes, then by queue. */
  readonly vectors: readonly number[];
  /** Command register and MSI-X message control. */
  readonly control: readonly [command: number, msix: number];
  /** MSI-X table and pending bits. */
  readonly table: Uint8Array;
}

/**
 * A virtio function on PCI (virtio 1.4 §4.1): configuration space with capabilities, the modern interface
 * in BAR 4, MSI-X in BAR 1, the legacy interface in I/O BAR 0, over the same device as a virtio-mmio slot.
 *
 * The function ignores what a driver must not do, as hardware would, and notes it in the device's log.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({
 *   devices: [new EchoModel()], bus: "pci",
 * });
 * const pci = machine.functions[0]!;
 * using lease = pci.open();
 * // Vendor id, and the device id: 0x1040 and the virtio device's.
 * assertEquals(lease.config.read16(0), 0x1af4);
 * assertEquals(lease.config.read16(2), 0x1040 + pci.hosted.model.deviceId);
 * ```
 */
export class PciDevice implements PciNode, RegisterBank {
  /** Kind of its node. */
  readonly kind = "pci";
  /** Name as Linux gives it. */
  readonly name: string;
  /** Where it is. */
  readonly address: PciAddress;
  /** PCI vendor id. */
  readonly vendor: number = PCI_VENDOR_VIRTIO;
  /** PCI device id. */
  readonly device: number;
  /** Its interfaces. */
  readonly face: PciInterface;
  /** The device. */
  readonly hosted: HostedDevice;
  /** The registers of the selected queue. */
  readonly queue: QueueRegisters;
  /** The MSI-X table. */
  readonly msix: MsixTable;
  /** `device_feature_select`. */
  deviceFeatureSelect = 0;
  /** `driver_feature_select`. */
  driverFeatureSelect = 0;
  readonly #options: PciDeviceOptions;
  readonly #config: ConfigSpace;
  readonly #line: EmuInterrupt;
  readonly #bars: ReadonlyMap<number, WindowHandler>;
  #configVector: number = PCI_NO_VECTOR;
  readonly #queueVectors: number[];
  #gone = false;

  /**
   * Makes a function.
   *
   * @throws {RangeError} If it needs a legacy interface and its device type has none on PCI.
   */
  constructor(options: PciDeviceOptions) {
    const { model, face, address, shared } = options;
    this.#options = options;
    this.name = pciName(address);
    this.address = address;
    this.face = face;
    this.device = pciDeviceId(model.deviceId, face);
    this.hosted = new HostedDevice({
      model,
      memory: options.memory,
      legacy: face === "legacy",
      regions: shared?.regions ?? [],
      queueSize: options.queueSize,
      offer: options.offer,
      deferNotify: options.deferNotify,
      budget: options.budget,
      configPlace: CONFIG_WIDTH,
      busMaster: false,
      raised: (cause, queue) => this.#raised(cause, queue),
    });
    this.queue = new QueueRegisters(this.hosted, QUEUE_NAMES);
    this.#queueVectors = model.queues.map(() => PCI_NO_VECTOR);
    const vectors = Math.min(options.vectors ?? model.queues.length + 1, MAX_VECTORS);
    this.msix = new MsixTable(vectors, (at, data) => options.messages.deliver(at, data));
    const bars = this.#assign();
    this.#config = new ConfigSpace({
      deviceId: model.deviceId,
      face,
      bars,
      structures: face === "legacy" ? [] : structures(model, shared?.regions ?? [], shared?.bar),
      msix: this.msix.capability(),
    });
    this.#bars = new Map<number, WindowHandler>([
      [LEGACY_BAR, this.#legacyBar()],
      [MSIX_BAR.index, this.msix],
      [SHARED_BAR, this.#sharedBar()],
      [MODERN_BAR, this.#modernBar()],
    ]);
    this.#line = new EmuInterrupt(() => this.lineActive);
  }

  /** Whether the function asserts its INTx line. */
  get lineActive(): boolean {
    const silent = this.msix.enabled || (this.#config.command & PciCommand.INTX_DISABLE) !== 0;
    return this.hosted.line && !silent && !this.#gone;
  }

  /** Vector of configuration changes; a driver that writes a vector out of range gets none. */
  get configVector(): number {
    return this.#configVector;
  }

  set configVector(vector: number) {
    this.#configVector = this.#vector(vector);
  }

  /** Vector of the selected queue; a driver that writes a vector out of range gets none. */
  get queueVector(): number {
    return this.#queueVectors[this.queue.select] ?? PCI_NO_VECTOR;
  }

  set queueVector(vector: number) {
    const { select } = this.queue;
    if (select < this.#queueVectors.length) this.#queueVectors[select] = this.#vector(vector);
  }

  /** Opens the function; it decodes nothing until the driver enables that. */
  open(): PciLease {
    const messages: PciMessage[] = [];
    const { trace, line = true, unmapped = [], messages: controller } = this.#options;
    const bars = this.#config.bars();
    const config = new RegisterWindow(`${this.name} config`, 256, {
      read: (offset, width) => this.#readConfig(offset, width),
      write: (offset, width, value) => this.#writeConfig(offset, width, value),
    }, trace);
    return {
      config,
      bars,
      openBar: (index: number): Mmio => {
        const bar = bars.find((bar) => bar.index === index);
        if (bar === undefined || unmapped.includes(index)) {
          throw new VireoError("BAD_ACCESS", "Cannot map a BAR", {
            device: this.name,
            seen: index,
            expected: `one of ${bars.map((bar) => bar.index).join(", ")}`,
          });
        }
        return new RegisterWindow(`${this.name} BAR${index}`, bar.size, this.#decoded(bar), trace);
      },
      line: line ? this.#line satisfies Interrupt : undefined,
      messages: (count: number) => {
        const more = controller.reserve(count);
        messages.push(...more ?? []);
        return more;
      },
      [Symbol.dispose]: () => controller.release(messages.splice(0)),
    };
  }

  /** Removes the function, whether or not a driver uses it: from now on it reads all ones. */
  unplug(): void {
    this.#gone = true;
    this.hosted.reset();
    // Waiters notice the removal when they look.
    this.#line.raised();
  }

  /** Resets the function, as a reset of the machine does; its BARs keep the addresses that it gives them. */
  reset(): void {
    this.#reset();
    this.hosted.reset();
    this.msix.reset();
    this.#config.write(PciRegister.COMMAND, 2, 0);
    this.#config.write(this.#config.msix + MSIX_CAP.control.offset, 2, 0);
    this.#configWritten();
  }

  /** Takes a write of the device status through one of the interfaces. */
  writeStatus(value: number, legacy: boolean): void {
    if (value === 0) this.#reset();
    else if (this.hosted.status === 0) this.hosted.legacy = legacy;
    this.hosted.writeStatus(value);
  }

  /** Reads and clears the ISR status, which lowers the line. */
  takeIsr(): number {
    const status = this.hosted.interruptStatus;
    if (status !== 0) this.hosted.acknowledge(status);
    return status;
  }

  /** The state as plain data. */
  snapshot(): PciState {
    return {
      device: this.hosted.snapshot(),
      legacy: this.hosted.legacy,
      selects: [this.deviceFeatureSelect, this.driverFeatureSelect, this.queue.select],
      vectors: [this.#configVector, ...this.#queueVectors],
      control: [this.#config.command, this.msix.control],
      table: this.msix.bytes.slice(),
    };
  }

  /**
   * Restores a state.
   *
   * @throws {RangeError} If it belongs to another device.
   */
  restore(state: PciState): void {
    if (state.vectors.length !== this.#queueVectors.length + 1) {
      throw new RangeError(
        `Cannot restore ${state.vectors.length} vectors to ${this.name}: it has ${
          this.#queueVectors.length + 1
        }`,
      );
    }
    [this.deviceFeatureSelect, this.driverFeatureSelect, this.queue.select] = state.selects;
    this.#configVector = state.vectors[0]!;
    state.vectors.slice(1).forEach((vector, i) => this.#queueVectors[i] = vector);
    this.msix.bytes.set(state.table);
    this.#config.write(PciRegister.COMMAND, 2, state.control[0]);
    this.#config.write(this.#config.msix + MSIX_CAP.control.offset, 2, state.control[1]);
    this.hosted.legacy = state.legacy;
    this.#configWritten();
    this.hosted.restore(state.device);
  }

  #assign(): PciBar[] {
    const { face, model, shared, address } = this.#options;
    const bars: PciBar[] = [];
    const slot = address.device * 8 + address.function;
    if (face !== "modern") {
      // Both headers and the configuration, rounded up to a power of two, as BARs must be.
      const size = 2 **
        Math.ceil(Math.log2(PCI_LEGACY.SIZE + PCI_LEGACY_MSIX.SIZE + model.configSize));
      bars.push({ index: LEGACY_BAR, space: "io", address: 0x1000 + slot * 0x80, size });
    }
    const memory = (index: number, size: number): void => {
      bars.push({
        index,
        space: "memory",
        address: 0x1000_0000 + slot * 0x10000 + index * 0x1000,
        size,
      });
    };
    memory(MSIX_BAR.index, MSIX_BAR.size);
    if (face === "legacy") return bars;
    if (shared !== undefined) bars.push(shared.bar);
    memory(MODERN_BAR, 4 * PART);
    return bars;
  }

  #reset(): void {
    this.deviceFeatureSelect = this.driverFeatureSelect = this.queue.select = 0;
    this.#configVector = PCI_NO_VECTOR;
    this.#queueVectors.fill(PCI_NO_VECTOR);
  }

  #raised(cause: InterruptCause, queue: number | undefined): void {
    if (!this.msix.enabled) return this.#line.raised();
    if (cause === InterruptCause.CONFIG) this.msix.fire(this.#configVector);
    // After a snapshot the queue is unknown, so every queue's vector fires.
    else if (queue === undefined) {
      for (const vector of this.#queueVectors) {
        this.msix.fire(vector);
      }
    } else this.msix.fire(this.#queueVectors[queue] ?? PCI_NO_VECTOR);
  }

  #vector(vector: number): number {
    return vector < this.msix.size ? vector : PCI_NO_VECTOR;
  }

  #readConfig(offset: number, width: ConfigWidth): number {
    if (this.#gone) return allOnes(width);
    const aimed = this.#aimed(offset, width);
    if (aimed !== undefined) return aimed.window.read(aimed.offset, width);
    const value = this.#config.read(offset, width);
    const status = PciRegister.STATUS - offset;
    if (status < 0 || status >= width || !this.#interruptStatus()) return value;
    return value + INTERRUPT_STATUS * 2 ** (8 * status);
  }

  /** The status register's Interrupt Status: any bit of the ISR status, while MSI-X is off (dev.pci.isr.4). */
  #interruptStatus(): boolean {
    return !this.msix.enabled && this.hosted.interruptStatus !== 0;
  }

  /** Applies what configuration space says now, in whatever widths it was written. */
  #configWritten(): void {
    const { command, msixControl } = this.#config;
    if (msixControl !== this.msix.control) this.msix.writeControl(msixControl);
    const master = (command & PciCommand.BUS_MASTER) !== 0;
    this.msix.setBusMaster(master);
    this.hosted.setBusMaster(master);
  }

  #writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (this.#gone) return;
    const aimed = this.#aimed(offset, width);
    if (aimed !== undefined) return aimed.window.write(aimed.offset, width, value);
    this.#config.write(offset, width, value);
    this.#configWritten();
    // Without MSI-X, or once the line is enabled again, the line reports what is pending.
    if (this.lineActive) this.#line.raised();
  }

  /** The target of the configuration access capability (virtio 1.4 §4.1.4.9), if this is its data. */
  #aimed(
    offset: number,
    width: ConfigWidth,
  ): { readonly window: WindowHandler; readonly offset: number } | undefined {
    const { access } = this.#config;
    if (access === 0 || offset !== access + PCI_CFG_CAP.pci_cfg_data.offset) return undefined;
    const aim = this.#config.aim;
    const bar = this.#config.bars().find(({ index }) => index === aim.bar);
    const wrong = bar === undefined || aim.width !== width || aim.offset % width !== 0 ||
      aim.offset + width > bar.size;
    if (!wrong) return { window: this.#decoded(bar), offset: aim.offset };
    this.hosted.violate("pci_cfg_data", undefined, "bar, offset or length is wrong", {
      clause: "4.1.4.9.2",
      rule: "drv.pci.cfg-access.3",
    });
    return { window: { read: () => 0, write: () => {} }, offset: 0 };
  }

  /** A BAR while its space is decoded; all ones otherwise. */
  #decoded({ index, space }: PciBar): WindowHandler {
    const handler = this.#bars.get(index)!;
    const bit = space === "io" ? PciCommand.IO : PciCommand.MEMORY;
    const decodes = (): boolean => !this.#gone && (this.#config.command & bit) !== 0;
    return {
      read: (offset, width) => decodes() ? handler.read(offset, width) : allOnes(width),
      write: (offset, width, value) => {
        if (decodes()) handler.write(offset, width, value);
      },
    };
  }

  #legacyBar(): WindowHandler {
    const { hosted } = this;
    const start = (): number => PCI_LEGACY.SIZE + (this.msix.enabled ? PCI_LEGACY_MSIX.SIZE : 0);
    const file = (): RegisterFile => this.msix.enabled ? LEGACY_MSIX : LEGACY;
    return {
      read: (offset, width) =>
        offset < start()
          ? file().read(this, offset, width)
          : hosted.readConfig(offset - start(), width),
      write: (offset, width, value) => {
        if (offset < start()) file().write(this, offset, width, value);
        else hosted.writeConfig(offset - start(), width, value);
      },
    };
  }

  #modernBar(): WindowHandler {
    const { hosted } = this;
    return {
      read: (offset, width) => {
        if (offset < ISR_OFFSET) return COMMON.read(this, offset, width);
        if (offset === ISR_OFFSET && width === 1) return this.takeIsr();
        if (offset >= NOTIFY_OFFSET) return 0;
        if (offset >= DEVICE_OFFSET) return hosted.readConfig(offset - DEVICE_OFFSET, width);
        hosted.violate("ISR status", undefined, `no such read of ${width} bytes`, CONFIG_WIDTH);
        return 0;
      },
      write: (offset, width, value) => {
        if (offset < ISR_OFFSET) COMMON.write(this, offset, width, value);
        else if (offset >= NOTIFY_OFFSET) this.#notify(offset - NOTIFY_OFFSET, width, value);
        else if (offset >= DEVICE_OFFSET) hosted.writeConfig(offset - DEVICE_OFFSET, width, value);
        else hosted.violate("ISR status", value, "read-only", { clause: "4.1.4.5" });
      },
    };
  }

  /** Takes a notification: both the address and the value name the queue (virtio 1.4 §4.1.5.2). */
  #notify(offset: number, width: ConfigWidth, value: number): void {
    const { hosted } = this;
    const wide = hosted.features.has(Feature.NOTIFICATION_DATA);
    const index = offset / NOTIFY_MULTIPLIER;
    const refuse = (reason: string, statement: number): void =>
      hosted.violate("notify", value, reason, {
        clause: "4.1.5.2.1",
        rule: `drv.pci.avail-notify.${statement}`,
      });
    if (width !== (wide ? 4 : 2)) return refuse(`${width} bytes wide`, wide ? 2 : 1);
    if ((value & 0xffff) !== index) {
      return refuse(`written to the address of queue ${index}`, wide ? 4 : 3);
    }
    hosted.notifyValue(value);
  }

  #sharedBar(): WindowHandler {
    // Drivers open shared memory as memory; only the configuration access capability uses this window.
    return { read: (_, width) => allOnes(width), write: () => {} };
  }
}

/** The structures of the modern interface. */
function structures(
  model: DeviceModel,
  regions: readonly MappedRegion[],
  shared: PciBar | undefined,
): PciStructure[] {
  const bar = MODERN_BAR;
  const found: PciStructure[] = [
    { type: PciCapType.COMMON, bar, offset: 0, length: PCI_COMMON.SIZE },
    { type: PciCapType.ISR, bar, offset: ISR_OFFSET, length: 1 },
    {
      type: PciCapType.NOTIFY,
      bar,
      offset: NOTIFY_OFFSET,
      length: Math.max(model.queues.length, 1) * NOTIFY_MULTIPLIER,
      multiplier: NOTIFY_MULTIPLIER,
    },
  ];
  if (model.configSize > 0) {
    const length = (model.configSize + 3) & ~3;
    found.push({ type: PciCapType.DEVICE, bar, offset: DEVICE_OFFSET, length });
  }
  for (const { id, address, length } of shared === undefined ? [] : regions) {
    const offset = address - shared!.address;
    found.push({ type: PciCapType.SHARED_MEMORY, bar: SHARED_BAR, offset, length, id });
  }
  return found;
}
