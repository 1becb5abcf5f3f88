import {
  hi32,
  lo32,
  type Mmio,
  MMIO_MAGIC,
  MmioRegister as R,
  type RegisterSink,
} from "@vireo/hal";
import type { ConfigWidth } from "../device.ts";
import type { HostedDevice } from "../hosted_device.ts";
import { QueueRegisters } from "./queue_registers.ts";

/** Vendor id of emulated devices: "VIRE" as QEMU's is "QEMU", first letter lowest. */
export const VENDOR_ID = 0x45524956;
/** Size of a slot's register window in bytes, as on QEMU's aarch64 virt board. */
export const SLOT_SIZE = 0x200;
const ALL_ONES = 0xffffffff;
/** The specification's names of a queue's registers. */
const QUEUE_NAMES = {
  size: "QueueSize",
  address: "Queue address",
  ready: "QueueReady",
  reset: "QueueReset",
  align: "QueueAlign",
  page: "QueuePFN",
  rules: {
    max: { clause: "4.2.2.2", rule: "drv.mmio.layout.10" },
    power: { clause: "2.7" },
    busy: { clause: "4.2.2.2", rule: "drv.mmio.layout.11" },
  },
} as const;
/** An access to a register that there is not, or not in this direction. */
const NO_REGISTER = { clause: "4.2.2.2", rule: "drv.mmio.layout.1" };
/** An access that is not 32 bits wide. */
const BAD_WIDTH = { clause: "4.2.2.2", rule: "drv.mmio.layout.2" };

