import {
  FeatureSet,
  hex,
  type Interrupt,
  type Mmio,
  MMIO_MAGIC,
  type MmioLease,
  type MmioNode,
  MmioRegister,
  mmioRegisterName,
  Status,
} from "@vireo/hal";
import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import { ScriptedLine } from "./_line.ts";

/** Name of a register as the specification spells it; `Config` is the whole configuration space. */
export type RegisterName = keyof typeof MmioRegister;

/**
 * Answer of a register: a value; values in turn, of which the last one stays; or a function of the honest
 * value and of the offset.
 */
export type ReadScript = number | readonly number[] | ((honest: number, offset: number) => number);

/** A callback at a write; it returns `false` to keep the honest device from seeing the write. */
export type WriteScript = (value: number, offset: number) => void | boolean;

/** A scripted device: its place, its identity and its answers. */
export interface DeviceScript {
  /** Name of the slot; `virtio-mmio@a000000` by default. */
  readonly name?: string;
  /** Value of Version: 2 by default. */
  readonly version?: number;
  /** Virtio device id; 0 is an empty slot, 42 the default. */
  readonly deviceId?: number;
  /** Virtio vendor id. */
  readonly vendorId?: number;
  /** Features that the device offers; VERSION_1 alone by default, none with version 1. */
  readonly features?: FeatureSet;
  /** The maximum size of each queue; one of 8 by default. */
  readonly queues?: readonly number[];
  /** The configuration space. */
  readonly config?: Uint8Array;
  /** Reads that are not answered honestly. */
  readonly reads?: Partial<Record<RegisterName, ReadScript>>;
  /** Writes that do something more, or something else. */
  readonly writes?: Partial<Record<RegisterName, WriteScript>>;
}

/** A queue as a driver set it up. */
export interface ScriptedQueue {
  /** QueueSize as written. */
  size: number;
  /** QueueReady, or QueuePFN of a version 1 device. */
  ready: number;
  /** The address registers, by name. */
  readonly addresses: Map<number, number>;
}

/**
 * The register file of a virtio-mmio device without the device: it answers honestly unless its script
 * says otherwise, and records every access in order. It is the place for everything that a driver
 * should survive: wrong values, stuck registers, interrupts out of the blue.
 *
 * @example
 * ```ts
 * import { MmioTransport } from "@vireo/drivers";
 * import { ScriptedDevice } from "@vireo/drivers/testing";
 * import type { Dma } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = { alloc: () => { throw new Error("Not needed"); } } satisfies Dma;
 * const device = new ScriptedDevice({ deviceId: 0 });
 * assertEquals(MmioTransport.probe(device, dma), undefined);
 * assertEquals(device.log, ["r MagicValue 0x74726976", "r Version 0x2", "r DeviceID 0x0"]);
 * ```
 */
export class ScriptedDevice implements MmioNode, MmioLease {
  /** Kind of its slot. */
  readonly kind = "mmio";
  /** Name of the slot. */
  readonly name: string;
  /** Physical address of the first register. */
  readonly base = 0xa000000;
  /** Size of the window in bytes. */
  readonly size = 0x200;
  /** Interrupt number. */
  readonly irq = 16;
  /** The registers. */
  readonly mmio: Mmio;
  /** The interrupt line. */
  readonly interrupt: Interrupt;
  /** Every access: `r` or `w`, the register, the value; and the width if it is not 32 bits. */
  readonly log: string[] = [];
  /** The queues; what is in their rings is up to the test. */
  readonly queues: readonly ScriptedQueue[];
  /** The configuration space. */
  readonly config: Uint8Array;
  /** The device status. */
  status = 0;
  /** InterruptStatus: the line is active while it is not 0. */
  cause = 0;
  /** ConfigGeneration. */
  generation = 0;
  /** Features that the driver accepted. */
  accepted: FeatureSet = FeatureSet.NONE;
  /** How many leases were taken and not given back. */
  leases = 0;
  readonly #script: DeviceScript;
  readonly #offered: FeatureSet;
  readonly #turns = new Map<RegisterName, number>();
  readonly #words = [0, 0, 0, 0];
  readonly #line: ScriptedLine;
  #deviceSel = 0;
  #driverSel = 0;
  #queueSel = 0;

