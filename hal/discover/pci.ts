import {
  type Mmio,
  PCI_STATUS_CAPABILITIES,
  type PciBar,
  PciCommand,
  PciRegister,
  VireoError,
} from "@vireo/hal";

/** A base address register, with its properties for sizing and assigning it. */
export interface PciBarDetails extends PciBar {
  /** Whether it occupies the next register too. */
  readonly wide: boolean;
  /** Whether reading it has no side effect. */
  readonly prefetchable: boolean;
}

/** An entry of a function's capability list. */
export interface PciCapabilityEntry {
  /** Capability id. */
  readonly id: number;
  /** Where it is in configuration space. */
  readonly offset: number;
}

/** Header types without the multi-function bit. */
const HEADER = { ENDPOINT: 0, BRIDGE: 1 } as const;
/** The most capabilities that fit into 256 bytes; Linux bounds its walk the same way. */
const MAX_CAPABILITIES = 48;

/**
 * Reads a function's base address registers and their sizes. It writes ones to each register and restores
 * it; meanwhile decoding is off (PCI Local Bus 3.0 §6.2.5.1).
 *
 * @returns Those that decode something, by ascending index.
 * @throws {VireoError} `CONFIG_INVALID` If an address or a size is over 2^53.
 *
 * @example
 * ```ts
 * import type { Mmio } from "@vireo/hal";
 * import { readBars } from "@vireo/hal/discover";
 *
 * // Counts the bytes of memory that a function decodes.
 * export function decodedMemory(config: Mmio): number {
 *   const bars = readBars(config).filter(({ space }) => space === "memory");
 *   return bars.reduce((sum, { size }) => sum + size, 0);
 * }
 * ```
 */
export function readBars(config: Mmio): PciBarDetails[] {
  const header = config.read8(PciRegister.HEADER_TYPE) & 0x7f;
  const count = header === HEADER.ENDPOINT ? 6 : header === HEADER.BRIDGE ? 2 : 0;
  const command = config.read16(PciRegister.COMMAND);
  config.write16(PciRegister.COMMAND, command & ~(PciCommand.IO | PciCommand.MEMORY));
  const bars: PciBarDetails[] = [];
  for (let index = 0; index < count; index++) {
    const bar = readBar(config, index, count);
    if (bar === undefined) continue;
    if (bar.size > 0) bars.push(bar);
    if (bar.wide) index++;
  }
  config.write16(PciRegister.COMMAND, command);
  for (const { index, address, size } of bars) {
    if (Number.isSafeInteger(address + size)) continue;
    throw new VireoError(
      "CONFIG_INVALID",
      "Cannot use a base address: its range must end below 2^53",
      {
        device: config.name,
        register: `BAR${index}`,
        seen: address,
      },
    );
  }
  return bars;
}

function readBar(config: Mmio, index: number, count: number): PciBarDetails | undefined {
  const register = PciRegister.BAR0 + 4 * index;
  const [low, mask] = probe(config, register);
  // No bit can be set, so the register does not exist.
  if (mask === 0) return undefined;
  if ((low & 1) !== 0) {
    const size = lowestBit((mask & ~3) >>> 0);
    const address = (low & ~3) >>> 0;
    return { index, space: "io", address, size, wide: false, prefetchable: false };
  }
  const wide = (low & 6) === 4 && index + 1 < count;
  const [high, highMask] = wide ? probe(config, register + 4) : [0, 0];
  const lowSize = lowestBit((mask & ~15) >>> 0);
  return {
    index,
    space: "memory",
    address: ((low & ~15) >>> 0) + high * 0x1_0000_0000,
    size: lowSize !== 0 ? lowSize : lowestBit(highMask) * 0x1_0000_0000,
    wide,
    prefetchable: (low & 8) !== 0,
  };
}

/** The value of a register, and the mask of bits that can be set. */
function probe(config: Mmio, register: number): [value: number, mask: number] {
  const value = config.read32(register);
  config.write32(register, 0xffff_ffff);
  const mask = config.read32(register);
  config.write32(register, value);
  return [value, mask];
}

function lowestBit(value: number): number {
  return (value & -value) >>> 0;
}

/**
 * Walks a function's capability list; it cuts a list that does not end, as Linux does.
 *
 * @param id Selects the capabilities of one id; all by default.
 *
 * @example
 * ```ts
 * import { FileMmio, pciCapabilities } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * // A configuration space with one capability, which is specific to the vendor.
 * const bytes = new Uint8Array(256);
 * [bytes[0x06], bytes[0x34], bytes[0x40]] = [0x10, 0x40, 9];
 * const path = await Deno.makeTempFile();
 * await Deno.writeFile(path, bytes);
 * using config = new FileMmio("config", path);
 * assertEquals(pciCapabilities(config), [{ id: 9, offset: 0x40 }]);
 * await Deno.remove(path);
 * ```
 */
export function pciCapabilities(config: Mmio, id?: number): PciCapabilityEntry[] {
  const entries: PciCapabilityEntry[] = [];
  if ((config.read16(PciRegister.STATUS) & PCI_STATUS_CAPABILITIES) === 0) return entries;
  let offset = config.read8(PciRegister.CAPABILITIES) & ~3;
  for (let left = MAX_CAPABILITIES; left > 0 && offset >= 0x40; left--) {
    const header = config.read16(offset);
    if ((header & 0xff) === 0xff) break;
    if (id === undefined || id === (header & 0xff)) entries.push({ id: header & 0xff, offset });
    offset = header >>> 8 & ~3;
  }
  return entries;
}
