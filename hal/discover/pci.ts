import {
  type Mmio,
  PCI_STATUS_CAPABILITIES,
  type PciAddress,
  type PciBar,
  PciCommand,
  pciName,
  PciRegister,
  VireoError,
} from "@vireo/hal";
import type { PciConfig } from "./pci_config.ts";

/** The pin on bus 0 that a function's INTx pin reaches, after the bridges' swizzle. */
export interface PciPin {
  /** Device on bus 0. */
  readonly device: number;
  /** 0 for INTA to 3 for INTD. */
  readonly pin: number;
}

/** A function that was found. */
export interface PciFunction {
  /** Where it is. */
  readonly address: PciAddress;
  /** Name as Linux gives it. */
  readonly name: string;
  /** Vendor id. */
  readonly vendor: number;
  /** Device id. */
  readonly device: number;
  /** Its configuration space. */
  readonly config: Mmio;
  /** Its INTx pin, if it has one. */
  readonly pin: PciPin | undefined;
  /** The bus behind it, if it is a bridge to one. */
  readonly bridge: PciBridge | undefined;
}

/** The bus behind a bridge. */
export interface PciBridge {
  /** Number of the bus. */
  readonly bus: number;
  /** Whether this scan assigned the number. */
  readonly numbered: boolean;
}

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

/** Header types without the multi-function bit, and the registers of a bridge (PCI-PCI 1.2 §3.2). */
const HEADER = { ENDPOINT: 0, BRIDGE: 1, MULTIFUNCTION: 0x80 } as const;
const BRIDGE = { PRIMARY: 0x18, SECONDARY: 0x19, SUBORDINATE: 0x1a } as const;
/** The most capabilities that fit into 256 bytes; Linux bounds its walk the same way. */
const MAX_CAPABILITIES = 48;

/** How {@linkcode scanPci} treats buses that have no number. */
export interface ScanOptions {
  /**
   * Gives each of them the next free number, or the one that a bridge of this name had; nothing is found
   * behind a bridge that gets none.
   */
  readonly number?: boolean | ReadonlyMap<string, number> | undefined;
}

/**
 * Finds the functions of a segment: those of bus 0 and of the buses behind its bridges.
 *
 * @returns The functions by address, so that each bridge precedes the functions behind it.
 */
export function scanPci(
  config: PciConfig,
  options: ScanOptions = {},
): PciFunction[] {
  const scan = new Scan(config, options.number ?? false);
  scan.bus(0, undefined);
  const order = ({ bus, device, function: fn }: PciAddress): number => bus << 8 | device << 3 | fn;
  return scan.found.sort((a, b) => order(a.address) - order(b.address));
}

class Scan {
  readonly found: PciFunction[] = [];
  readonly #config: PciConfig;
  readonly #number: boolean | ReadonlyMap<string, number>;
  #lastBus = 0;

  constructor(config: PciConfig, number: boolean | ReadonlyMap<string, number>) {
    this.#config = config;
    this.#number = number;
  }

  bus(bus: number, behind: PciPin | undefined): void {
    const { segment } = this.#config;
    this.#lastBus = Math.max(this.#lastBus, bus);
    for (let device = 0; device < 32; device++) {
      let functions = 1;
      for (let fn = 0; fn < functions; fn++) {
        const config = this.#config.open({ segment, bus, device, function: fn });
        const vendor = config.read16(PciRegister.VENDOR_ID);
        if (vendor === 0xffff || vendor === 0) continue;
        const header = config.read8(PciRegister.HEADER_TYPE);
        if (fn === 0 && (header & HEADER.MULTIFUNCTION) !== 0) functions = 8;
        this.#add({ segment, bus, device, function: fn }, config, vendor, header & 0x7f, behind);
      }
    }
  }

  #add(
    address: PciAddress,
    config: Mmio,
    vendor: number,
    header: number,
    behind: PciPin | undefined,
  ): void {
    const pin = config.read8(PciRegister.INTERRUPT_PIN);
    // Behind a bridge a pin is rotated by the device's number to one of the bridge's own pins.
    const at = (index: number): PciPin =>
      behind === undefined
        ? { device: address.device, pin: index }
        : { device: behind.device, pin: (behind.pin + index + address.device) % 4 };
    const bridge = header === HEADER.BRIDGE ? this.#enter(config, address) : undefined;
    this.found.push({
      address,
      name: pciName(address),
      vendor,
      device: config.read16(PciRegister.DEVICE_ID),
      config,
      pin: pin >= 1 && pin <= 4 ? at(pin - 1) : undefined,
      bridge,
    });
    if (bridge === undefined) return;
    this.bus(bridge.bus, at(0));
    if (bridge.numbered) config.write8(BRIDGE.SUBORDINATE, this.#lastBus);
  }

  /** The bus behind a bridge; the scan enters each bus once, whatever the bridges say. */
  #enter(config: Mmio, address: PciAddress): PciBridge | undefined {
    const bus = config.read8(BRIDGE.SECONDARY);
    if (bus !== 0) {
      return bus > this.#lastBus && bus < this.#config.buses ? { bus, numbered: false } : undefined;
    }
    const next = this.#next(pciName(address));
    if (next === undefined || next <= this.#lastBus || next >= this.#config.buses) return undefined;
    config.write8(BRIDGE.PRIMARY, address.bus);
    config.write8(BRIDGE.SECONDARY, next);
    // The bridge forwards everything until all buses below it have their numbers.
    config.write8(BRIDGE.SUBORDINATE, this.#config.buses - 1);
    return { bus: next, numbered: true };
  }

  #next(bridge: string): number | undefined {
    if (typeof this.#number === "boolean") return this.#number ? this.#lastBus + 1 : undefined;
    return this.#number.get(bridge);
  }
}

/**
 * Reads a function's base address registers and their sizes. It writes ones to each register and restores
 * it; meanwhile decoding is off (PCI Local Bus 3.0 §6.2.5.1).
 *
 * @returns Those that decode something, by ascending index.
 * @throws {VireoError} `CONFIG_INVALID` If an address or a size is over 2^53.
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
