import { alignUp, PciCommand, PciRegister, VireoError } from "@vireo/hal";
import { type PciBarDetails, type PciFunction, readBars } from "./pci.ts";

/** Addresses that a host bridge forwards to its bus. */
export interface PciRange {
  /** The first address, as the bus sees it. */
  readonly base: number;
  /** Bytes. */
  readonly size: number;
}

/** The addresses that a segment has for its functions. */
export interface PciWindows {
  /** Memory below 4 GiB, since not every register holds more. */
  readonly memory: PciRange;
  /** I/O ports below 64 KiB, if there are any; port 0 means "unassigned" and stays free. */
  readonly io?: PciRange | undefined;
}

/** Registers of a bridge's windows (PCI-PCI 1.2 §3.2.5), each a base and a limit behind it. */
const WINDOW = { IO: 0x1c, MEMORY: 0x20, PREFETCH: 0x24, IO_HIGH: 0x30 } as const;
/** The unit of a bridge's windows in bytes. */
const BRIDGE_UNIT = { memory: 0x10_0000, io: 0x1000 } as const;

/**
 * Assigns addresses to base address registers that have none, and windows to the bridges in front of
 * them. Registers that have an address keep it, and nothing overlaps them.
 *
 * The functions stay disabled; the bridges are enabled, because nothing else does that.
 *
 * @param functions All functions of a segment, as returned by `scanPci`.
 * @returns The registers of each function, with their addresses.
 * @throws {VireoError} `OUT_OF_MEMORY` If a window is full; `CONFIG_INVALID` If a register does not
 * keep its address.
 */
export function assignBars(
  functions: readonly PciFunction[],
  windows: PciWindows,
): Map<PciFunction, readonly PciBarDetails[]> {
  const bars = new Map<PciFunction, readonly PciBarDetails[]>();
  for (const fn of functions) bars.set(fn, readBars(fn.config));
  const all = [...bars.values()].flat().filter((bar) => bar.address !== 0);
  const taken = (space: string): PciRange[] =>
    all.filter((bar) => bar.space === space).map(({ address, size }) => ({ base: address, size }));
  const memory = new Cursor("memory", windows.memory, taken("memory"));
  const io = new Cursor("I/O", windows.io ?? { base: 0, size: 0 }, taken("io"));
  assignBus(functions, 0, bars, { memory, io });
  return bars;
}

interface Cursors {
  readonly memory: Cursor;
  readonly io: Cursor;
}

function assignBus(
  functions: readonly PciFunction[],
  bus: number,
  bars: Map<PciFunction, readonly PciBarDetails[]>,
  cursors: Cursors,
): void {
  const here = functions.filter((fn) => fn.address.bus === bus);
  for (const fn of here) {
    const assigned = bars.get(fn)!.map((bar) =>
      bar.address !== 0 ? bar : assign(fn, bar, bar.space === "io" ? cursors.io : cursors.memory)
    );
    bars.set(fn, assigned);
  }
  for (const { bridge, config } of here) {
    // Whoever numbered a bridge also set its windows.
    if (bridge === undefined || !bridge.numbered) continue;
    const memory = cursors.memory.align(BRIDGE_UNIT.memory);
    const io = cursors.io.align(BRIDGE_UNIT.io);
    assignBus(functions, bridge.bus, bars, cursors);
    const memoryEnd = cursors.memory.align(BRIDGE_UNIT.memory);
    const ioEnd = cursors.io.align(BRIDGE_UNIT.io);
    // A bridge forwards nothing while the base is above the limit.
    const [low, high] = memoryEnd > memory ? [memory, memoryEnd - 1] : [0xfff0_0000, 0];
    config.write16(WINDOW.MEMORY, low >>> 16 & 0xfff0);
    config.write16(WINDOW.MEMORY + 2, high >>> 16 & 0xfff0);
    config.write16(WINDOW.PREFETCH, 0xfff0);
    config.write16(WINDOW.PREFETCH + 2, 0);
    const [first, last] = ioEnd > io ? [io, ioEnd - 1] : [0xf000, 0];
    config.write8(WINDOW.IO, first >>> 8 & 0xf0);
    config.write8(WINDOW.IO + 1, last >>> 8 & 0xf0);
    config.write32(WINDOW.IO_HIGH, 0);
    const command = config.read16(PciRegister.COMMAND);
    const on = PciCommand.IO | PciCommand.MEMORY | PciCommand.BUS_MASTER;
    config.write16(PciRegister.COMMAND, command | on);
  }
}

function assign(fn: PciFunction, bar: PciBarDetails, cursor: Cursor): PciBarDetails {
  const address = cursor.take(bar.size, `${fn.name} BAR${bar.index}`);
  const register = PciRegister.BAR0 + 4 * bar.index;
  const { config } = fn;
  config.write32(register, address);
  if (bar.wide) config.write32(register + 4, Math.floor(address / 0x1_0000_0000));
  const seen = (config.read32(register) & (bar.space === "io" ? ~3 : ~15)) >>> 0;
  if (seen === address % 0x1_0000_0000) return { ...bar, address };
  throw new VireoError(
    "CONFIG_INVALID",
    "Cannot assign a base address: the register must keep it",
    {
      device: fn.name,
      register: `BAR${bar.index}`,
      seen,
      expected: address,
    },
  );
}

/** Hands out addresses from the bottom up. */
class Cursor {
  readonly #name: string;
  readonly #end: number;
  readonly #taken: readonly PciRange[];
  #at: number;

  constructor(name: string, { base, size }: PciRange, taken: readonly PciRange[]) {
    this.#name = name;
    this.#at = base === 0 ? Math.min(BRIDGE_UNIT.io, size) : base;
    this.#end = base + size;
    this.#taken = [...taken].sort((a, b) => a.base - b.base);
  }

  align(unit: number): number {
    return this.#at = alignUp(this.#at, unit);
  }

  /** Takes a range that is aligned to its own size, as registers are. */
  take(size: number, what: string): number {
    let address = alignUp(this.#at, size);
    for (const { base, size: length } of this.#taken) {
      if (base < address + size && address < base + length) {
        address = alignUp(base + length, size);
      }
    }
    if (address + size > this.#end) {
      throw new VireoError("OUT_OF_MEMORY", `Cannot assign PCI ${this.#name} addresses`, {
        device: what,
        seen: `${size} bytes wanted`,
        expected: `at most ${Math.max(this.#end - this.#at, 0)}`,
      });
    }
    this.#at = address + size;
    return address;
  }
}