/** Where a shared memory region of a device was mapped. */
export interface MappedRegion {
  /** The id from the model. */
  readonly id: number;
  /** Address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
}

/** One register: its row in the specification's table, and its behaviour. */
export interface RegisterRow {
  /** Byte offset. */
  readonly offset: number;
  /** Width in bytes; every other access is a violation. */
  readonly width: 4;
  /** The allowed directions. */
  readonly access: "R" | "W" | "RW";
  /** Name as the specification spells it. */
  readonly name: string;
  /** Returns the value of a read; without it the register is write-only. */
  readonly read?: (slot: MmioDevice) => number;
  /** Performs a write; without it the register is read-only. */
  readonly write?: (slot: MmioDevice, value: number) => void;
}

const row = (
  name: keyof typeof R,
  read?: (slot: MmioDevice) => number,
  write?: (slot: MmioDevice, value: number) => void,
): RegisterRow => ({
  offset: R[name],
  width: 4,
  access: read === undefined ? "W" : write === undefined ? "R" : "RW",
  name,
  ...(read === undefined ? {} : { read }),
  ...(write === undefined ? {} : { write }),
});

/** The registers that an empty slot has too (virtio 1.4 §4.2.2: DeviceID 0). */
const identity = (version: number): RegisterRow[] => [
  row("MagicValue", () => MMIO_MAGIC),
  row("Version", () => version),
  row("DeviceID", (s) => s.device?.model.deviceId ?? 0),
  row("VendorID", () => VENDOR_ID),
];

const COMMON: readonly RegisterRow[] = [
  row("DeviceFeatures", (s) => s.hosted.offered.word(s.deviceFeaturesSel)),
  row("DeviceFeaturesSel", undefined, (s, value) => s.deviceFeaturesSel = value),
  row(
    "DriverFeatures",
    undefined,
    (s, value) => s.hosted.writeFeatures(s.driverFeaturesSel, value),
  ),
  row("DriverFeaturesSel", undefined, (s, value) => s.driverFeaturesSel = value),
  row("QueueSel", undefined, (s, value) => s.queue.select = value),
  row("QueueSizeMax", (s) => s.queue.config?.maxSize ?? 0),
  row("QueueSize", undefined, (s, value) => s.queue.writeSize(value)),
  row("QueueNotify", undefined, (s, value) => s.notify(value)),
  row("InterruptStatus", (s) => s.hosted.interruptStatus),
  row("InterruptACK", undefined, (s, value) => s.hosted.acknowledge(value)),
  row("Status", (s) => s.hosted.readStatus(), (s, value) => s.writeStatus(value)),
];

/** The registers of version 1, the legacy interface (virtio 1.4 §4.2.4). */
export const VERSION_1_ROWS: readonly RegisterRow[] = [
  ...identity(1),
  ...COMMON,
  row("GuestPageSize", undefined, (s, value) => s.writePageSize(value)),
  row("QueueAlign", undefined, (s, value) => s.queue.writeAlign(value)),
  row("QueuePFN", (s) => s.queue.config?.pfn ?? 0, (s, value) => s.queue.writePage(value)),
];

const part = (name: "desc" | "avail" | "used", word: 0 | 1) => (s: MmioDevice, value: number) =>
  s.queue.writeAddress(name, word, value);

/** The registers of version 2 (virtio 1.4 §4.2.2). */
export const VERSION_2_ROWS: readonly RegisterRow[] = [
  ...identity(2),
  ...COMMON,
  row("QueueReady", (s) => s.queue.running, (s, value) => s.queue.writeReady(value)),
  row("QueueDescLow", undefined, part("desc", 0)),
  row("QueueDescHigh", undefined, part("desc", 1)),
  row("QueueDriverLow", undefined, part("avail", 0)),
  row("QueueDriverHigh", undefined, part("avail", 1)),
  row("QueueDeviceLow", undefined, part("used", 0)),
  row("QueueDeviceHigh", undefined, part("used", 1)),
  row("SHMSel", undefined, (s, value) => s.shmSel = value),
  row("SHMLenLow", (s) => s.region === undefined ? ALL_ONES : lo32(s.region.length)),
  row("SHMLenHigh", (s) => s.region === undefined ? ALL_ONES : hi32(s.region.length)),
  row("SHMBaseLow", (s) => s.region === undefined ? ALL_ONES : lo32(s.region.address)),
  row("SHMBaseHigh", (s) => s.region === undefined ? ALL_ONES : hi32(s.region.address)),
  row("QueueReset", () => 0, (s, value) => s.queue.reset(value)),
  row("ConfigGeneration", (s) => s.hosted.generation),
];

/** The selector registers of a slot as plain data. */
export interface SelectorState {
  /** DeviceFeaturesSel. */
  readonly deviceFeatures: number;
  /** DriverFeaturesSel. */
  readonly driverFeatures: number;
  /** QueueSel. */
  readonly queue: number;
  /** SHMSel. */
  readonly shm: number;
}

/** Options of {@linkcode MmioDevice}. */
export interface MmioDeviceOptions {
  /** Name of the window, for example `virtio-mmio@a000000`. */
  readonly name: string;
  /** Version register: 1 or 2. */
  readonly version: 1 | 2;
  /** The device; undefined for an empty slot. */
  readonly device?: HostedDevice | undefined;
  /** Where its shared memory regions are. */
  readonly regions?: readonly MappedRegion[];
  /** Told of every access. */
  readonly trace?: RegisterSink | undefined;
}

/**
 * A virtio-mmio slot: the register file of virtio 1.4 §4.2.2 over a device, or an empty one.
 *
 * The slot ignores what a driver must not do, as hardware would, and notes it in the device's log.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { MMIO_MAGIC, MmioRegister } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const slot = machine.slots[0]!;
 * assertEquals(slot.read32(MmioRegister.MagicValue), MMIO_MAGIC);
 * slot.unplug();
 * // An empty slot keeps its magic value, and has device id 0.
 * assertEquals([slot.read32(MmioRegister.DeviceID), slot.device], [0, undefined]);
 * ```
 */
export class MmioDevice implements Mmio {
  /** Name of the window, for example `virtio-mmio@a000000`. */
  readonly name: string;
  /** Size of the window in bytes. */
  readonly size: number = SLOT_SIZE;
  /** Version register. */
  readonly version: 1 | 2;
  /** DeviceFeaturesSel. */
  deviceFeaturesSel = 0;
  /** DriverFeaturesSel. */
  driverFeaturesSel = 0;
  /** SHMSel. */
  shmSel = 0;
  readonly #queue: QueueRegisters | undefined;
  #device: HostedDevice | undefined;
  #rows: (RegisterRow | undefined)[];
  readonly #regions: readonly MappedRegion[];
  readonly #trace: RegisterSink | undefined;

  /** Makes a slot. */
  constructor(options: MmioDeviceOptions) {
    this.name = options.name;
    this.version = options.version;
    this.#device = options.device;
    this.#regions = options.regions ?? [];
    this.#trace = options.trace;
    this.#queue = options.device && new QueueRegisters(options.device, QUEUE_NAMES);
    const all = this.version === 1 ? VERSION_1_ROWS : VERSION_2_ROWS;
    this.#rows = byOffset(this.device === undefined ? identity(this.version) : all);
  }

  /** The device; undefined for an empty slot. */
  get device(): HostedDevice | undefined {
    return this.#device;
  }

  /** Takes the device out, whether or not a driver uses it: from now on the slot is empty. */
  unplug(): void {
    this.#device?.reset();
    this.#device = undefined;
    this.#rows = byOffset(identity(this.version));
  }

  /** Resets the device and the selectors, as a reset of the machine does. */
  reset(): void {
    this.restore({ deviceFeatures: 0, driverFeatures: 0, queue: 0, shm: 0 });
    this.#device?.reset();
  }

