/** An action that a driver must have done at least once for a rule to be looked at. */
export type Occasion =
  | "mmio"
  | "pci"
  | "empty-slot"
  | "init"
  | "failed"
  | "features"
  | "modern-features"
  | "mmio-features"
  | "foreign-features"
  | "refused"
  | "config"
  | "wide-config"
  | "queue"
  | "queue-stop"
  | "queue-reset"
  | "interrupt"
  | "notify"
  | "pci-notify"
  | "split"
  | "split-table"
  | "split-in-order"
  | "packed"
  | "packed-table"
  | "used"
  | "memory"
  | "run"
  | "rng"
  | "console"
  | "input"
  | "blk"
  | "net";

/** One rule that drivers are held to. */
export interface Rule {
  /** Its name, `ring.framing`; names are stable. */
  readonly id: string;
  /** The clauses, by id, or `virtio 1.4 §N` where the specification has no statement with a keyword. */
  readonly clauses: readonly string[];
  /** Duty of the driver. */
  readonly expected: string;
  /** Occasion of the rule. */
  readonly when: Occasion;
  /** Whether the specification says SHOULD: who breaks it deviates, and does not fail. */
  readonly should?: true;
}

const rule = (
  id: string,
  when: Occasion,
  clauses: string | readonly string[],
  expected: string,
): Rule => ({ id, when, clauses: typeof clauses === "string" ? [clauses] : clauses, expected });

const should = (...row: Parameters<typeof rule>): Rule => ({ ...rule(...row), should: true });

