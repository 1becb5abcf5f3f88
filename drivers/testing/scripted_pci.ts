import {
  FeatureSet,
  hex,
  type Interrupt,
  type Mmio,
  MSIX_ENABLE,
  PCI_COMMON,
  PCI_LEGACY,
  PCI_LEGACY_MSIX,
  PCI_NO_VECTOR,
  type PciAddress,
  type PciBar,
  type PciLease,
  type PciMessage,
  type PciNode,
  VireoError,
} from "@vireo/hal";
import { ScriptedLine } from "./_line.ts";
import { fieldName, findCapability, read, write } from "./_pci_parts.ts";
import { buildConfig, PCI_PLACE, type PciConfigScript } from "./pci_config_script.ts";

/** A function from the honest value of a register to the one that is read. */
export type PciReadScript = (honest: number) => number;

/** A scripted function: its identity, its contents, and its lies. */
export interface PciScript extends PciConfigScript {
  /** Features that the device offers; VERSION_1 alone by default. */
  readonly features?: FeatureSet;
  /** The maximum size of each queue; one of 8 by default. */
  readonly queues?: readonly number[];
  /** Number of notification addresses; the multiplier is 4. */
  readonly notifyOff?: (queue: number) => number;
  /** `queue_notif_config_data` of a queue. */
  readonly notifId?: (queue: number) => number;
  /** How many messages the machine has; 0 by default. */
  readonly messages?: number;
  /** The INTx line: an interrupt by default. */
  readonly line?: "interrupt" | "polled" | "none";
  /** Vectors that the device refuses. */
  readonly refuses?: (vector: number, queue: number | "config") => boolean;
  /** BARs that the machine cannot map. */
  readonly unmapped?: readonly number[];
  /** Base address registers; those of {@linkcode PCI_PLACE} by default. */
  readonly bars?: readonly PciBar[];
  /** Reads that are not answered honestly, by name: `common.queue_enable`, `isr`, `legacy.queue_size`. */
  readonly reads?: Readonly<Record<string, PciReadScript>>;
}

/** A queue as a driver set it up. */
export interface ScriptedPciQueue {
  /** `queue_size` as written, the maximum before. */
  size: number;
  /** `queue_enable`, or the page number of a legacy device. */
  enabled: number;
  /** `queue_reset`. */
  reset: number;
  /** MSI-X vector. */
  vector: number;
  /** Addresses of desc, driver and device. */
  readonly addresses: Map<string, number>;
}

/**
 * A virtio function of PCI without the device, modern and legacy: it answers honestly unless its script
 * says otherwise, and records every access to its BARs in order. An access outside a BAR is an `Error`.
 *
 * @example
 * ```ts
 * import { probePci } from "@vireo/drivers";
 * import { ScriptedPci } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const fn = new ScriptedPci();
 * using transport = probePci(fn, { alloc: () => { throw new Error("Not needed"); } });
 * assertEquals([transport.kind, transport.deviceId], ["pci-modern", 42]);
 * ```
 */
export class ScriptedPci implements PciNode, PciLease {
  /** Kind of its node. */
  readonly kind = "pci";
  /** Name of the function. */
  readonly name = "0000:00:03.0";
  /** Where it is. */
  readonly address: PciAddress = { segment: 0, bus: 0, device: 3, function: 0 };
  /** PCI vendor id. */
  readonly vendor: number;
  /** PCI device id. */
  readonly device: number;
  /** The base address registers. */
  readonly bars: readonly PciBar[];
  /** Configuration space; honest, and not in the log. */
  readonly config: Mmio;
  /** The bytes of configuration space. */
  readonly space: Uint8Array;
  /** The INTx line. */
  readonly line: Interrupt | undefined;
  /** Every access to a BAR: `r` or `w`, the register, the width in bytes, the value. */
  readonly log: string[] = [];
  /** The queues. */
  readonly queues: readonly ScriptedPciQueue[];
  /** The device's configuration. */
  readonly deviceConfig: Uint8Array = new Uint8Array(PCI_PLACE.DEVICE.length);
  /** The MSI-X table. */
  readonly table: Uint8Array = new Uint8Array(0x1000);
  /** The device status. */
  status = 0;
  /** The ISR: INTx is active while it is not 0, without MSI-X. */
  isr = 0;
  /** `config_generation`. */
  generation = 0;
  /** Vector of configuration changes. */
  configVector: number = PCI_NO_VECTOR;
  /** Features that the driver accepted. */
  accepted: FeatureSet = FeatureSet.NONE;
  /** How many leases were taken and not given back. */
  leases = 0;
  /** Messages that were reserved. */
  reserved = 0;
  readonly #script: PciScript;
  readonly #line: ScriptedLine;
  readonly #messages: ScriptedLine[] = [];
  readonly #words = [0, 0, 0, 0];
  readonly #msixAt: number;
  readonly #accessAt: number;
  #gone = false;
  #deviceSelect = 0;
  #driverSelect = 0;
  #queueSelect = 0;

