import type { Step, Variant } from "./program.ts";

/** An offence of a driver. */
export type Offence =
  | "status"
  | "features"
  | "early"
  | "again"
  | "disable"
  | "size"
  | "select"
  | "notify"
  | "chain";

/** One of them. */
interface OffenceEntry {
  /** Action of the driver. */
  readonly what: string;
  /** The clauses that forbid it. */
  readonly clauses: readonly string[];
  /** Names of what may differ from then on, until the next reset. */
  readonly shows: RegExp;
}

/** Offences of a driver, and the clauses that forbid them; the device may then show anything. */
export const OFFENCES: Readonly<Record<Offence, OffenceEntry>> = {
  status: {
    what: "writes status bits out of order, several at once, or takes one back",
    clauses: ["drv.basic.status.1", "drv.basic.status.2", "drv.basic.status.3", "drv.basic.init.1"],
    shows: /^Status$|^InterruptStatus$|^QueueReady$|^q\d/,
  },
  features: {
    what: "settles features that were not offered, without VERSION_1, or after FEATURES_OK",
    clauses: ["drv.basic.features.1", "drv.basic.reserved-features.1", "drv.basic.init.3"],
    shows: /^Status$|^InterruptStatus$|^QueueReady$|^q\d|^config/,
  },
  early: {
    what: "sets a queue up before FEATURES_OK, or makes one ready without parts",
    clauses: ["drv.basic.init.1"],
    shows: /^QueueReady$|^Status$|^InterruptStatus$|^q\d/,
  },
  again: {
    what: "changes a queue that runs",
    clauses: ["drv.mmio.layout.11", "drv.mmio.layout.12"],
    shows: /^QueueReady$|^QueuePFN$|^QueueSizeMax$|^Status$|^InterruptStatus$|^q\d/,
  },
  disable: {
    what: "writes 0 to queue_enable: QEMU asks for a reset, the emulator takes no notice",
    clauses: ["drv.pci.common-cfg.6"],
    shows: /^QueueReady$|^Status$|^InterruptStatus$|^q\d/,
  },
  size: {
    what: "writes a queue size or an alignment that no queue can have",
    clauses: ["drv.mmio.layout.10"],
    shows: /^QueueReady$|^QueuePFN$|^QueueSizeMax$|^Status$|^InterruptStatus$|^q\d/,
  },
  select: {
    what: "selects a queue past every device's last one (QEMU keeps the selection before)",
    clauses: ["virtio 1.4 §4.2.2 QueueSel"],
    shows: /^Queue/,
  },
  notify: {
    what: "notifies a queue that does not run, or before DRIVER_OK",
    clauses: ["drv.basic.init.6"],
    shows: /^Status$|^InterruptStatus$|^q\d/,
  },
  chain: {
    what: "makes a bad chain available: QEMU may not look at all of it, or go on",
    clauses: ["dev.basic.status.2"],
    shows: /^Status$|^InterruptStatus$|^q\d/,
  },
};

/** Statuses that may follow each status; a driver may always reset. */
const NEXT: readonly Readonly<Record<number, readonly number[]>>[] = [
  { 0: [1], 1: [1, 3], 3: [3, 7], 7: [7] },
  { 0: [1], 1: [1, 3], 3: [3, 0xb], 0xb: [0xb, 0xf], 0xf: [0xf] },
];

/** Follows a program as the specification has it, and says what its driver did wrong so far. */
export function offences(
  { version, bus }: Pick<Variant, "version" | "bus">,
  program: readonly Step[],
  maxQueues: number,
): ReadonlySet<Offence> {
  let found = new Set<Offence>();
  let status = 0;
  let settled = false;
  let selected = 0;
  let running = new Set<number>();
  const reset = (): void => {
    // A reset puts everything right.
    found = new Set();
    status = 0;
    settled = false;
    selected = 0;
    running = new Set();
  };
  const writeStatus = (value: number): void => {
    if (value === 0) return reset();
    if (!NEXT[version - 1]![status]?.includes(value)) found.add("status");
    if (version === 2 && (value & 8) !== 0 && !settled) found.add("features");
    status = value;
  };
  for (const step of program) {
    switch (step.do) {
      case "reset":
        reset();
        break;
      case "init":
        reset();
        status = version === 1 ? 3 : 0xb;
        settled = true;
        selected = 0;
        break;
      case "start":
        writeStatus(status | 4);
        break;
      case "queue":
        if (version === 2 && (status & 8) === 0) found.add("early");
        if (running.has(step.index)) found.add("again");
        running.add(step.index);
        selected = step.index;
        break;
      case "request":
        if (!running.has(step.queue)) found.add("notify");
        if ((status & 4) === 0) found.add("notify");
        if (step.wrong !== undefined) found.add("chain");
        break;
      case "write":
        switch (step.register) {
          case "Status":
            writeStatus(step.value);
            break;
          case "QueueSel":
            if (step.value >= 1024) found.add("select");
            else selected = step.value;
            break;
          case "QueueSize":
            if (running.has(selected)) found.add("again");
            if (step.value > 64 || step.value === 0 || (step.value & (step.value - 1)) !== 0) {
              found.add("size");
            }
            break;
          case "QueueAlign":
            if (running.has(selected)) found.add("again");
            break;
          case "QueueReady":
            if (bus === "pci" && step.value === 0) found.add("disable");
            else if (step.value === 0) running.delete(selected);
            else if (running.has(selected)) found.add("again");
            else found.add("early");
            if (step.value === 0 && selected < maxQueues) found.add("again");
            break;
          case "QueueNotify":
            if (!running.has(step.value) || (status & 4) === 0) found.add("notify");
            break;
          case "DriverFeatures":
            found.add("features");
            break;
        }
    }
  }
  return found;
}