  /** The device; rows of empty slots never use it. */
  get hosted(): HostedDevice {
    return this.device!;
  }

  /** The registers of the selected queue; rows of empty slots never use them. */
  get queue(): QueueRegisters {
    return this.#queue!;
  }

  /** The selected shared memory region. */
  get region(): MappedRegion | undefined {
    return this.#regions.find((region) => region.id === this.shmSel);
  }

  /** Reads one byte of the configuration; registers are 32 bits wide. */
  read8(offset: number): number {
    return this.#read(offset, 1);
  }

  /** Reads 16 bits of the configuration; registers are 32 bits wide. */
  read16(offset: number): number {
    return this.#read(offset, 2);
  }

  /** Reads a register, or 32 bits of the configuration. */
  read32(offset: number): number {
    return this.#read(offset, 4);
  }

  /** Writes one byte of the configuration; registers are 32 bits wide. */
  write8(offset: number, value: number): void {
    this.#write(offset, 1, value);
  }

  /** Writes 16 bits of the configuration; registers are 32 bits wide. */
  write16(offset: number, value: number): void {
    this.#write(offset, 2, value);
  }

  /** Writes a register, or 32 bits of the configuration. */
  write32(offset: number, value: number): void {
    this.#write(offset, 4, value >>> 0);
  }

  /** GuestPageSize: a power of two. */
  writePageSize(value: number): void {
    if (value === 0 || (value & (value - 1)) !== 0) {
      return this.hosted.violate("GuestPageSize", value, "not a power of two");
    }
    this.hosted.pageSize = value;
  }

  /** QueueNotify: the index, and with NOTIFICATION_DATA the position in the upper half. */
  notify(value: number): void {
    this.hosted.notifyValue(value);
  }

  /** Status; a reset also resets the selectors. */
  writeStatus(value: number): void {
    if (value === 0) this.restore({ deviceFeatures: 0, driverFeatures: 0, queue: 0, shm: 0 });
    this.hosted.writeStatus(value);
  }

  /** The selectors as plain data; the rest of the state belongs to the device. */
  snapshot(): SelectorState {
    return {
      deviceFeatures: this.deviceFeaturesSel,
      driverFeatures: this.driverFeaturesSel,
      queue: this.#queue?.select ?? 0,
      shm: this.shmSel,
    };
  }

  /** Restores the selectors. */
  restore(state: SelectorState): void {
    this.deviceFeaturesSel = state.deviceFeatures;
    this.driverFeaturesSel = state.driverFeatures;
    if (this.#queue !== undefined) this.#queue.select = state.queue;
    this.shmSel = state.shm;
  }

  #read(offset: number, width: ConfigWidth): number {
    const value = offset >= R.Config
      ? this.device?.readConfig(offset - R.Config, width) ?? 0
      : this.#readRegister(offset, width);
    this.#trace?.({ op: "r", window: this.name, offset, width, value });
    return value;
  }

  #write(offset: number, width: ConfigWidth, value: number): void {
    if (offset >= R.Config) this.device?.writeConfig(offset - R.Config, width, value);
    else this.#writeRegister(offset, width, value);
    this.#trace?.({ op: "w", window: this.name, offset, width, value });
  }

  #readRegister(offset: number, width: ConfigWidth): number {
    const entry = width === 4 && offset % 4 === 0 ? this.#rows[offset / 4] : undefined;
    if (entry?.read !== undefined) return entry.read(this) >>> 0;
    this.device?.violate(
      entry?.name ?? `0x${offset.toString(16)}`,
      undefined,
      badAccess("read", width),
      width === 4 && offset % 4 === 0 ? NO_REGISTER : BAD_WIDTH,
    );
    return 0;
  }

  #writeRegister(offset: number, width: ConfigWidth, value: number): void {
    const entry = width === 4 && offset % 4 === 0 ? this.#rows[offset / 4] : undefined;
    if (entry?.write !== undefined) return entry.write(this, value);
    this.device?.violate(
      entry?.name ?? `0x${offset.toString(16)}`,
      value,
      badAccess("write", width),
      width === 4 && offset % 4 === 0 ? NO_REGISTER : BAD_WIDTH,
    );
  }
}

/** The rows by the index of their word. */
function byOffset(rows: readonly RegisterRow[]): (RegisterRow | undefined)[] {
  const table: (RegisterRow | undefined)[] = new Array(R.Config / 4).fill(undefined);
  for (const entry of rows) table[entry.offset / 4] = entry;
  return table;
}

function badAccess(what: "read" | "write", width: number): string {
  return `no such ${what} of ${width} bytes`;
}
