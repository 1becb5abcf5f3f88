import { type Mmio, type PciAddress, pciName } from "@vireo/hal";
import { checkAccess, MmioPart } from "./mmio_part.ts";

/** Opens the configuration spaces of a PCI segment. */
export interface PciConfig {
  /** The segment. */
  readonly segment: number;
  /** Number of buses that can be reached, from bus 0. */
  readonly buses: number;
  /** The configuration space of a function, 256 or 4096 bytes; the function may be absent. */
  open(address: PciAddress): Mmio;
}

/** Bytes of configuration space of a PCI function, and of a PCI Express function. */
export const PCI_CONFIG_SIZE = { CONVENTIONAL: 256, EXPRESS: 4096 } as const;

/** Bytes of an ECAM window for one bus. */
const ECAM_BUS = 0x10_0000;

/** The I/O ports of configuration mechanism 1 (PCI Local Bus 3.0 §3.2.2.3.2). */
const PORT = { ADDRESS: 0xcf8, DATA: 0xcfc } as const;

/**
 * Configuration through the memory window of PCI Express (PCI Express Base 5.0 §7.2.2): 4 KiB a
 * function.
 *
 * @param window The window, 1 MiB for each bus from bus 0.
 * @throws {RangeError} If the window is not large enough for 1 to 256 buses.
 *
 * @example
 * ```ts
 * import { ecamConfig, FileMmio, scanPci } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * // A file stands in for the window of bus 0, on which device 3 is a virtio function.
 * const bytes = new Uint8Array(0x10_0000);
 * bytes.set([0xf4, 0x1a, 0x42, 0x10], 3 << 15);
 * const path = await Deno.makeTempFile();
 * await Deno.writeFile(path, bytes);
 * using window = new FileMmio("ecam", path);
 * assertEquals(scanPci(ecamConfig(window)).map(({ name }) => name), ["0000:00:03.0"]);
 * await Deno.remove(path);
 * ```
 */
export function ecamConfig(window: Mmio, segment = 0): PciConfig {
  const buses = Math.floor(window.size / ECAM_BUS);
  if (buses < 1 || buses > 256) {
    throw new RangeError(
      `Cannot use an ECAM window of ${window.size} bytes: expected 1 to 256 MiB`,
    );
  }
  return {
    segment,
    buses,
    open(address) {
      const { bus, device, function: fn } = checkAddress(address, buses);
      const start = bus * ECAM_BUS + (device << 15 | fn << 12);
      return new MmioPart(pciName(address), window, start, PCI_CONFIG_SIZE.EXPRESS);
    },
  };
}

/**
 * Configuration through the ports 0xcf8 and 0xcfc of a PC: 256 bytes a function, two accesses each.
 *
 * @param ports The I/O ports: offset is the port's number.
 *
 * @example
 * ```ts
 * import type { Mmio } from "@vireo/hal";
 * import { portConfig, scanPci } from "@vireo/hal/discover";
 *
 * // Names the PCI functions of a PC.
 * export function functionsOf(ports: Mmio): string[] {
 *   return scanPci(portConfig(ports)).map(({ name }) => name);
 * }
 * ```
 */
export function portConfig(ports: Mmio): PciConfig {
  return {
    segment: 0,
    buses: 256,
    open(address) {
      const { bus, device, function: fn } = checkAddress(address, 256);
      const select = 0x8000_0000 + (bus << 16 | device << 11 | fn << 8);
      return new PortConfig(pciName(address), ports, select);
    },
  };
}

function checkAddress(address: PciAddress, buses: number): PciAddress {
  const { bus, device, function: fn } = address;
  const inside = (value: number, end: number): boolean =>
    Number.isInteger(value) && value >= 0 && value < end;
  if (inside(bus, buses) && inside(device, 32) && inside(fn, 8)) return address;
  throw new RangeError(
    `Cannot reach PCI function ${pciName(address)}: expected a bus below ${buses}, ` +
      "a device below 32 and a function below 8",
  );
}

class PortConfig implements Mmio {
  readonly name: string;
  readonly size = PCI_CONFIG_SIZE.CONVENTIONAL;
  readonly #ports: Mmio;
  readonly #select: number;

  constructor(name: string, ports: Mmio, select: number) {
    this.name = name;
    this.#ports = ports;
    this.#select = select;
  }

  read8(offset: number): number {
    return this.#ports.read8(this.#at(offset, 1));
  }

  read16(offset: number): number {
    return this.#ports.read16(this.#at(offset, 2));
  }

  read32(offset: number): number {
    return this.#ports.read32(this.#at(offset, 4));
  }

  write8(offset: number, value: number): void {
    this.#ports.write8(this.#at(offset, 1), value);
  }

  write16(offset: number, value: number): void {
    this.#ports.write16(this.#at(offset, 2), value);
  }

  write32(offset: number, value: number): void {
    this.#ports.write32(this.#at(offset, 4), value);
  }

  /** Selects the register's 32-bit word, whose bytes then appear at the data port. */
  #at(offset: number, width: number): number {
    checkAccess(this, offset, width);
    this.#ports.write32(PORT.ADDRESS, this.#select + (offset & 0xfc));
    return PORT.DATA + (offset & 3);
  }
}
