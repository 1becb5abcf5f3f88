import {
  hex,
  type Mmio,
  PCI_CAP,
  PCI_CAP64,
  PCI_CFG_CAP,
  PCI_NOTIFY_CAP,
  PCI_STATUS_CAPABILITIES,
  type PciBar,
  PciCapability,
  PciCapType,
  PciRegister,
  VireoError,
} from "@vireo/hal";
import { capabilityName, type VirtioCapability } from "./details.ts";

/** Capabilities start after the header. */
const HEADER_SIZE = 0x40;
/** Capabilities are in this part of configuration space. */
const LIST_END = 0x100;
/** Where `struct virtio_pci_vndr_data` has its vendor id (virtio 1.4 §4.1.4.8). */
const VENDOR_ID = { offset: 4, end: 6 } as const;
/** Base address registers of a function; larger numbers are reserved. */
const BARS = 6;

/** The types that the specification defines, and the least length of each capability. */
const MIN_SIZE: Readonly<Record<number, number>> = {
  [PciCapType.COMMON]: PCI_CAP.SIZE,
  [PciCapType.NOTIFY]: PCI_NOTIFY_CAP.SIZE,
  [PciCapType.ISR]: PCI_CAP.SIZE,
  [PciCapType.DEVICE]: PCI_CAP.SIZE,
  [PciCapType.PCI]: PCI_CFG_CAP.SIZE,
  [PciCapType.SHARED_MEMORY]: PCI_CAP64.SIZE,
  [PciCapType.VENDOR]: VENDOR_ID.end,
};

/** The relevant entries of a function's capability list. */
export interface PciCapabilities {
  /** The virtio capabilities in order, including unusable ones. */
  readonly virtio: readonly VirtioCapability[];
  /** Where the MSI-X capability is. */
  readonly msix: number | undefined;
}

/**
 * Reads the capability list of a function (virtio 1.4 §4.1.4), and accesses nothing else.
 *
 * @param config Configuration space.
 * @param bars The base address registers that decode something.
 * @param device Name for errors.
 * @throws {VireoError} `BAD_CAPABILITY` If the list is a loop.
 */
export function readCapabilities(
  config: Mmio,
  bars: readonly PciBar[],
  device: string,
): PciCapabilities {
  const virtio: VirtioCapability[] = [];
  let msix: number | undefined;
  if ((config.read16(PciRegister.STATUS) & PCI_STATUS_CAPABILITIES) === 0) return { virtio, msix };
  const seen = new Set<number>();
  let at = config.read8(PciRegister.CAPABILITIES) & ~3;
  while (at >= HEADER_SIZE) {
    if (seen.has(at)) {
      throw new VireoError("BAD_CAPABILITY", "Cannot walk the capability list: it is a loop", {
        device,
        register: "cap_next",
        seen: at,
        expected: "each capability once",
      });
    }
    seen.add(at);
    const id = config.read8(at + PCI_CAP.cap_vndr.offset);
    // An absent function reads this; Linux ends the walk too.
    if (id === 0xff) break;
    if (id === PciCapability.MSIX) msix ??= at;
    if (id === PciCapability.VENDOR) virtio.push(readVirtio(config, at, bars));
    at = config.read8(at + PCI_CAP.cap_next.offset) & ~3;
  }
  return { virtio, msix };
}

