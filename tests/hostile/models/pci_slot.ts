/**
 * A function of PCI in the shape of a slot, so that a driver written for the registers of virtio-mmio drives it.
 *
 * @module
 */
import type { EmulatedMachine } from "@vireo/emu";
import type { Mmio, PciLease } from "@vireo/hal";
import type { MmioDevice } from "../../../emu/transport/mmio.ts";

// Typed again from virtio 1.4 §4.1.4.3 and §4.1.4.10: where a slot's register is in the other files.
const STATUS = 0x70;
const ISR = 0x60;
const NOTIFY = 0x50;
const GENERATION = 0xfc;
const CONFIG = 0x100;
const QUEUE_SIZE_MAX = 0x34;
/** The offset of a slot's register in the common configuration, and its width. */
const COMMON = new Map<number, readonly [at: number, width: 2 | 4]>([
  [0x14, [0, 4]],
  [0x10, [4, 4]],
  [0x24, [8, 4]],
  [0x20, [12, 4]],
  [0x30, [22, 2]],
  [QUEUE_SIZE_MAX, [24, 2]],
  [0x38, [24, 2]],
  [0x44, [28, 2]],
  [0x80, [32, 4]],
  [0x84, [36, 4]],
  [0x90, [40, 4]],
  [0x94, [44, 4]],
  [0xa0, [48, 4]],
  [0xa4, [52, 4]],
  [0xc0, [58, 2]],
]);
/** Likewise in the legacy header. */
const LEGACY = new Map<number, readonly [at: number, width: 2 | 4]>([
  [0x10, [0, 4]],
  [0x20, [4, 4]],
  [0x40, [8, 4]],
  [QUEUE_SIZE_MAX, [12, 2]],
  [0x30, [14, 2]],
]);
/** Offsets of the parts of BAR 4. */
const PART = { isr: 0x1000, device: 0x2000, notify: 0x3000 } as const;
const COMMAND = 4;
/** I/O, memory and bus master. */
const ON = 7;

/** Writes of any kind by a hostile driver: configuration space is 6, a BAR has its own number. */
export interface PciAccess {
  /** Value that is written. */
  readonly to: number;
  /** Where in it. */
  readonly offset: number;
  /** Width in bytes. */
  readonly width: 1 | 2 | 4;
  /** Value that is written there. */
  readonly value: number;
}

/** The slot. */
export class PciSlot {
  /** 1 for the legacy interface. */
  readonly version: 1 | 2;
  readonly #lease: PciLease;
  readonly #bar: Mmio;
  #selected = 0;
  #word = 0;

  /** Opens the machine's first function. */
  constructor(machine: EmulatedMachine, version: 1 | 2) {
    this.version = version;
    this.#lease = machine.functions[0]!.open();
    this.#bar = this.#lease.openBar(version === 1 ? 0 : 4);
    this.enable();
  }

  /** Enables the function, with which a driver begins. */
  enable(): void {
    this.#lease.config.write16(COMMAND, ON);
  }

  /** The device as a driver of slots sees it. */
  get slot(): MmioDevice {
    return this as unknown as MmioDevice;
  }

  /** Carries out any access. */
  access({ to, offset, width, value }: PciAccess): void {
    const bar = to < 6 ? this.#lease.bars.find(({ index }) => index === to) : undefined;
    if (to < 6 && bar === undefined) return;
    const mmio = bar === undefined ? this.#lease.config : this.#lease.openBar(bar.index);
    const at = offset % (mmio.size - 3);
    if (width === 1) mmio.write8(at, value);
    else if (width === 2) mmio.write16(at & ~1, value);
    else mmio.write32(at & ~3, value);
  }

  /** Reads a register of a slot. */
  read32(offset: number): number {
    if (offset >= CONFIG) return this.#config(offset, 4);
    const legacy = this.version === 1;
    if (offset === STATUS) return this.#bar.read8(legacy ? 18 : 20);
    if (offset === ISR) return this.#bar.read8(legacy ? 19 : PART.isr);
    // The legacy header has one word of features.
    if (offset === 0x10 && legacy && this.#word > 0) return 0;
    if (offset === GENERATION) return legacy ? 0 : this.#bar.read8(21);
    const place = (legacy ? LEGACY : COMMON).get(offset);
    if (place === undefined) return 0;
    // A queue that is set up has its own size there, not the most that it may have.
    if (offset === QUEUE_SIZE_MAX && !legacy && this.#selected >= this.#bar.read16(18)) return 0;
    return place[1] === 2 ? this.#bar.read16(place[0]) : this.#bar.read32(place[0]);
  }

  /** Writes a register of a slot. */
  write32(offset: number, value: number): void {
    if (offset >= CONFIG) return this.#writeConfig(offset, 4, value);
    const legacy = this.version === 1;
    if (offset === STATUS) return this.#bar.write8(legacy ? 18 : 20, value);
    if (offset === 0x30) this.#selected = value;
    if (offset === 0x14) this.#word = value;
    if (offset === NOTIFY) {
      if (legacy) return this.#bar.write16(16, value & 0xffff);
      const at = PART.notify + 4 * (value & 0xff);
      if (at + 4 > this.#bar.size) return;
      return value > 0xffff ? this.#bar.write32(at, value) : this.#bar.write16(at, value);
    }
    const place = (legacy ? LEGACY : COMMON).get(offset);
    if (place === undefined) return;
    if (place[1] === 2) this.#bar.write16(place[0], value & 0xffff);
    else this.#bar.write32(place[0], value);
  }

  /** Reads a byte of the configuration; registers have no bytes of their own. */
  read8(offset: number): number {
    return this.#config(offset, 1);
  }

  /** Reads two bytes of the configuration. */
  read16(offset: number): number {
    return this.#config(offset, 2);
  }

  /** Writes a byte of the configuration. */
  write8(offset: number, value: number): void {
    this.#writeConfig(offset, 1, value);
  }

  /** Writes two bytes of the configuration. */
  write16(offset: number, value: number): void {
    this.#writeConfig(offset, 2, value);
  }

  /** Where a byte of a slot's configuration is; undefined if the function has none there. */
  #place(offset: number, width: number): number | undefined {
    if (offset < CONFIG) return undefined;
    const at = offset - CONFIG + (this.version === 1 ? 20 : PART.device);
    return at % width === 0 && at + width <= this.#bar.size ? at : undefined;
  }

  #config(offset: number, width: 1 | 2 | 4): number {
    const at = this.#place(offset, width);
    if (at === undefined) return 0;
    if (width === 1) return this.#bar.read8(at);
    return width === 2 ? this.#bar.read16(at) : this.#bar.read32(at);
  }

  #writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    const at = this.#place(offset, width);
    if (at === undefined) return;
    if (width === 1) this.#bar.write8(at, value & 0xff);
    else if (width === 2) this.#bar.write16(at, value & 0xffff);
    else this.#bar.write32(at, value);
  }
}
