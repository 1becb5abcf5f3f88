import { alignUp, PciCommand, PciRegister, VireoError } from "@vireo/hal";
import { type PciBarDetails, readBars } from "./pci.ts";
import type { PciFunction } from "./pci_scan.ts";
import { isHotPlugPort } from "./pci_slot.ts";

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
/** Bytes of memory behind a port for what may be plugged in later, as Linux's `pci=hpmemsize`. */
const HOT_PLUG_MEMORY = 2 * BRIDGE_UNIT.memory;

/** Told of a function that cannot have its addresses. */
export type AssignFailed = (fn: PciFunction, error: VireoError) => void;

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
 *
 * @example
 * ```ts
 * import { assignBars, type PciConfig, type PciWindows, scanPci } from "@vireo/hal/discover";
 *
 * // Gives each function of a segment its addresses, and lists those of the functions.
 * export function addresses(config: PciConfig, windows: PciWindows): [string, number[]][] {
 *   const bars = assignBars(scanPci(config, { number: new Map() }), windows);
 *   return [...bars].map(([{ name }, list]) => [name, list.map(({ address }) => address)]);
 * }
 * ```
 */
export function assignBars(
  functions: readonly PciFunction[],
  windows: PciWindows,
): Map<PciFunction, readonly PciBarDetails[]> {
  return new PciAssignment(windows).assign(functions);
}

interface Cursors {
  readonly memory: Cursor;
  readonly io: Cursor;
}

/** Ranges that a function was given. */
interface Given {
  readonly fn: PciFunction;
  readonly bars: readonly PciBarDetails[];
  /** Windows that its bridge forwards. */
  windows?: BridgeWindows;
}

interface BridgeWindows {
  readonly memory: PciRange;
  readonly io: PciRange;
}

/**
 * The addresses of a segment whose functions come, go and are reset while the machine runs: a function that stays
 * keeps its addresses, also if a reset took them.
 */
export class PciAssignment {
  readonly #windows: PciWindows;
  #given = new Map<string, Given>();
  #root: Cursors | undefined;

  /** Assigns nothing yet. */
  constructor(windows: PciWindows) {
    this.#windows = windows;
  }

  /**
   * Assigns as {@linkcode assignBars} does. Behind a bridge that it knows, new functions get addresses of the
   * bridge's window.
   *
   * @param functions All functions that are there now.
   * @param failed Told of a new function that cannot have its addresses, which then has none.
   * @throws {VireoError} `OUT_OF_MEMORY` or `CONFIG_INVALID` for such a function, without `failed`.
   */
  assign(
    functions: readonly PciFunction[],
    failed?: AssignFailed,
  ): Map<PciFunction, readonly PciBarDetails[]> {
    const before = this.#given;
    this.#given = new Map();
    for (const fn of functions) {
      const old = before.get(fn.name);
      this.#given.set(
        fn.name,
        old === undefined ? { fn, bars: readBars(fn.config) } : again(fn, old),
      );
    }
    this.#root ??= this.#cursors(this.#windows.memory, this.#windows.io ?? { base: 0, size: 0 });
    this.#assignBus(0, this.#root, failed ?? ((_, error) => raise(error)));
    return new Map([...this.#given.values()].map(({ fn, bars }) => [fn, bars]));
  }

  #cursors(memory: PciRange, io: PciRange): Cursors {
    const all = [...this.#given.values()].flatMap(({ bars }) => bars)
      .filter((bar) => bar.address !== 0);
    const taken = (space: string): PciRange[] =>
      all.filter((bar) => bar.space === space)
        .map(({ address, size }) => ({ base: address, size }));
    return {
      memory: new Cursor("memory", memory, taken("memory")),
      io: new Cursor("I/O", io, taken("io")),
    };
  }

  #assignBus(bus: number, cursors: Cursors, failed: AssignFailed): void {
    const here = [...this.#given.values()].filter(({ fn }) => fn.address.bus === bus);
    for (const given of here) {
      const { fn } = given;
      try {
        if (given.bars.every(({ address }) => address !== 0)) continue;
        const bars = given.bars.map((bar) =>
          bar.address !== 0
            ? bar
            : assign(fn, bar, bar.space === "io" ? cursors.io : cursors.memory)
        );
        this.#given.set(fn.name, { ...given, bars });
      } catch (error) {
        if (!(error instanceof VireoError)) throw error;
        failed(fn, error);
        // The next look tries again.
        this.#given.delete(fn.name);
      }
    }
    for (const { fn } of here) {
      const { bridge } = fn;
      const given = this.#given.get(fn.name);
      if (bridge === undefined || given === undefined) continue;
      if (given.windows !== undefined) {
        const { memory, io } = given.windows;
        openBridge(fn, memory, io);
        this.#assignBus(bridge.bus, this.#cursors(memory, io), failed);
      } // Whoever numbered a bridge also set its windows.
      else if (bridge.numbered) given.windows = this.#openNew(fn, bridge.bus, cursors, failed);
    }
  }

  /** Opens a bridge for what is behind it, and a port for what may be plugged in. */
  #openNew(fn: PciFunction, bus: number, cursors: Cursors, failed: AssignFailed): BridgeWindows {
    const from = {
      memory: cursors.memory.align(BRIDGE_UNIT.memory),
      io: cursors.io.align(BRIDGE_UNIT.io),
    };
    this.#assignBus(bus, cursors, failed);
    if (isHotPlugPort(fn.config)) {
      cursors.memory.reserve(from.memory + HOT_PLUG_MEMORY);
      cursors.io.reserve(from.io + BRIDGE_UNIT.io);
    }
    const range = (space: "memory" | "io"): PciRange => ({
      base: from[space],
      size: cursors[space].align(BRIDGE_UNIT[space]) - from[space],
    });
    const windows = { memory: range("memory"), io: range("io") };
    openBridge(fn, windows.memory, windows.io);
    return windows;
  }
}

