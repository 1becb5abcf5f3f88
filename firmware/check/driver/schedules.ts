import type { RingOptions } from "@vireo/emu";
import type { BoardOptions } from "../../target/options.ts";

/** How a device tempts its driver; what is not there is plain. */
export interface Temper {
  /** Used buffers come back some milliseconds late, not all at once. */
  readonly late?: true;
  /** Those of request queues come back in another order. */
  readonly reorder?: true;
  /** Entropy comes in parts, and what is behind them in the buffer is noise. */
  readonly partial?: true;
  /** The configuration generation moves on at each step. */
  readonly changes?: true;
  /** The device wants no notifications, and looks by itself. */
  readonly poll?: true;
  /** Interrupts with nothing to tell, and undefined bits in InterruptStatus. */
  readonly spurious?: true;
  /** The status reads as before the reset for a while. */
  readonly slowReset?: true;
  /** Bits are offered that no specification knows. */
  readonly unknownFeatures?: true;
  /** The device does not keep FEATURES_OK. */
  readonly refuse?: true;
  /** The device needs a reset after so many buffers, counted from a random one of the first few. */
  readonly needsReset?: number;
}

/** A named way to run a driver. */
export interface Schedule {
  /** Its name, for `--only`. */
  readonly name: string;
  /** Behaviour of the device. */
  readonly done: string;
  /** Clauses that it tempts a driver to break, beside everything else. */
  readonly clauses: readonly string[];
  /** The board, over what the user asked for. */
  readonly board?: Partial<BoardOptions>;
  /** Abilities of the rings. */
  readonly ring?: RingOptions;
  /** How the device behaves. */
  readonly temper?: Temper;
  /** Whether the script may fail, because the device fails. */
  readonly mayFail?: true;
}

const PCI = { transport: "pci" } as const;