  /** Makes a device from its script. */
  constructor(script: DeviceScript = {}) {
    this.#script = script;
    this.name = script.name ?? "virtio-mmio@a000000";
    const version1 = script.version === 1 ? FeatureSet.NONE : FeatureSet.of(32);
    this.#offered = script.features ?? version1;
    this.config = script.config ?? new Uint8Array(this.size - MmioRegister.Config);
    this.queues = (script.queues ?? [8]).map(() => ({ size: 0, ready: 0, addresses: new Map() }));
    const active = (): boolean => this.#answer("InterruptStatus", this.cause, 0x060) !== 0;
    this.#line = new ScriptedLine(false, active);
    this.interrupt = this.#line;
    this.mmio = {
      name: this.name,
      size: this.size,
      read8: (offset) => this.#read(offset, 1),
      read16: (offset) => this.#read(offset, 2),
      read32: (offset) => this.#read(offset, 4),
      write8: (offset, value) => this.#write(offset, 1, value),
      write16: (offset, value) => this.#write(offset, 2, value),
      write32: (offset, value) => this.#write(offset, 4, value),
    };
  }

  /** Opens the registers, which are the device itself. */
  open(): MmioLease {
    this.leases++;
    return this;
  }

  /** Gives the registers back. */
  [Symbol.dispose](): void {
    this.leases--;
  }

  /** Takes the log so far and starts a new one. */
  takeLog(): string[] {
    return this.log.splice(0);
  }

  /**
   * Where the driver put the parts of a queue, for a {@linkcode RingDevice}.
   *
   * @throws {RangeError} If the device has no such queue.
   */
  ring(index = 0): QueueAddresses {
    const queue = this.queues[index];
    if (queue === undefined) {
      throw new RangeError(`Cannot find queue ${index}: ${this.name} must have it`);
    }
    const word = (offset: number): number => queue.addresses.get(offset) ?? 0;
    const at = (low: number, high: number): number => word(low) + word(high) * 2 ** 32;
    return {
      size: queue.size,
      desc: at(MmioRegister.QueueDescLow, MmioRegister.QueueDescHigh),
      driver: at(MmioRegister.QueueDriverLow, MmioRegister.QueueDriverHigh),
      device: at(MmioRegister.QueueDeviceLow, MmioRegister.QueueDeviceHigh),
    };
  }

  /** Raises the interrupt. @param cause Bits of `InterruptCause`. */
  raise(cause: number): void {
    this.cause |= cause;
    this.#line.update();
  }

  /** Wakes the driver although nothing happened. */
  wake(): void {
    this.#line.wake();
  }

  /** Changes a configuration byte and tells the driver, as an honest device does. */
  changeConfig(offset: number, value: number): void {
    this.config[offset] = value;
    this.generation++;
    this.raise(2);
  }

  /** Sets NEEDS_RESET and tells the driver. */
  needReset(): void {
    this.status |= Status.NEEDS_RESET;
    this.raise(2);
  }