/** All rules, in the order in which a driver meets them. A rule that the emulator notes has its clause here. */
export const RULES: readonly Rule[] = [
  rule(
    "init.magic",
    "mmio",
    "drv.mmio.init.1",
    "MagicValue and Version are read before any other register",
  ),
  rule("init.device-id", "mmio", "drv.mmio.init.2", "DeviceID is read before what follows it"),
  rule(
    "init.empty-slot",
    "empty-slot",
    "drv.mmio.init.3",
    "no other register of a slot with DeviceID 0 is accessed",
  ),
  rule(
    "init.order",
    "init",
    "drv.basic.init.1",
    "ACKNOWLEDGE, DRIVER, features, FEATURES_OK, queues and DRIVER_OK come in this order",
  ),
  rule("init.reset", "init", "drv.basic.init.1", "the device is reset before its status is set"),
  rule("init.one-by-one", "init", "drv.basic.status.1", "status bits are set one by one"),
  rule("init.keep-bits", "init", "drv.basic.status.2", "a status bit that is set stays set"),
  rule(
    "init.recheck",
    "modern-features",
    "drv.basic.init.1",
    "the status is read again after FEATURES_OK was written",
  ),
  rule(
    "init.refused",
    "refused",
    "drv.basic.init.5",
    "the driver stops when the device does not keep FEATURES_OK",
  ),
  should(
    "init.say-failed",
    "refused",
    "drv.basic.init.4",
    "the driver sets FAILED when it gives a device up",
  ),
  rule("init.after-failed", "failed", "drv.basic.status.3", "a reset follows FAILED"),
  rule(
    "reset.wait-pci",
    "pci",
    "drv.pci.common-cfg.5",
    "device_status reads 0 before the driver goes on after a reset",
  ),
  should(
    "reset.wait-mmio",
    "mmio",
    "drv.basic.reset.1",
    "Status reads 0 before the driver goes on after a reset",
  ),
  rule(
    "features.offered",
    "features",
    "drv.basic.features.1",
    "only bits that are offered are accepted",
  ),
  rule(
    "features.unknown",
    "foreign-features",
    "drv.basic.features.4",
    "bits that no specification knows are not accepted",
  ),
  rule(
    "features.unknown-goes-on",
    "foreign-features",
    ["drv.basic.features.7", "drv.basic.features.3"],
    "the driver drives a device that also offers bits that it does not know",
  ),
  rule(
    "features.version-1",
    "modern-features",
    "drv.basic.reserved-features.1",
    "VERSION_1 is accepted",
  ),
  should(
    "features.access-platform",
    "modern-features",
    "drv.basic.reserved-features.2",
    "ACCESS_PLATFORM is accepted if it is offered",
  ),
  rule(
    "features.settled",
    "features",
    "drv.basic.init.3",
    "features stay as they are after FEATURES_OK",
  ),
  rule(
    "features.select-device",
    "mmio-features",
    "drv.mmio.layout.8",
    "DeviceFeaturesSel is written before DeviceFeatures is read",
  ),
  rule(
    "features.select-driver",
    "mmio-features",
    "drv.mmio.layout.9",
    "DriverFeaturesSel is written before DriverFeatures is",
  ),
  rule(
    "registers.mmio-access",
    "mmio",
    "drv.mmio.layout.1",
    "only registers that there are, in their direction",
  ),
  rule("registers.mmio-width", "mmio", "drv.mmio.layout.2", "registers are accessed by 32 bits"),
  rule(
    "registers.pci-width",
    "pci",
    "drv.pci.layout.1",
    "fields are accessed at their width and place",
  ),
  rule(
    "registers.pci-read-only",
    "pci",
    "drv.pci.common-cfg.1",
    "read-only fields are not written",
  ),
  rule(
    "config.width",
    "config",
    ["drv.mmio.layout.3", "drv.pci.layout.1"],
    "configuration is accessed inside of the space, aligned to the width",
  ),
  rule(
    "config.early-write",
    "config",
    "drv.basic.init.2",
    "configuration is not written before FEATURES_OK",
  ),
  rule(
    "config.atomic",
    "wide-config",
    ["drv.basic.config-space.1", "drv.basic.config-space.2"],
    "a field over 32 bits is read between two equal generations",
  ),
  rule(
    "queue.size",
    "queue",
    "drv.mmio.layout.10",
    "queue sizes are at most the device's maximum",
  ),
  rule(
    "queue.power-of-two",
    "queue",
    "drv.pci.common-cfg.3",
    "sizes of split rings are powers of two",
  ),
  rule(
    "queue.running",
    "queue",
    ["drv.mmio.layout.11", "drv.pci.common-cfg.4"],
    "a queue is set up before it is started, and not after",
  ),
  rule("queue.enable", "pci", "drv.pci.common-cfg.6", "0 is not written to queue_enable"),
  rule(
    "queue.stop",
    "queue-stop",
    "drv.mmio.layout.12",
    "QueueReady is read back after 0 was written to it",
  ),
  rule(
    "queue.reset",
    "queue-reset",
    ["drv.basic.vq-reset.1", "drv.mmio.layout.16", "drv.pci.common-cfg.7"],
    "the reset of a queue is confirmed before the queue is used again",
  ),
  rule(
    "ring.split-place",
    "queue",
    "drv.split-ring.layout.1",
    "a split ring is in memory, aligned to 16, 2 and 4 bytes",
  ),
  rule(
    "ring.packed-place",
    "packed",
    "drv.packed-ring.layout.1",
    "a packed ring is in memory, aligned to 16, 4 and 4 bytes",
  ),
  rule(
    "ring.used-flags",
    "split",
    "drv.split-ring.avail-suppress.1",
    "flags of the used ring are 0 when a queue is started",
  ),
  rule(
    "ring.avail-flags",
    "split",
    ["drv.split-ring.used-suppress.1", "drv.split-ring.used-suppress.2"],
    "flags of the available ring are 0 or 1, and 0 with EVENT_IDX",
  ),
  rule(
    "ring.avail-index",
    "split",
    "drv.split-ring.avail-ring.1",
    "the available index moves forward, by at most the size",
  ),
  rule(
    "ring.framing",
    "split",
    "drv.split-ring.framing.1",
    "device-readable parts of a chain come first",
  ),
  rule(
    "ring.chain-bytes",
    "split",
    "drv.split-ring.desc-table.1",
    "a chain has at most 2^32 bytes",
  ),
  rule(
    "ring.chain-length",
    "split",
    "drv.split-ring.indirect.3",
    "a chain is at most as long as the queue",
  ),
  rule(
    "ring.in-order",
    "split-in-order",
    ["drv.split-ring.desc-table.2", "drv.split-ring.indirect.5"],
    "with IN_ORDER each descriptor of a chain follows the one before it",
  ),
  rule(
    "ring.indirect-negotiated",
    "split-table",
    "drv.split-ring.indirect.1",
    "INDIRECT is used only if it was negotiated",
  ),
  rule("ring.indirect-nested", "split-table", "drv.split-ring.indirect.2", "tables are not nested"),
  rule(
    "ring.indirect-next",
    "split-table",
    "drv.split-ring.indirect.4",
    "INDIRECT and NEXT are not in one descriptor",
  ),
  rule(
    "ring.packed-list",
    "packed",
    "drv.packed-ring.sg.2",
    "a list has at most as many descriptors as are free",
  ),
  rule(
    "ring.packed-head-last",
    "packed",
    "drv.packed-ring.sg.6",
    "the head of a list becomes available after the rest",
  ),
  rule(
    "ring.packed-framing",
    "packed",
    "drv.packed-ring.sg.3",
    "device-readable parts of a list come first",
  ),
  rule(
    "ring.packed-indirect-negotiated",
    "packed-table",
    "drv.packed-ring.indirect.1",
    "INDIRECT is used only if it was negotiated",
  ),
  rule(
    "ring.packed-table-flags",
    "packed-table",
    "drv.packed-ring.indirect.2",
    "a table has no flag but WRITE",
  ),
  rule(
    "ring.packed-indirect-list",
    "packed-table",
    "drv.packed-ring.indirect.4",
    "INDIRECT is not in a list linked by NEXT",
  ),
  rule(
    "ring.exposed-split",
    "split",
    "drv.basic.cleanup.1",
    "descriptors stay as they are while the device has them",
  ),
  rule(
    "ring.exposed-packed",
    "packed",
    ["drv.packed-ring.desc-table.1", "drv.packed-ring.desc-table.2"],
    "descriptors stay as they are while the device has them",
  ),
  rule(
    "memory.freed",
    "memory",
    "drv.basic.cleanup.2",
    "memory is freed after the device is reset or has returned it",
  ),
  rule("notify.early", "notify", "drv.basic.init.6", "no notification before DRIVER_OK"),
  rule(
    "notify.missing",
    "split",
    ["drv.split-ring.avail-suppress.4", "drv.split-ring.avail-suppress.6"],
    "the device is notified of buffers that it has not asked to find by itself",
  ),
  rule(
    "notify.missing-packed",
    "packed",
    "virtio 1.4 §2.8.14",
    "the device is notified of buffers that it has not asked to find by itself",
  ),
  should(
    "notify.needless",
    "split",
    "drv.split-ring.avail-suppress.3",
    "no notification while the used ring's flags are 1",
  ),
  rule(
    "notify.width",
    "pci-notify",
    ["drv.pci.avail-notify.1", "drv.pci.avail-notify.2"],
    "notifications are 16 bits wide, and 32 with NOTIFICATION_DATA",
  ),
  rule(
    "notify.value",
    "pci-notify",
    ["drv.pci.avail-notify.3", "drv.pci.avail-notify.4"],
    "a notification names the queue of its address",
  ),
  rule(
    "notify.position",
    "packed",
    "drv.packed-ring.desc-table.3",
    "the position in a notification is the next descriptor's",
  ),
  rule(
    "interrupt.read",
    "interrupt",
    "drv.mmio.notify.1",
    "InterruptStatus is read before causes are acknowledged",
  ),
  rule(
    "interrupt.acknowledge",
    "interrupt",
    ["drv.mmio.layout.14", "drv.mmio.notify.3"],
    "causes that were read are acknowledged",
  ),
  rule(
    "interrupt.undefined",
    "interrupt",
    "drv.mmio.layout.15",
    "undefined bits are not acknowledged",
  ),
  rule("rng.writable", "rng", "drv.rng.operation.1", "buffers are device-writable only"),
  rule(
    "console.receive",
    "console",
    "drv.console.operation.1",
    "receive buffers are device-writable",
  ),
  rule(
    "console.transmit",
    "console",
    "drv.console.operation.2",
    "transmit buffers are device-readable",
  ),
  rule("input.events", "input", "drv.input.operation.2", "event buffers have room for an event"),
  rule("input.status", "input", "drv.input.operation.3", "status buffers have whole events"),
  rule("net.receive", "net", "drv.net.rx-buffers.3", "receive buffers have room for the header"),
  rule("net.flags", "net", "drv.net.tx.3", "flags of a header are 0 without CSUM"),
  rule("net.buffers", "net", "drv.net.tx.2", "num_buffers of a sent header is 0"),
  rule("blk.capacity", "blk", "drv.blk.operation.2", "requests end at the disk's end at most"),
  rule("blk.flush-sector", "blk", "drv.blk.operation.4", "the sector of a FLUSH is 0"),
  rule("blk.whole-sectors", "blk", "drv.blk.operation.6", "IN and OUT have whole sectors of data"),
  rule("blk.id-length", "blk", "drv.blk.operation.8", "GET_ID has room for 20 bytes"),
  rule(
    "run.ends",
    "run",
    "virtio 1.4 §3.2",
    "the script ends in time, and without an error if it can",
  ),
];

const BY_ID: ReadonlyMap<string, Rule> = new Map(RULES.map((row) => [row.id, row]));

/** The rule with a name. @throws {TypeError} If there is none. */
export function ruleOf(id: string): Rule {
  const found = BY_ID.get(id);
  if (found === undefined) throw new TypeError(`Cannot find the rule '${id}'`);
  return found;
}

/**
 * The rule that a violation of the emulator's log breaks: one of the table, or one of its own if the table has
 * no such clause.
 */
export function ruleOfClause(clause: string, id: string): Rule {
  return RULES.find(({ clauses }) => clauses.includes(clause)) ??
    { id, clauses: [clause], expected: "the driver keeps the clause", when: "run" };
}
