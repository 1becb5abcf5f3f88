import { type Mmio, type PciAddress, pciName, PciRegister } from "@vireo/hal";
import type { PciConfig } from "./pci_config.ts";
import { isHotPlugPort } from "./pci_slot.ts";

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

/** The buses behind a bridge. */
export interface PciBridge extends PciBuses {
  /** Whether this scan assigned the number. */
  readonly numbered: boolean;
}

/** Numbers of the buses behind a bridge. */
export interface PciBuses {
  /** Of the bus that it leads to. */
  readonly bus: number;
  /** The last one that is for it; those behind its bridges lie between. */
  readonly last: number;
}

/** Header types without the multi-function bit, and the registers of a bridge (PCI-PCI 1.2 §3.2). */
const HEADER = { BRIDGE: 1, MULTIFUNCTION: 0x80 } as const;
const BRIDGE = { PRIMARY: 0x18, SECONDARY: 0x19, SUBORDINATE: 0x1a } as const;
/** Numbers that a port keeps for the bridges that may be plugged in, as Linux's `pci=hpbussize`. */
const HOT_PLUG_BUSES = 3;

/** How {@linkcode scanPci} treats buses that have no number. */
export interface ScanOptions {
  /**
   * Gives each of them the numbers that a bridge of its name has here, or the next free ones; nothing is found
   * behind a bridge that gets none, which is each without this option.
   */
  readonly number?: ReadonlyMap<string, PciBuses> | undefined;
}

/**
 * Finds the functions of a segment: those of bus 0 and of the buses behind its bridges.
 *
 * @returns The functions by address, so that each bridge precedes the functions behind it.
 *
 * @example
 * ```ts
 * import { type PciConfig, scanPci } from "@vireo/hal/discover";
 *
 * // Names the functions of a vendor.
 * export function functionsOf(config: PciConfig, vendor: number): string[] {
 *   return scanPci(config).filter((fn) => fn.vendor === vendor).map(({ name }) => name);
 * }
 * ```
 */
export function scanPci(
  config: PciConfig,
  options: ScanOptions = {},
): PciFunction[] {
  const scan = new Scan(config, options.number);
  scan.bus(0, config.buses - 1, undefined);
  const order = ({ bus, device, function: fn }: PciAddress): number => bus << 8 | device << 3 | fn;
  return scan.found.sort((a, b) => order(a.address) - order(b.address));
}

class Scan {
  readonly found: PciFunction[] = [];
  readonly #config: PciConfig;
  readonly #known: ReadonlyMap<string, PciBuses> | undefined;
  readonly #entered = new Set<number>();
  /** Numbers that bridges have: those that were found, and those that were known before. */
  readonly #taken: PciBuses[];

  constructor(config: PciConfig, known: ReadonlyMap<string, PciBuses> | undefined) {
    this.#config = config;
    this.#known = known;
    this.#taken = [...known?.values() ?? []];
  }

  /** @param last The last number of a bus behind this one. */
  bus(bus: number, last: number, behind: PciPin | undefined): void {
    const { segment } = this.#config;
    this.#entered.add(bus);
    for (let device = 0; device < 32; device++) {
      let functions = 1;
      for (let fn = 0; fn < functions; fn++) {
        const config = this.#config.open({ segment, bus, device, function: fn });
        const vendor = config.read16(PciRegister.VENDOR_ID);
        if (vendor === 0xffff || vendor === 0) continue;
        const header = config.read8(PciRegister.HEADER_TYPE);
        if (fn === 0 && (header & HEADER.MULTIFUNCTION) !== 0) functions = 8;
        const pin = config.read8(PciRegister.INTERRUPT_PIN);
        // Behind a bridge a pin is rotated by the device's number to one of the bridge's own pins.
        const at = (index: number): PciPin =>
          behind === undefined
            ? { device, pin: index }
            : { device: behind.device, pin: (behind.pin + index + device) % 4 };
        const address: PciAddress = { segment, bus, device, function: fn };
        this.found.push({
          address,
          name: pciName(address),
          vendor,
          device: config.read16(PciRegister.DEVICE_ID),
          config,
          pin: pin >= 1 && pin <= 4 ? at(pin - 1) : undefined,
          bridge: (header & 0x7f) === HEADER.BRIDGE
            ? this.#enter(config, address, last, at(0))
            : undefined,
        });
      }
    }
  }

  /** The buses behind a bridge; the scan enters each bus once, whatever the bridges say. */
  #enter(config: Mmio, address: PciAddress, limit: number, pin: PciPin): PciBridge | undefined {
    const bus = config.read8(BRIDGE.SECONDARY);
    if (bus !== 0) {
      if (bus >= this.#config.buses || this.#entered.has(bus)) return undefined;
      const last = Math.max(bus, config.read8(BRIDGE.SUBORDINATE));
      this.#taken.push({ bus, last });
      this.bus(bus, last, pin);
      return { bus, last, numbered: false };
    }
    const known = this.#known?.get(pciName(address));
    const given = known ?? this.#free(address.bus, limit);
    if (given === undefined || given.bus > limit) return undefined;
    config.write8(BRIDGE.PRIMARY, address.bus);
    config.write8(BRIDGE.SECONDARY, given.bus);
    config.write8(BRIDGE.SUBORDINATE, given.last);
    // Until all buses below it have their numbers, all that are free are its own.
    this.bus(given.bus, given.last, pin);
    if (known !== undefined) return { ...known, numbered: true };
    const below = this.found.filter(({ address }) => this.#isIn(given, address.bus))
      .map(({ address, bridge }) => bridge?.last ?? address.bus);
    const used = Math.max(given.bus, ...below);
    const last = Math.min(used + (isHotPlugPort(config) ? HOT_PLUG_BUSES : 0), given.last);
    config.write8(BRIDGE.SUBORDINATE, last);
    this.#taken.push({ bus: given.bus, last });
    return { bus: given.bus, last, numbered: true };
  }

  /** The first free number behind a bus, and how far numbers are free from there. */
  #free(behind: number, limit: number): PciBuses | undefined {
    if (this.#known === undefined) return undefined;
    // The bridges on the way there have their numbers for it.
    const others = this.#taken.filter((buses) => !this.#isIn(buses, behind));
    const isTaken = (number: number): boolean =>
      this.#entered.has(number) || others.some((buses) => this.#isIn(buses, number));
    let bus = behind + 1;
    while (bus <= limit && isTaken(bus)) bus++;
    if (bus > limit) return undefined;
    let last = bus;
    while (last < limit && !isTaken(last + 1)) last++;
    return { bus, last };
  }

  #isIn({ bus, last }: PciBuses, number: number): boolean {
    return number >= bus && number <= last;
  }
}
