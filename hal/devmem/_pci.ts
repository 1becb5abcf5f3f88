import {
  type Interrupt,
  type Mmio,
  MSIX_CAP,
  PCI_CAP,
  PCI_LEGACY,
  type PciBar,
  PciCapability,
  PciCapType,
  PciCommand,
  type PciLease,
  type PciNode,
  PciRegister,
  VireoError,
} from "@vireo/hal";
import {
  FileMmio,
  isThere,
  parsePciResources,
  pciCapabilities,
  sysfsDriver,
  type SysfsPciFunction,
} from "../discover/mod.ts";

/** Where a driver notifies a device: a range of a base address register. */
interface NotifyRange {
  /** Index of the register. */
  readonly bar: number;
  /** The first byte. */
  readonly start: number;
  /** The first byte after it. */
  readonly end: number;
}

/** An interrupt line of the machine, or what stands in for it. */
export interface PciLine extends Disposable {
  /** The interrupt that drivers wait on. */
  readonly interrupt: Interrupt;
  /** Whether INTx may be enabled: something lowers the line again. */
  readonly delivered: boolean;
  /** Reports that the driver notified the device. */
  kicked(): void;
}

/** A mapped register window; disposing of it unmaps it. */
export interface MappedWindow extends Disposable {
  /** The registers. */
  readonly mmio: Mmio;
}

/** The parts of its platform that a function uses. */
export interface PciHost {
  /** Whether the platform may take functions from their Linux drivers. */
  readonly unbind: boolean;
  /** Maps a memory register's file. */
  mapFile(name: string, path: string, size: number, kicks: Kicks): MappedWindow;
  /** Makes the interrupt of a function that has no Linux driver. */
  line(fn: SysfsPciFunction, config: Mmio): PciLine;
}

/** Writes that mean that a device has work. */
export interface Kicks {
  /** Called after each write to the range. */
  readonly kicked: () => void;
  /** The first byte. */
  readonly start: number;
  /** The first byte after it. */
  readonly end: number;
}

/** The node of a function that sysfs lists. */
export function sysfsNode(fn: SysfsPciFunction, host: PciHost): PciNode {
  const { name, address, vendor, device } = fn;
  return { kind: "pci", name, address, vendor, device, open: () => openFunction(fn, host) };
}

function openFunction(fn: SysfsPciFunction, host: PciHost): PciLease {
  // In this order: disposed of in reverse, each step restores what it found.
  using cleanup = new DisposableStack();
  cleanup.use(takeFromDriver(fn, host.unbind));
  const { name, path } = fn;
  const config = cleanup.use(new FileMmio(name, `${path}/config`));
  cleanup.use(restoreConfig(config));
  const bars = parsePciResources(Deno.readTextFileSync(`${path}/resource`));
  const line = cleanup.use(host.line(fn, config));
  if (!line.delivered) {
    // Nothing would lower the line, so Linux would disable it, also for the devices that share it.
    config.write16(
      PciRegister.COMMAND,
      config.read16(PciRegister.COMMAND) | PciCommand.INTX_DISABLE,
    );
  }
  const notify = notifyRanges(config);
  const windows = cleanup.use(new DisposableStack());
  const leased = cleanup.move();
  return {
    config,
    bars,
    line: line.interrupt,
    // Linux hands messages out to its own drivers only.
    messages: () => undefined,
    openBar(index) {
      const bar = findBar(name, bars, index);
      const range = notify.find((candidate) => candidate.bar === index);
      const kicks = {
        kicked: () => line.kicked(),
        start: range?.start ?? 0,
        end: range?.end ?? 0,
      };
      const title = `${name} BAR${index}`;
      const file = `${path}/resource${index}`;
      if (bar.space === "memory") {
        return windows.use(host.mapFile(title, file, bar.size, kicks)).mmio;
      }
      return notifying(windows.use(new FileMmio(title, file, bar.size)), kicks);
    },
    [Symbol.dispose]: () => leased.dispose(),
  };
}

function findBar(name: string, bars: readonly PciBar[], index: number): PciBar {
  const bar = bars.find((candidate) => candidate.index === index);
  if (bar !== undefined) return bar;
  throw new VireoError("BAD_ACCESS", "Cannot map a base address register", {
    device: name,
    seen: index,
    expected: bars.map((known) => known.index).join(" or ") || "none",
  });
}

/** Takes a function from its Linux driver; disposing of the result gives it back. */
function takeFromDriver({ name, path }: SysfsPciFunction, allowed: boolean): Disposable {
  const driver = sysfsDriver(path);
  if (driver === undefined) return { [Symbol.dispose]() {} };
  if (!allowed) {
    throw new VireoError("BAD_ACCESS", "Cannot take the function from its Linux driver", {
      device: name,
      seen: driver,
      expected: "no driver, or permission to unbind it",
    });
  }
  const directory = Deno.realPathSync(`${path}/driver`);
  Deno.writeTextFileSync(`${directory}/unbind`, name);
  return {
    [Symbol.dispose]: () => {
      if (isThere(path)) Deno.writeTextFileSync(`${directory}/bind`, name);
    },
  };
}

/** Restores, on disposal, what drivers change in configuration space. */
function restoreConfig(config: Mmio): Disposable {
  const command = config.read16(PciRegister.COMMAND);
  const msix = pciCapabilities(config, PciCapability.MSIX)[0]?.offset;
  const control = msix === undefined ? 0 : config.read16(msix + MSIX_CAP.control.offset);
  return {
    [Symbol.dispose]: () => {
      if (msix !== undefined) config.write16(msix + MSIX_CAP.control.offset, control);
      config.write16(PciRegister.COMMAND, command);
    },
  };
}

/** Where a driver notifies a virtio device; the poller watches these ranges. */
function notifyRanges(config: Mmio): NotifyRange[] {
  const ranges = pciCapabilities(config, PciCapability.VENDOR)
    .filter(({ offset }) => config.read8(offset + PCI_CAP.cfg_type.offset) === PciCapType.NOTIFY)
    .map(({ offset }) => {
      const bar = config.read8(offset + PCI_CAP.bar.offset);
      const start = config.read32(offset + PCI_CAP.offset.offset);
      return { bar, start, end: start + config.read32(offset + PCI_CAP.length.offset) };
    });
  const { offset, size } = PCI_LEGACY.queue_notify;
  return [...ranges, { bar: 0, start: offset, end: offset + size }];
}

/** The same window; it reports writes to a range. */
function notifying(window: Mmio, { kicked, start, end }: Kicks): Mmio {
  const tell = (offset: number): void => {
    if (offset >= start && offset < end) kicked();
  };
  return {
    name: window.name,
    size: window.size,
    read8: (offset) => window.read8(offset),
    read16: (offset) => window.read16(offset),
    read32: (offset) => window.read32(offset),
    write8: (offset, value) => window.write8(offset, value),
    write16(offset, value) {
      window.write16(offset, value);
      tell(offset);
    },
    write32(offset, value) {
      window.write32(offset, value);
      tell(offset);
    },
  };
}
