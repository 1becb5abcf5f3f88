import {
  type DeviceNode,
  type Field,
  type Interrupt,
  type Mmio,
  mmioRegisterName,
  PCI_CAP,
  PCI_COMMON,
  PCI_LEGACY,
  PciCapability,
  PciCapType,
  type PciLease,
  PciRegister,
} from "@vireo/hal";
import type { TraceTarget } from "./_target.ts";

/** Names a register of a window; undefined for one without a name. */
type Naming = (offset: number) => string | undefined;

/** A node whose register accesses are events of a tracer. */
export function tracedNode(node: DeviceNode, tracer: TraceTarget): DeviceNode {
  const { name } = node;
  if (node.kind === "vhost-user") return node;
  if (node.kind === "mmio") {
    return {
      ...node,
      open: () => {
        const lease = node.open();
        const mmio = tracedWindow(lease.mmio, mmioRegisterName, tracer, name);
        return {
          mmio,
          interrupt: lease.interrupt,
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      },
    };
  }
  return { ...node, open: () => tracedLease(node.open(), tracer, name) };
}

function tracedLease(lease: PciLease, tracer: TraceTarget, slot: string): PciLease {
  return {
    config: lease.config,
    bars: lease.bars,
    get line(): Interrupt | undefined {
      return lease.line;
    },
    messages: (count) => lease.messages(count),
    openBar: (index) => {
      const window = lease.openBar(index);
      return tracedWindow(window, barNames(lease.config, index), tracer, slot);
    },
    [Symbol.dispose]: () => lease[Symbol.dispose](),
  };
}

const COMMON = names(PCI_COMMON);
const LEGACY = names(PCI_LEGACY);

/** The registers of a BAR by the function's virtio capabilities, or those of the legacy header. */
function barNames(config: Mmio, bar: number): Naming {
  const parts: { readonly type: number; readonly start: number; readonly end: number }[] = [];
  const seen = new Set<number>();
  for (let at = config.read8(PciRegister.CAPABILITIES); at >= 64 && !seen.has(at);) {
    seen.add(at);
    const field = ({ offset }: Field): number => config.read32(at + offset);
    if (
      config.read8(at) === PciCapability.VENDOR && config.read8(at + PCI_CAP.bar.offset) === bar
    ) {
      const start = field(PCI_CAP.offset);
      const type = config.read8(at + PCI_CAP.cfg_type.offset);
      parts.push({ type, start, end: start + field(PCI_CAP.length) });
    }
    at = config.read8(at + 1) & 0xfc;
  }
  return (offset) => {
    const part = parts.find(({ start, end }) => offset >= start && offset < end);
    if (part === undefined) {
      if (parts.length > 0) return undefined;
      return LEGACY.get(offset) ?? `Config+${offset - PCI_LEGACY.SIZE}`;
    }
    const at = offset - part.start;
    switch (part.type) {
      case PciCapType.COMMON:
        return COMMON.get(at);
      case PciCapType.NOTIFY:
        return "QueueNotify";
      case PciCapType.ISR:
        return "ISR";
      case PciCapType.DEVICE:
        return `Config+${at}`;
      default:
        return undefined;
    }
  };
}

/** The fields of a layout by their offsets; the upper half of a 64-bit one has its own. */
function names(layout: Readonly<Record<string, unknown>>): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const [name, field] of Object.entries(layout)) {
    if (typeof field !== "object" || field === null || !("offset" in field)) continue;
    const { offset, size } = field as Field;
    found.set(offset, name);
    if (size === 8) found.set(offset + 4, `${name}+4`);
  }
  return found;
}

function tracedWindow(window: Mmio, naming: Naming, tracer: TraceTarget, slot: string): Mmio {
  const told = (op: "read" | "write", width: 1 | 2 | 4, offset: number, value: number): void =>
    tracer.emit(slot, {
      kind: "register",
      op,
      register: naming(offset),
      window: window.name,
      offset,
      width,
      value,
    });
  const read = (width: 1 | 2 | 4, offset: number, value: number): number => {
    told("read", width, offset, value);
    return value;
  };
  return {
    name: window.name,
    size: window.size,
    read8: (offset) => read(1, offset, window.read8(offset)),
    read16: (offset) => read(2, offset, window.read16(offset)),
    read32: (offset) => read(4, offset, window.read32(offset)),
    // Told before it happens: what the device does meanwhile comes after it.
    write8(offset, value) {
      told("write", 1, offset, value);
      window.write8(offset, value);
    },
    write16(offset, value) {
      told("write", 2, offset, value);
      window.write16(offset, value);
    },
    write32(offset, value) {
      told("write", 4, offset, value);
      window.write32(offset, value);
    },
  };
}