function readVirtio(config: Mmio, at: number, bars: readonly PciBar[]): VirtioCapability {
  const size = config.read8(at + PCI_CAP.cap_len.offset);
  const type = config.read8(at + PCI_CAP.cfg_type.offset);
  const blank = { at, size, type, bar: 0, id: 0, offset: 0, length: 0 };
  const nothing = { multiplier: undefined, vendor: undefined, refused: undefined };
  const least = MIN_SIZE[type];
  if (least === undefined) return { ...blank, ...nothing, refused: "its type is reserved" };
  if (size < least) {
    const refused = `its length is ${hex(size)}, expected at least ${hex(least)}`;
    return { ...blank, ...nothing, refused };
  }
  if (at + least > LIST_END) {
    return { ...blank, ...nothing, refused: "it ends past the capabilities' 256 bytes" };
  }
  if (type === PciCapType.VENDOR) {
    return { ...blank, ...nothing, vendor: config.read16(at + VENDOR_ID.offset) };
  }
  let offset = config.read32(at + PCI_CAP.offset.offset);
  let length = config.read32(at + PCI_CAP.length.offset);
  if (type === PciCapType.SHARED_MEMORY) {
    // A value over 2^53 is inexact, but it is past the end of any BAR anyway.
    offset += config.read32(at + PCI_CAP64.offset_hi.offset) * 2 ** 32;
    length += config.read32(at + PCI_CAP64.length_hi.offset) * 2 ** 32;
  }
  const capability: VirtioCapability = {
    ...blank,
    ...nothing,
    bar: config.read8(at + PCI_CAP.bar.offset),
    id: config.read8(at + PCI_CAP.id.offset),
    offset,
    length,
    multiplier: type === PciCapType.NOTIFY
      ? config.read32(at + PCI_NOTIFY_CAP.notify_off_multiplier.offset)
      : undefined,
  };
  return { ...capability, refused: refusal(capability, bars) };
}

/** Why Linux's `virtio_pci_find_capability` skips a capability, if it does. */
function refusal(capability: VirtioCapability, bars: readonly PciBar[]): string | undefined {
  const { type, bar: index, offset, length } = capability;
  // The driver itself writes this one's fields.
  if (type === PciCapType.PCI) return undefined;
  if (index >= BARS) return `its BAR is reserved: ${hex(index)}`;
  const bar = bars.find((bar) => bar.index === index);
  if (bar === undefined || bar.size === 0) return `BAR${index} decodes nothing`;
  if (type === PciCapType.SHARED_MEMORY && offset + length > bar.size) {
    return `it ends past BAR${index}'s ${hex(bar.size)} bytes`;
  }
  return undefined;
}

/** The first usable capability of a type. */
export function firstCapability(
  capabilities: readonly VirtioCapability[],
  type: PciCapType,
): VirtioCapability | undefined {
  return capabilities.find((each) => each.type === type && each.refused === undefined);
}

/** The requirements on a structure. */
export interface StructureRule {
  /** The least length in bytes. */
  readonly min: number;
  /** The most bytes that the driver uses. */
  readonly max: number;
  /** Alignment of its offset in bytes. */
  readonly align: number;
}

/** The structures of a device (Linux's `vp_modern_probe`); the driver uses all of a notification area. */
export const STRUCTURE: {
  readonly COMMON: StructureRule;
  readonly NOTIFY: StructureRule;
  readonly ISR: StructureRule;
  readonly DEVICE: StructureRule;
} = {
  COMMON: { min: 56, max: 64, align: 4 },
  NOTIFY: { min: 2, max: Infinity, align: 2 },
  ISR: { min: 1, max: 1, align: 1 },
  DEVICE: { min: 1, max: 4096, align: 4 },
};

/**
 * Checks where a structure lies, as Linux's `vp_modern_map_capability` does.
 *
 * @param device Name for errors.
 * @returns Number of bytes that the driver uses.
 * @throws {VireoError} `BAD_CAPABILITY` If it is too short, misaligned, wraps or ends past its BAR.
 */
export function checkStructure(
  capability: VirtioCapability,
  { min, max, align }: StructureRule,
  bars: readonly PciBar[],
  device: string,
): number {
  const { type, bar: index, offset, length } = capability;
  const refuse = (what: string, seen: number, expected: string): VireoError =>
    new VireoError("BAD_CAPABILITY", `Cannot use the ${capabilityName(type)} structure: ${what}`, {
      device,
      register: `capability ${hex(capability.at)}`,
      seen,
      expected,
    });
  if (length === 0) throw refuse("it is empty", 0, `at least ${hex(min)}`);
  if (length < min) throw refuse("it is too short", length, `at least ${hex(min)}`);
  if (offset + length > 2 ** 32) throw refuse("it wraps", offset + length, "at most 0x100000000");
  if (offset % align !== 0) throw refuse("it is misaligned", offset, `a multiple of ${hex(align)}`);
  const used = Math.min(length, max);
  const size = bars.find((bar) => bar.index === index)?.size ?? 0;
  if (offset + used > size) {
    throw refuse(`it ends past BAR${index}`, offset + used, `at most ${hex(size)}`);
  }
  return used;
}