/** All schedules. */
export const SCHEDULES: readonly Schedule[] = [
  {
    name: "plain",
    done: "virtio-mmio version 2, split rings, a device that answers at once",
    clauses: ["virtio 1.4 §3.2"],
  },
  {
    name: "mmio-1",
    done: "virtio-mmio version 1",
    clauses: ["drv.basic.legacy-init.1"],
    board: { legacy: true },
  },
  { name: "pci", done: "PCI, modern", clauses: ["virtio 1.4 §4.1"], board: PCI },
  {
    name: "pci-transitional",
    done: "PCI, legacy and modern in one function",
    clauses: ["drv.pci.legacy-detection.1"],
    board: { ...PCI, transitional: true },
  },
  {
    name: "pci-legacy",
    done: "PCI, legacy",
    clauses: ["drv.pci.legacy-detection.2"],
    board: { ...PCI, legacy: true },
  },
  {
    name: "packed",
    done: "packed rings",
    clauses: ["virtio 1.4 §2.8"],
    board: { packed: true },
  },
  {
    name: "packed-pci",
    done: "packed rings on PCI, with NOTIFICATION_DATA",
    clauses: ["virtio 1.4 §2.8", "drv.pci.avail-notify.2"],
    board: { ...PCI, packed: true, notificationData: true },
  },
  {
    name: "in-order",
    done: "IN_ORDER, one used entry for several buffers",
    clauses: ["virtio 1.4 §2.7.9"],
    board: { inOrder: true },
    ring: { batchUsed: true },
  },
  {
    name: "packed-in-order",
    done: "packed rings and IN_ORDER, one used descriptor for several buffers",
    clauses: ["virtio 1.4 §2.8.9"],
    board: { packed: true, inOrder: true },
    ring: { batchUsed: true },
  },
  {
    name: "notification-data",
    done: "NOTIFICATION_DATA",
    clauses: ["virtio 1.4 §2.9"],
    board: { notificationData: true },
  },
  {
    name: "no-indirect",
    done: "no INDIRECT_DESC",
    clauses: ["drv.split-ring.indirect.1"],
    ring: { indirect: false },
  },
  {
    name: "no-event-idx",
    done: "no EVENT_IDX",
    clauses: ["drv.split-ring.avail-suppress.2"],
    ring: { eventIdx: false },
  },
  {
    name: "packed-bare",
    done: "packed rings without INDIRECT_DESC and EVENT_IDX",
    clauses: ["virtio 1.4 §2.8"],
    board: { packed: true },
    ring: { indirect: false, eventIdx: false },
  },
  {
    name: "access-platform",
    done: "ACCESS_PLATFORM",
    clauses: ["drv.basic.reserved-features.2"],
    board: { platformIommu: true },
  },
  {
    name: "small",
    done: "queues of 4 descriptors",
    clauses: ["drv.split-ring.indirect.3"],
    ring: { maxQueueSize: 4 },
  },
  {
    name: "small-bare",
    done: "queues of 4 descriptors, no INDIRECT_DESC",
    clauses: ["drv.split-ring.indirect.3"],
    ring: { maxQueueSize: 4, indirect: false },
  },
  {
    name: "small-packed",
    done: "packed rings of 4 descriptors, no INDIRECT_DESC",
    clauses: ["drv.packed-ring.sg.5"],
    board: { packed: true },
    ring: { maxQueueSize: 4, indirect: false },
  },
  {
    name: "late",
    done: "answers come late, and not all at once",
    clauses: ["virtio 1.4 §2.7.14"],
    temper: { late: true },
  },
  {
    name: "late-packed",
    done: "answers come late, and not all at once, in packed rings on PCI",
    clauses: ["virtio 1.4 §2.8"],
    board: { ...PCI, packed: true },
    temper: { late: true },
  },
  {
    name: "reorder",
    done: "answers come late and in another order",
    clauses: ["virtio 1.4 §2.7.8"],
    temper: { late: true, reorder: true },
  },
  {
    name: "reorder-packed",
    done: "answers come late and in another order, in packed rings",
    clauses: ["virtio 1.4 §2.8"],
    board: { packed: true },
    temper: { late: true, reorder: true },
  },
  {
    name: "partial",
    done: "entropy comes in parts, with noise behind them",
    clauses: ["drv.split-ring.used-ring.1", "drv.rng.operation.2"],
    temper: { partial: true },
  },
  {
    name: "changes",
    done: "the configuration changes at every step",
    clauses: ["drv.basic.config-space.1", "drv.basic.config-space.2"],
    temper: { changes: true },
  },
  {
    name: "changes-pci",
    done: "the configuration changes at every step, on PCI",
    clauses: ["drv.pci.config-change.1"],
    board: PCI,
    temper: { changes: true },
  },
  {
    name: "changes-late",
    done: "the configuration changes at every step, version 1, with late answers",
    clauses: ["drv.basic.legacy-config-space.1"],
    board: { legacy: true },
    temper: { changes: true, late: true },
  },
  {
    name: "suppress",
    done: "the device wants no notifications, by flags",
    clauses: ["drv.split-ring.avail-suppress.3"],
    ring: { eventIdx: false },
    temper: { poll: true },
  },
  {
    name: "suppress-event",
    done: "the device wants no notifications, with EVENT_IDX",
    clauses: ["drv.split-ring.avail-suppress.5", "drv.split-ring.avail-suppress.7"],
    temper: { poll: true },
  },
  {
    name: "suppress-packed",
    done: "the device wants no notifications, in packed rings",
    clauses: ["virtio 1.4 §2.8.14"],
    board: { packed: true },
    temper: { poll: true },
  },
  {
    name: "spurious",
    done: "interrupts with nothing to tell, and undefined bits of InterruptStatus",
    clauses: ["drv.split-ring.used-suppress.3", "drv.mmio.layout.13"],
    temper: { spurious: true },
  },
  {
    name: "spurious-pci",
    done: "interrupts with nothing to tell, on PCI",
    clauses: ["drv.split-ring.used-suppress.3"],
    board: PCI,
    temper: { spurious: true },
  },
  {
    name: "slow-reset",
    done: "the status reads as before for a while after a reset",
    clauses: ["drv.basic.reset.1"],
    temper: { slowReset: true },
  },
  {
    name: "slow-reset-pci",
    done: "the status reads as before for a while after a reset, on PCI",
    clauses: ["drv.pci.common-cfg.5"],
    board: PCI,
    temper: { slowReset: true },
  },
  {
    name: "unknown-features",
    done: "bits are offered that no specification knows",
    clauses: ["drv.basic.features.3", "drv.basic.features.7"],
    temper: { unknownFeatures: true },
  },
  {
    name: "refuse",
    done: "the device does not keep FEATURES_OK",
    clauses: ["drv.basic.init.1", "drv.basic.init.5"],
    temper: { refuse: true },
    mayFail: true,
  },
  {
    name: "needs-reset",
    done: "the device needs a reset after the first buffers",
    clauses: ["drv.basic.status.4"],
    temper: { needsReset: 0 },
    mayFail: true,
  },
  {
    name: "needs-reset-later",
    done: "the device needs a reset after some buffers, with late answers",
    clauses: ["drv.basic.status.4"],
    temper: { needsReset: 4, late: true },
    mayFail: true,
  },
  {
    name: "needs-reset-packed",
    done: "the device needs a reset after some buffers, in packed rings on PCI",
    clauses: ["drv.basic.status.4"],
    board: { ...PCI, packed: true },
    temper: { needsReset: 2 },
    mayFail: true,
  },
];