function raise(error: VireoError): never {
  throw error;
}

/** Sets a bridge's windows and enables it. */
function openBridge({ config }: PciFunction, memory: PciRange, io: PciRange): void {
  // A bridge forwards nothing while the base is above the limit.
  const [low, high] = memory.size > 0
    ? [memory.base, memory.base + memory.size - 1]
    : [0xfff0_0000, 0];
  config.write16(WINDOW.MEMORY, low >>> 16 & 0xfff0);
  config.write16(WINDOW.MEMORY + 2, high >>> 16 & 0xfff0);
  config.write16(WINDOW.PREFETCH, 0xfff0);
  config.write16(WINDOW.PREFETCH + 2, 0);
  const [first, last] = io.size > 0 ? [io.base, io.base + io.size - 1] : [0xf000, 0];
  config.write8(WINDOW.IO, first >>> 8 & 0xf0);
  config.write8(WINDOW.IO + 1, last >>> 8 & 0xf0);
  config.write32(WINDOW.IO_HIGH, 0);
  const command = config.read16(PciRegister.COMMAND);
  const on = PciCommand.IO | PciCommand.MEMORY | PciCommand.BUS_MASTER;
  config.write16(PciRegister.COMMAND, command | on);
}

/**
 * Gives a function the addresses back that it had, or none if it is another one. One that still has them is only
 * looked at, because it may be running.
 */
function again(fn: PciFunction, old: Given): Given {
  if (fn.vendor === old.fn.vendor && fn.device === old.fn.device) {
    if (old.bars.every((bar) => lowWord(fn, bar) === bar.address % 0x1_0000_0000)) {
      return { ...old, fn };
    }
    const kind = ({ index, space, size, wide }: PciBarDetails) => [index, space, size, wide].join();
    const same = readBars(fn.config).map(kind).join(";") === old.bars.map(kind).join(";");
    if (same && old.bars.every((bar) => place(fn, bar))) return { ...old, fn };
  }
  return { fn, bars: readBars(fn.config).map((bar) => ({ ...bar, address: 0 })) };
}

/** The address that a register has, its lower 32 bits. */
function lowWord({ config }: PciFunction, { index, space }: PciBarDetails): number {
  return (config.read32(PciRegister.BAR0 + 4 * index) & (space === "io" ? ~3 : ~15)) >>> 0;
}

/** Writes an address; false if the register does not keep it. */
function place(fn: PciFunction, bar: PciBarDetails): boolean {
  const { index, wide, address } = bar;
  const register = PciRegister.BAR0 + 4 * index;
  const low = address % 0x1_0000_0000;
  fn.config.write32(register, low);
  if (wide) fn.config.write32(register + 4, Math.floor(address / 0x1_0000_0000));
  return lowWord(fn, bar) === low;
}

function assign(fn: PciFunction, bar: PciBarDetails, cursor: Cursor): PciBarDetails {
  const address = cursor.take(bar.size, `${fn.name} BAR${bar.index}`);
  if (place(fn, { ...bar, address })) return { ...bar, address };
  throw new VireoError(
    "CONFIG_INVALID",
    "Cannot assign a base address: the register must keep it",
    {
      device: fn.name,
      register: `BAR${bar.index}`,
      seen: lowWord(fn, bar),
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

  /** Leaves the addresses below this one unused, as far as there are any. */
  reserve(end: number): void {
    this.#at = Math.max(this.#at, Math.min(end, this.#end));
  }

  /** Takes a range that is aligned to its own size, as registers are. */
  take(size: number, what: string): number {
    let address = alignUp(this.#at, size);
    for (const { base, size: length } of this.#taken) {
      if (base < address + size) address = Math.max(address, alignUp(base + length, size));
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