  /** Makes a function from its script. */
  constructor(script: PciScript = {}) {
    this.#script = script;
    this.space = buildConfig(script);
    this.#msixAt = findCapability(this.space, (at) => this.space[at] === 0x11);
    this.#accessAt = findCapability(this.space, (at) => {
      return this.space[at] === 9 && this.space[at + 2]! >= 20 && this.space[at + 3] === 5;
    });
    const view = new DataView(this.space.buffer);
    this.vendor = view.getUint16(0, true);
    this.device = view.getUint16(2, true);
    this.bars = script.bars ?? PCI_PLACE.BARS.filter(({ index }) => index !== 0 || this.#isLegacy);
    this.queues = (script.queues ?? [8]).map((size) => ({
      size,
      enabled: 0,
      reset: 0,
      vector: PCI_NO_VECTOR,
      addresses: new Map(),
    }));
    this.#line = new ScriptedLine(script.line === "polled", () => this.isr !== 0 && !this.msix);
    this.line = script.line === "none" ? undefined : this.#line;
    this.config = this.#window("config", this.space.length, {
      read: (offset, width) => read(this.space, offset, width),
      write: (offset, width, value) => this.#writeConfig(offset, width, value),
    });
  }

  get #isLegacy(): boolean {
    return this.device < 0x1040;
  }

  /** Whether MSI-X is on. */
  get msix(): boolean {
    return this.#msixAt > 0 && (read(this.space, this.#msixAt + 2, 2) & MSIX_ENABLE) !== 0;
  }

  /** The PCI command register. */
  get command(): number {
    return read(this.space, 4, 2);
  }

  /** Opens the function, which is the device itself. */
  open(): PciLease {
    this.leases++;
    return this;
  }

  /** Gives the function back. */
  [Symbol.dispose](): void {
    this.leases--;
  }

  /** Reserves messages, if the script has so many. */
  messages(count: number): readonly PciMessage[] | undefined {
    if (this.reserved + count > (this.#script.messages ?? 0)) return undefined;
    return Array.from({ length: count }, () => {
      const i = this.reserved++;
      const interrupt = new ScriptedLine(false, () => false);
      this.#messages.push(interrupt);
      return { address: 0x1_fee0_0000, data: 0x4000 + i, interrupt };
    });
  }

  /** Maps a BAR. */
  openBar(index: number): Mmio {
    const bar = this.bars.find((bar) => bar.index === index);
    if (bar === undefined || this.#script.unmapped?.includes(index)) {
      throw new VireoError("BAD_ACCESS", "Cannot map the BAR", { device: this.name, seen: index });
    }
    return this.#window(`BAR${index}`, bar.size, {
      read: (offset, width) => this.#record("r", index, offset, width),
      write: (offset, width, value) => this.#record("w", index, offset, width, value),
    });
  }

  /** Takes the log so far and starts a new one. */
  takeLog(): string[] {
    return this.log.splice(0);
  }

  /** The device used a buffer. */
  raiseQueue(queue: number): void {
    this.#raise(1, this.queues[queue]!.vector);
  }

  /** The configuration changed. */
  raiseConfig(): void {
    this.#raise(2, this.configVector);
  }

  /** Wakes the waiters of the line although nothing happened. */
  wake(): void {
    this.#line.wake();
  }

  /** Unplugs the function: it reads all ones from now on. */
  unplug(): void {
    this.#gone = true;
  }

  #raise(cause: number, vector: number): void {
    this.isr |= cause;
    if (!this.msix) return this.#line.update();
    if (vector === PCI_NO_VECTOR) return;
    const entry = vector * 16;
    if ((read(this.table, entry + 12, 4) & 1) !== 0) return;
    const data = read(this.table, entry + 8, 4);
    const right = read(this.table, entry, 4) === 0xfee0_0000 &&
      read(this.table, entry + 4, 4) === 1;
    if (right) this.#messages[data - 0x4000]?.pulse();
  }

  #writeConfig(offset: number, width: number, value: number): void {
    const msix = this.#msixAt > 0 && offset === this.#msixAt + 2;
    const access = this.#accessAt > 0 && offset >= this.#accessAt && offset < this.#accessAt + 16;
    if (this.#isWindow(offset)) return this.#record("w", ...this.#aim(), value);
    if (offset !== 4 && !msix && !access) {
      throw new Error(`The driver wrote to a register that is not its own: ${hex(offset)}`);
    }
    const kept = msix ? read(this.space, offset, 2) & 0x7ff : 0;
    write(this.space, offset, width, msix ? value & ~0x7ff | kept : value);
  }

  /** Decodes the place that the configuration access capability points at. */
  #aim(): [bar: number, offset: number, width: number] {
    const at = this.#accessAt;
    return [this.space[at + 4]!, read(this.space, at + 8, 4), read(this.space, at + 12, 4)];
  }

  #window(
    name: string,
    size: number,
    { read: get, write: set }: {
      read(offset: number, width: number): number | void;
      write(offset: number, width: number, value: number): void;
    },
  ): Mmio {
    const check = (offset: number, width: number): void => {
      if (offset >= 0 && offset % width === 0 && offset + width <= size) return;
      throw new Error(`An access outside ${name}: ${hex(offset)}, ${width} bytes`);
    };
    const reading = (width: number) => (offset: number): number => {
      check(offset, width);
      if (this.#gone) return 2 ** (8 * width) - 1;
      if (name === "config" && this.#isWindow(offset)) return this.#record("r", ...this.#aim());
      return get(offset, width)!;
    };
    const writing = (width: number) => (offset: number, value: number): void => {
      check(offset, width);
      if (!this.#gone) set(offset, width, value);
    };
    return {
      name: `${this.name} ${name}`,
      size,
      read8: reading(1),
      read16: reading(2),
      read32: reading(4),
      write8: writing(1),
      write16: writing(2),
      write32: writing(4),
    };
  }

  /** Whether this is the capability's data, and it points at something. */
  #isWindow(offset: number): boolean {
    if (this.#accessAt === 0 || offset !== this.#accessAt + 16) return false;
    return [1, 2, 4].includes(this.#aim()[2]);
  }

  #record(op: "r", bar: number, offset: number, width: number): number;
  #record(op: "w", bar: number, offset: number, width: number, value: number): void;
  #record(
    op: "r" | "w",
    bar: number,
    offset: number,
    width: number,
    value?: number,
  ): number | void {
    const name = this.#name(bar, offset);
    if (op === "r") {
      value = this.#read(bar, offset, width);
      value = this.#script.reads?.[name]?.(value) ?? value;
    }
    this.log.push(`${op} ${name}:${width} ${hex(value!)}`);
    if (op === "r") return value;
    this.#write(bar, offset, width, value!);
  }

  #name(bar: number, offset: number): string {
    if (bar === 0) {
      const name = fieldName(PCI_LEGACY, offset) ??
        (this.msix ? fieldName(PCI_LEGACY_MSIX, offset - PCI_LEGACY.SIZE) : undefined);
      if (name !== undefined) return `legacy.${name}`;
      return `config+${offset - (this.msix ? 24 : 20)}`;
    }
    if (bar === 1) return `msix+${hex(offset)}`;
    const { COMMON, ISR, DEVICE, NOTIFY } = PCI_PLACE;
    if (offset >= NOTIFY.offset) return `notify+${hex(offset - NOTIFY.offset)}`;
    if (offset >= DEVICE.offset) return `config+${offset - DEVICE.offset}`;
    if (offset >= ISR.offset) return "isr";
    return `common.${fieldName(PCI_COMMON, offset - COMMON.offset) ?? hex(offset)}`;
  }

  #read(bar: number, offset: number, width: number): number {
    const name = this.#name(bar, offset);
    if (bar === 1) return read(this.table, offset, width);
    const [group = "", field = ""] = name.split(".");
    if (group === "isr" || field === "isr_status") {
      const { isr } = this;
      this.isr = 0;
      return isr;
    }
    if (name.startsWith("config+")) return read(this.deviceConfig, Number(name.slice(7)), width);
    const queue = this.queues[this.#queueSelect];
    switch (field) {
      case "device_feature":
        return this.#offered.word(this.#deviceSelect);
      case "device_features":
        return this.#offered.word(0);
      case "config_msix_vector":
        return this.configVector;
      case "num_queues":
        return this.queues.length;
      case "device_status":
        return this.status;
      case "config_generation":
        return this.generation;
      case "queue_size":
        return queue?.size ?? 0;
      case "queue_msix_vector":
        return queue?.vector ?? PCI_NO_VECTOR;
      case "queue_enable":
      case "queue_address":
        return queue?.enabled ?? 0;
      case "queue_reset":
        return queue?.reset ?? 0;
      case "queue_notify_off":
        return this.#script.notifyOff?.(this.#queueSelect) ?? this.#queueSelect;
      case "queue_notif_config_data":
        return this.#script.notifId?.(this.#queueSelect) ?? 0;
      default:
        return 0;
    }
  }

  get #offered(): FeatureSet {
    return this.#script.features ?? FeatureSet.of(32);
  }

  #write(bar: number, offset: number, width: number, value: number): void {
    const name = this.#name(bar, offset);
    if (bar === 1) return write(this.table, offset, width, value);
    if (name.startsWith("config+")) {
      return write(this.deviceConfig, Number(name.slice(7)), width, value);
    }
    const field = name.split(".")[1] ?? "";
    const queue = this.queues[this.#queueSelect];
    switch (field) {
      case "device_feature_select":
        this.#deviceSelect = value;
        break;
      case "driver_feature_select":
        this.#driverSelect = value;
        break;
      case "driver_feature":
        this.#words[this.#driverSelect & 3] = value;
        this.accepted = FeatureSet.fromWords(...this.#words);
        break;
      case "driver_features":
        this.accepted = FeatureSet.fromWords(value);
        break;
      case "config_msix_vector":
        this.configVector = this.#vector(value, "config");
        break;
      case "device_status":
        if (value === 0) this.#reset();
        else this.status = value;
        break;
      case "queue_select":
        this.#queueSelect = value;
        break;
      case "queue_msix_vector":
        if (queue) queue.vector = this.#vector(value, this.#queueSelect);
        break;
      case "queue_size":
        if (queue) queue.size = value;
        break;
      case "queue_enable":
      case "queue_address":
        if (queue) queue.enabled = value;
        break;
      case "queue_reset":
        if (queue) queue.enabled = 0;
        if (queue) queue.vector = PCI_NO_VECTOR;
        break;
      default:
        queue?.addresses.set(field, value);
    }
  }

  #vector(vector: number, queue: number | "config"): number {
    if (vector === PCI_NO_VECTOR || this.#script.refuses?.(vector, queue)) return PCI_NO_VECTOR;
    return vector;
  }

  #reset(): void {
    this.status = 0;
    this.isr = 0;
    this.configVector = PCI_NO_VECTOR;
    this.#words.fill(0);
    this.accepted = FeatureSet.NONE;
    this.queues.forEach((queue, i) => {
      queue.size = (this.#script.queues ?? [8])[i]!;
      queue.enabled = 0;
      queue.vector = PCI_NO_VECTOR;
      queue.addresses.clear();
    });
  }
}