  #read(offset: number, width: 1 | 2 | 4): number {
    const name = registerKey(offset);
    const honest = offset >= MmioRegister.Config
      ? this.#readConfig(offset - MmioRegister.Config, width)
      : this.#honest(offset);
    const value = name === undefined ? honest : this.#answer(name, honest, offset, true);
    this.#record("r", offset, width, value);
    return value;
  }

  #answer(name: RegisterName, honest: number, offset: number, turn = false): number {
    const script = this.#script.reads?.[name];
    if (script === undefined) return honest;
    if (typeof script === "number") return script;
    if (typeof script === "function") return script(honest, offset);
    const at = this.#turns.get(name) ?? 0;
    if (turn) this.#turns.set(name, at + 1);
    return script[Math.min(at, script.length - 1)] ?? honest;
  }

  #readConfig(offset: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value |= (this.config[offset + i] ?? 0) << (8 * i);
    return value >>> 0;
  }

  #honest(offset: number): number {
    const queue = this.queues[this.#queueSel];
    switch (offset) {
      case MmioRegister.MagicValue:
        return MMIO_MAGIC;
      case MmioRegister.Version:
        return this.#script.version ?? 2;
      case MmioRegister.DeviceID:
        return this.#script.deviceId ?? 42;
      case MmioRegister.VendorID:
        return this.#script.vendorId ?? 0x554d4551;
      case MmioRegister.DeviceFeatures:
        return this.#offered.word(this.#deviceSel);
      case MmioRegister.QueueSizeMax:
        return (this.#script.queues ?? [8])[this.#queueSel] ?? 0;
      case MmioRegister.QueuePFN:
      case MmioRegister.QueueReady:
        return queue?.ready ?? 0;
      case MmioRegister.InterruptStatus:
        return this.cause;
      case MmioRegister.Status:
        return this.status;
      case MmioRegister.SHMLenLow:
      case MmioRegister.SHMLenHigh:
      case MmioRegister.SHMBaseLow:
      case MmioRegister.SHMBaseHigh:
        return 0xffffffff;
      case MmioRegister.ConfigGeneration:
        return this.generation;
      default:
        return 0;
    }
  }

  #write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#record("w", offset, width, value);
    const name = registerKey(offset);
    const script = name === undefined ? undefined : this.#script.writes?.[name];
    if (script?.(value, offset) === false) return;
    if (offset >= MmioRegister.Config) {
      for (let i = 0; i < width; i++) {
        this.config[offset - MmioRegister.Config + i] = value >>> (8 * i);
      }
      return;
    }
    this.#obey(offset, value);
  }

  #obey(offset: number, value: number): void {
    const queue = this.queues[this.#queueSel];
    switch (offset) {
      case MmioRegister.DeviceFeaturesSel:
        this.#deviceSel = value;
        break;
      case MmioRegister.DriverFeaturesSel:
        this.#driverSel = value;
        break;
      case MmioRegister.DriverFeatures:
        this.#words[this.#driverSel & 3] = value;
        this.accepted = FeatureSet.fromWords(...this.#words);
        break;
      case MmioRegister.QueueSel:
        this.#queueSel = value;
        break;
      case MmioRegister.QueueSize:
        if (queue) queue.size = value;
        break;
      case MmioRegister.QueuePFN:
      case MmioRegister.QueueReady:
        if (queue) queue.ready = value;
        break;
      case MmioRegister.QueueReset:
        if (queue) queue.ready = 0;
        break;
      case MmioRegister.InterruptACK:
        this.cause &= ~value;
        break;
      case MmioRegister.Status:
        if (value === 0) this.#reset();
        else this.status = value;
        break;
      default:
        queue?.addresses.set(offset, value);
    }
  }

  #reset(): void {
    this.status = 0;
    this.cause = 0;
    this.#words.fill(0);
    this.accepted = FeatureSet.NONE;
    for (const queue of this.queues) {
      queue.size = 0;
      queue.ready = 0;
      queue.addresses.clear();
    }
  }

  #record(op: "r" | "w", offset: number, width: 1 | 2 | 4, value: number): void {
    const suffix = width === 4 ? "" : `:${width}`;
    this.log.push(`${op} ${mmioRegisterName(offset)}${suffix} ${hex(value)}`);
  }
}

function registerKey(offset: number): RegisterName | undefined {
  if (offset >= MmioRegister.Config) return "Config";
  const name = mmioRegisterName(offset);
  return name in MmioRegister ? name as RegisterName : undefined;
}
