import {
  MSIX_CAP,
  MSIX_ENABLE,
  MSIX_MASK_ALL,
  PCI_CAP,
  PCI_CAP64,
  PCI_CFG_CAP,
  PCI_MODERN_DEVICE_BASE,
  PCI_NOTIFY_CAP,
  PCI_STATUS_CAPABILITIES,
  PCI_TRANSITIONAL_DEVICE,
  PCI_VENDOR_VIRTIO,
  type PciBar,
  PciCapability,
  PciCapType,
  PciCommand,
  PciRegister,
} from "@vireo/hal";
import type { ConfigWidth } from "../../device.ts";
import { readBytes, writeBytes } from "./bytes.ts";

/** The interfaces of a function. */
export type PciInterface = "legacy" | "transitional" | "modern";

/** Class and subclass by virtio device id, as in QEMU; the programming interface is 0. */
const CLASS: Readonly<Record<number, number>> = {
  1: 0x0200,
  2: 0x0100,
  3: 0x0780,
  8: 0x0100,
  9: 0x0002,
  16: 0x0380,
  18: 0x0980,
  19: 0x0780,
};
const OTHER_CLASS = 0x00ff;
const FIRST_CAPABILITY = 0x40;
const SPACE = 256;
const BAR_COUNT = 6;
/** Bits of a BAR that hold its kind; no BAR is so small that its address has some of them. */
const BAR_FLAGS = 0xf;
const { IO, MEMORY, BUS_MASTER, INTX_DISABLE } = PciCommand;
/** Bits of MSI-X message control that a driver may change. */
const CONTROL_BITS = MSIX_ENABLE | MSIX_MASK_ALL;
const COMMAND_BITS = IO | MEMORY | BUS_MASTER | INTX_DISABLE;

/** A structure of the modern interface. */
export interface PciStructure {
  /** The kind of structure. */
  readonly type: PciCapType;
  /** Index of its BAR. */
  readonly bar: number;
  /** First byte in the BAR. */
  readonly offset: number;
  /** Length in bytes. */
  readonly length: number;
  /** The id of a shared memory region. */
  readonly id?: number;
  /** `notify_off_multiplier`. */
  readonly multiplier?: number;
}

/** Options of a configuration space. */
export interface ConfigSpaceOptions {
  /** The virtio device id. */
  readonly deviceId: number;
  /** Its interfaces. */
  readonly face: PciInterface;
  /** Its BARs, assigned. */
  readonly bars: readonly PciBar[];
  /** Its structures; a legacy function has none. */
  readonly structures: readonly PciStructure[];
  /** The bytes of the MSI-X capability. */
  readonly msix: readonly number[];
}

/**
 * PCI device id of a virtio device with these interfaces (virtio 1.4 §4.1.2.1).
 *
 * @throws {RangeError} If the device type has no legacy interface on PCI.
 *
 * @example
 * ```ts
 * import { pciDeviceId } from "@vireo/emu/core";
 * import { DeviceId } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(pciDeviceId(DeviceId.BLOCK, "modern"), 0x1042);
 * assertEquals(pciDeviceId(DeviceId.BLOCK, "transitional"), 0x1001);
 * ```
 */
export function pciDeviceId(deviceId: number, face: PciInterface): number {
  if (face === "modern") return PCI_MODERN_DEVICE_BASE + deviceId;
  const id = PCI_TRANSITIONAL_DEVICE[deviceId];
  if (id !== undefined) return id;
  throw new RangeError(
    `Cannot give device ${deviceId} a legacy interface on PCI: its type must have a transitional id`,
  );
}

/**
 * Whether a device type has a legacy interface on PCI.
 *
 * @example
 * ```ts
 * import { hasLegacyPciId } from "@vireo/emu/core";
 * import { DeviceId } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([hasLegacyPciId(DeviceId.NET), hasLegacyPciId(DeviceId.GPU)], [true, false]);
 * ```
 */
export function hasLegacyPciId(deviceId: number): boolean {
  return PCI_TRANSITIONAL_DEVICE[deviceId] !== undefined;
}

/** The configuration space of a function: read-only bytes keep their value, and BARs can be sized. */
export class ConfigSpace {
  /** Offset of the MSI-X capability. */
  readonly msix: number;
  /** Offset of the configuration access capability; 0 if there is none. */
  readonly access: number;
  readonly #bytes = new Uint8Array(SPACE);
  readonly #bars: readonly PciBar[];

