import type { DeviceNode, Mmio, MmioLease, MmioNode, PciLease, PciNode } from "@vireo/hal";
import { COMMON, LEGACY, LEGACY_SIZE, MMIO } from "../raw/registers.ts";

/** A register access as a watcher sees it. */
export interface Access {
  /** `Status`, `queue_enable`, `isr`, `notify`, `config+4`, `pci+6`: the register's own name. */
  readonly name: string;
  /** Offset in the window. */
  readonly offset: number;
  /** Width in bytes. */
  readonly width: 1 | 2 | 4;
}

/** A watcher between a driver and the registers of an emulated device. */
export interface WindowWatcher {
  /** Somebody opened the slot or function. */
  opened?(): void;
  /** Returns the value to read instead of `value`. */
  read(access: Access, value: number): number;
  /** Carries out a write; `forward` lets the device have it, or another value. */
  write(access: Access, value: number, forward: (value?: number) => void): void;
}

const NAMES = new Map(Object.entries(MMIO).map(([name, { offset }]) => [offset, name]));
const FIELDS = new Map(Object.entries(COMMON).map(([name, { offset }]) => [offset, name]));
const HEADER = new Map(Object.entries(LEGACY).map(([name, { offset }]) => [offset, name]));

function mmioName(offset: number): string {
  return offset >= 0x100 ? `config+${offset - 0x100}` : NAMES.get(offset) ?? `+${offset}`;
}

/** The parts of the emulator's modern BAR are a page each; BAR 0 is the legacy interface's. */
function barName(index: number, offset: number): string {
  if (index === 0) {
    return HEADER.get(offset) ??
      (offset < LEGACY_SIZE ? `+${offset}` : `config+${offset - LEGACY_SIZE}`);
  }
  if (index !== 4) return `bar${index}+${offset}`;
  if (offset >= 0x3000) return "notify";
  if (offset >= 0x2000) return `config+${offset - 0x2000}`;
  return offset >= 0x1000 ? "isr" : FIELDS.get(offset) ?? `+${offset}`;
}

function watchWindow(
  window: Mmio,
  nameOf: (offset: number) => string,
  watcher: WindowWatcher,
): Mmio {
  const read = (offset: number, width: 1 | 2 | 4, value: number): number =>
    watcher.read({ name: nameOf(offset), offset, width }, value) >>> 0;
  const write = (
    offset: number,
    width: 1 | 2 | 4,
    value: number,
    pass: (value: number) => void,
  ): void =>
    watcher.write({ name: nameOf(offset), offset, width }, value, (other) => pass(other ?? value));
  return {
    name: window.name,
    size: window.size,
    read8: (offset) => read(offset, 1, window.read8(offset)),
    read16: (offset) => read(offset, 2, window.read16(offset)),
    read32: (offset) => read(offset, 4, window.read32(offset)),
    write8: (offset, value) => write(offset, 1, value, (other) => window.write8(offset, other)),
    write16: (offset, value) => write(offset, 2, value, (other) => window.write16(offset, other)),
    write32: (offset, value) => write(offset, 4, value, (other) => window.write32(offset, other)),
  };
}

/** A slot or function of the emulator whose register accesses pass a watcher. */
export function watchNode(node: MmioNode | PciNode, watcher: WindowWatcher): DeviceNode {
  if (node.kind === "mmio") {
    return {
      ...node,
      open: (): MmioLease => {
        const lease = node.open();
        watcher.opened?.();
        return {
          mmio: watchWindow(lease.mmio, mmioName, watcher),
          interrupt: lease.interrupt,
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      },
    };
  }
  return {
    kind: "pci",
    name: node.name,
    address: node.address,
    vendor: node.vendor,
    device: node.device,
    open: (): PciLease => {
      const lease = node.open();
      watcher.opened?.();
      return {
        config: watchWindow(lease.config, (offset) => `pci+${offset}`, watcher),
        bars: lease.bars,
        line: lease.line,
        openBar: (index) =>
          watchWindow(lease.openBar(index), (offset) => barName(index, offset), watcher),
        messages: (count) => lease.messages(count),
        [Symbol.dispose]: () => lease[Symbol.dispose](),
      };
    },
  };
}