  /** Makes the configuration space in its state after reset. */
  constructor({ deviceId, face, bars, structures, msix }: ConfigSpaceOptions) {
    const modern = face === "modern";
    this.#bars = bars;
    this.#put(PciRegister.VENDOR_ID, 2, PCI_VENDOR_VIRTIO);
    this.#put(PciRegister.DEVICE_ID, 2, pciDeviceId(deviceId, face));
    this.#put(PciRegister.STATUS, 2, PCI_STATUS_CAPABILITIES);
    this.#put(PciRegister.REVISION_ID, 1, modern ? 1 : 0);
    const kind = CLASS[deviceId] ?? OTHER_CLASS;
    this.#put(PciRegister.CLASS_CODE + 1, 2, kind);
    this.#put(PciRegister.SUBSYSTEM_VENDOR_ID, 2, PCI_VENDOR_VIRTIO);
    // A transitional device has its type here.
    this.#put(PciRegister.SUBSYSTEM_ID, 2, modern ? 0x1100 : deviceId);
    this.#put(PciRegister.INTERRUPT_PIN, 1, 1);
    for (const bar of bars) {
      this.#put(PciRegister.BAR0 + 4 * bar.index, 4, bar.address + (bar.space === "io" ? 1 : 0));
    }
    let link: number = PciRegister.CAPABILITIES;
    let at = FIRST_CAPABILITY;
    const place = (bytes: readonly number[]): number => {
      const here = at;
      this.#bytes.set(bytes, here);
      this.#bytes[link] = here;
      link = here + 1;
      at += (bytes.length + 3) & ~3;
      return here;
    };
    this.msix = place([PciCapability.MSIX, 0, ...msix.slice(2)]);
    for (const structure of structures) place(capability(structure));
    const window = { type: PciCapType.PCI, bar: 0, offset: 0, length: 0 };
    this.access = structures.length === 0 ? 0 : place(capability(window));
  }

  /** The command register. */
  get command(): number {
    return this.read(PciRegister.COMMAND, 2);
  }

  /** BAR, offset and width that the configuration access capability points at. */
  get aim(): { readonly bar: number; readonly offset: number; readonly width: number } {
    const at = this.access;
    return {
      bar: this.read(at + PCI_CAP.bar.offset, 1),
      offset: this.read(at + PCI_CAP.offset.offset, 4),
      width: this.read(at + PCI_CAP.length.offset, 4),
    };
  }

  /** The BARs with their current addresses. */
  bars(): PciBar[] {
    return this.#bars.map((bar) => {
      const word = this.read(PciRegister.BAR0 + 4 * bar.index, 4);
      return { ...bar, address: (word & ~BAR_FLAGS) >>> 0 };
    });
  }

  /** Reads bytes. */
  read(offset: number, width: ConfigWidth): number {
    return readBytes(this.#bytes, offset, width);
  }

  /** Writes bytes; read-only ones keep their value. */
  write(offset: number, width: ConfigWidth, value: number): void {
    for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Enable and mask-all of MSI-X message control, as the driver wrote them last. */
  get msixControl(): number {
    return this.read(this.msix + MSIX_CAP.control.offset, 2) & CONTROL_BITS;
  }

  #writeByte(at: number, value: number): void {
    const mask = this.#mask(at);
    this.#bytes[at] = this.#bytes[at]! & ~mask | value & mask;
  }

  /** The bits of a byte that a driver may change. */
  #mask(at: number): number {
    const { COMMAND, INTERRUPT_LINE, BAR0 } = PciRegister;
    if (at === COMMAND || at === COMMAND + 1) return COMMAND_BITS >> (8 * (at - COMMAND)) & 0xff;
    if (at === INTERRUPT_LINE) return 0xff;
    if (at >= BAR0 && at < BAR0 + 4 * BAR_COUNT) {
      const bar = this.#bars.find(({ index }) => index === (at - BAR0) >> 2);
      // Bits below the size read 0, which is how drivers size a BAR (PCI 3.0 §6.2.5.1).
      return bar === undefined ? 0 : ~(bar.size - 1) >>> (8 * (at & 3)) & 0xff;
    }
    const control = this.msix + MSIX_CAP.control.offset;
    if (at === control || at === control + 1) return CONTROL_BITS >> (8 * (at - control)) & 0xff;
    const { access } = this;
    if (access === 0) return 0;
    const pointer = at - access;
    const { bar, offset } = PCI_CAP;
    return pointer === bar.offset || (pointer >= offset.offset && pointer < PCI_CAP.SIZE)
      ? 0xff
      : 0;
  }

  #put(offset: number, width: ConfigWidth, value: number): void {
    writeBytes(this.#bytes, offset, width, value);
  }
}

/** The bytes of a virtio capability; `place` links it into the list. */
function capability(structure: PciStructure): number[] {
  const { type } = structure;
  const size = type === PciCapType.NOTIFY
    ? PCI_NOTIFY_CAP.SIZE
    : type === PciCapType.PCI
    ? PCI_CFG_CAP.SIZE
    : type === PciCapType.SHARED_MEMORY
    ? PCI_CAP64.SIZE
    : PCI_CAP.SIZE;
  const bytes = new Uint8Array(size);
  bytes[PCI_CAP.cap_vndr.offset] = PciCapability.VENDOR;
  bytes[PCI_CAP.cap_len.offset] = size;
  bytes[PCI_CAP.cfg_type.offset] = type;
  bytes[PCI_CAP.bar.offset] = structure.bar;
  bytes[PCI_CAP.id.offset] = structure.id ?? 0;
  writeBytes(bytes, PCI_CAP.offset.offset, 4, structure.offset);
  writeBytes(bytes, PCI_CAP.length.offset, 4, structure.length);
  if (type === PciCapType.NOTIFY) {
    writeBytes(bytes, PCI_NOTIFY_CAP.notify_off_multiplier.offset, 4, structure.multiplier ?? 0);
  }
  return [...bytes];
}
