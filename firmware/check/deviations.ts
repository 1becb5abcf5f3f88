import type { Check } from "./check.ts";

/** Where a check failed. */
export interface Surroundings {
  /** The device. */
  readonly device: { readonly id: number; readonly bus: string; readonly face: string };
  /** Version of the QEMU behind it, if it is one. */
  readonly qemu: string | undefined;
}

/** A clause that a device is known not to keep. */
export interface Deviation {
  /** Ids of the checks that show it, or their beginning if it ends in a full stop or a dash. */
  readonly checks: readonly string[];
  /** Virtio ids of the devices; all by default. */
  readonly devices?: readonly number[];
  /** The bus; any by default. */
  readonly bus?: "mmio" | "pci";
  /** The interface; either by default. */
  readonly face?: "modern" | "legacy";
  /** Major versions of QEMU that show it. */
  readonly qemu: readonly number[];
  /** Clauses that are not kept. */
  readonly clauses: readonly string[];
  /** Pattern of the failure's text. */
  readonly seen?: RegExp;
  /** Whether QEMU ends or hangs, and a guest with it. */
  readonly ends?: true;
  /** How the device deviates, and where that was seen. */
  readonly reason: string;
}

const BOTH = [7, 10] as const;
const HANGS = /^QEMU did not answer within its deadline/;

/** Deviations of QEMU 7.2 and 10.0 from virtio 1.4 that were seen. */
export const DEVIATIONS: readonly Deviation[] = [
  {
    checks: ["mmio.queue-not-ready"],
    bus: "mmio",
    qemu: BOTH,
    clauses: ["dev.mmio.layout.7"],
    reason: "QEMU goes on with a queue whose QueueReady was written 0, though it reads 0",
  },
  {
    checks: ["queue-reset."],
    bus: "mmio",
    qemu: BOTH,
    clauses: ["dev.mmio.layout.10", "dev.basic.vq-reset.1", "dev.basic.vq-reset.2"],
    reason: "QEMU offers RING_RESET on virtio-mmio, but has no QueueReset register there",
  },
  {
    checks: ["packed.queue-reset"],
    bus: "mmio",
    qemu: BOTH,
    clauses: ["dev.mmio.layout.10", "dev.basic.vq-reset.2"],
    reason: "QEMU offers RING_RESET on virtio-mmio, but has no QueueReset register there",
  },
  {
    checks: ["mmio.no-other-cause", "pci.isr.nothing"],
    qemu: BOTH,
    clauses: ["dev.mmio.layout.4", "dev.pci.isr.4"],
    seen: /after DRIVER_OK: saw 0x1/,
    reason:
      "QEMU's eventfds notify every queue at the start, and console and input interrupt for it",
  },
  {
    checks: ["features.words-beyond"],
    bus: "mmio",
    qemu: BOTH,
    clauses: ["dev.basic.features.4"],
    reason: "QEMU's virtio-mmio shows feature word 1 for every select but 0: as bits 64 and up too",
  },
  {
    checks: ["features.any-layout"],
    face: "legacy",
    qemu: BOTH,
    clauses: ["dev.basic.legacy-reserved-features.2"],
    reason: "QEMU's legacy disks, and others, do not offer ANY_LAYOUT",
  },
  {
    checks: ["features.not-offered.unused-legacy-bit-30"],
    bus: "pci",
    face: "legacy",
    qemu: BOTH,
    clauses: ["dev.basic.legacy-reserved-features.3"],
    reason: "QEMU's legacy functions offer bit 30, by which it knew drivers that accept everything",
  },
  {
    checks: ["features.hostile.foreign.", "pci.common.driver-feature-valid"],
    bus: "pci",
    qemu: BOTH,
    clauses: ["dev.pci.common-cfg.4", "dev.basic.features.3"],
    seen: /driver_feature|foreign bits/,
    reason: "QEMU's driver_feature reads back bits that were not offered; they have no effect",
  },
  {
    checks: ["queue.hostile.no-such-started"],
    qemu: BOTH,
    clauses: ["virtio 1.4 §4.2.2", "dev.pci.common-cfg.13"],
    reason: "QEMU ignores the selection of a queue from 1024 up and keeps the one before",
  },
  {
    checks: ["status.no-use-before-driver-ok"],
    qemu: BOTH,
    clauses: ["dev.basic.status.1"],
    reason: "QEMU carries out requests that are notified before DRIVER_OK, except net and entropy",
  },
  {
    checks: ["split.indirect-after-plain"],
    qemu: BOTH,
    clauses: ["dev.split-ring.indirect.2"],
    reason: "QEMU looks for an indirect table in the first descriptor of a chain only",
  },
  {
    checks: ["split.request", "packed.request"],
    devices: [18],
    qemu: BOTH,
    clauses: ["dev.split-ring.used-ring.2"],
    seen: /length of the used buffer/,
    reason:
      "QEMU's input devices tell the length of status events as written, though they read them",
  },
  {
    checks: [
      "split.framing-1",
      "split.framing-3",
      "split.framing-16",
      "split.framing-one",
      "packed.list",
    ],
    devices: [8],
    qemu: BOTH,
    clauses: ["dev.split-ring.framing.1"],
    seen: /response to INQUIRY/,
    reason: "QEMU's SCSI host answers FAILURE or OVERRUN if a command's parts are split otherwise",
  },
  {
    checks: ["split.event-later", "packed.event-later"],
    devices: [3],
    qemu: BOTH,
    clauses: ["dev.split-ring.used-suppress.6"],
    reason: "QEMU interrupts for the first used buffer of a queue whatever used_event says",
  },
  {
    checks: ["packed.write-flag"],
    qemu: BOTH,
    clauses: ["virtio 1.4 §2.8.4"],
    reason: "QEMU never sets WRITE in a used descriptor of a packed ring",
  },
  {
    checks: ["blk.hostile.type-9"],
    devices: [2],
    qemu: BOTH,
    clauses: ["virtio 1.4 §5.2.6"],
    reason: "QEMU ignores bit 0 of the type of a block request: 9 is GET_ID",
  },
  {
    checks: ["blk.no-flush-no-cache"],
    devices: [2],
    qemu: BOTH,
    clauses: ["dev.blk.init.3"],
    reason: "QEMU keeps what the image was opened with though FLUSH was not accepted",
  },
  {
    checks: ["blk.padding"],
    devices: [2],
    qemu: BOTH,
    clauses: ["dev.blk.init.4"],
    reason: "QEMU's configuration ends before unused1, which reads as ones",
  },
  {
    checks: ["config.widths"],
    devices: [18],
    qemu: BOTH,
    clauses: ["virtio 1.4 §4.2.2.2"],
    reason: "QEMU's input configuration ends early, and reads across its end are ones",
  },
  // Requests with which a driver that breaks rules ends or hangs QEMU: one row each, with the place that QEMU names.
  {
    checks: ["packed.hostile.indirect-empty"],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: /address_space_cache_init: Assertion `len > 0' failed/,
    ends: true,
    reason:
      "An indirect table of no bytes in a packed ring makes QEMU end: physmem.c asserts that it has some",
  },
  {
    checks: ["queue.hostile.driver-zero-page"],
    devices: [3],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: /do_flush_queued_data: Assertion `virtio_queue_ready\(vq\)' failed/,
    ends: true,
    reason:
      "A console whose queues are nowhere makes QEMU end: virtio-serial-bus.c asserts that they are ready",
  },
  {
    checks: [
      "net.hostile.header-cut",
      "net.hostile.header-alone",
      "request.hostile.one-byte",
      "split.hostile.random-",
      "packed.hostile.random-",
    ],
    devices: [1],
    qemu: [7],
    clauses: ["dev.basic.status.2"],
    seen: /iov_copy: Assertion `offset == 0' failed/,
    ends: true,
    reason: "A packet shorter than its header makes QEMU 7 end: iov.c asserts that all was copied",
  },
  {
    checks: [
      "packed.hostile.endless-list",
      "packed.hostile.indirect-and-next",
      "packed.hostile.indirect-huge",
      "packed.hostile.indirect-no-memory",
      "packed.hostile.indirect-odd-length",
      "packed.hostile.indirect-writable-first",
      "packed.hostile.open-list",
      "packed.hostile.random-",
      "packed.hostile.same-id-twice",
      "packed.hostile.writable-first",
      "packed.hostile.zero-length",
    ],
    devices: [2],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: HANGS,
    ends: true,
    reason:
      "A disk that refuses a list of a packed ring looks at it for ever: QEMU hangs in its notification",
  },
  {
    checks: [
      "packed.hostile.endless-list",
      "packed.hostile.indirect-huge",
      "packed.hostile.indirect-no-memory",
      "packed.hostile.indirect-odd-length",
      "packed.hostile.indirect-writable-first",
      "packed.hostile.open-list",
      "packed.hostile.random-",
      "packed.hostile.writable-first",
      "packed.hostile.zero-length",
    ],
    devices: [8],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: HANGS,
    ends: true,
    reason:
      "A SCSI host that refuses a list of a packed ring looks at it for ever: QEMU hangs in its notification",
  },
  {
    checks: [
      "split.hostile.longest",
      "split.hostile.random-",
      "packed.hostile.indirect-writable-first",
      "packed.hostile.random-",
      "packed.hostile.ring-itself",
      "packed.hostile.writable-first",
    ],
    devices: [4],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: HANGS,
    ends: true,
    reason:
      "An entropy device takes a chain without a byte to write again and again: QEMU hangs in its backend",
  },
  {
    checks: ["pci.cfg-access."],
    bus: "pci",
    qemu: [10],
    clauses: ["dev.pci.cfg-access.2", "dev.pci.cfg-access.3"],
    seen: /virtio_address_space_lookup: Assertion `mrs\.mr' failed/,
    ends: true,
    reason:
      "pci_cfg_data makes QEMU 10 end on the virt boards: virtio-pci.c asserts that it finds the BAR",
  },
];

/** The deviation that a failure is an instance of. */
export function findDeviation(
  check: Check,
  where: Surroundings,
  message: string,
): Deviation | undefined {
  return DEVIATIONS.find((known) =>
    isAbout(known, check, where) && (known.seen?.test(message) ?? true)
  );
}

/** The deviation for which a check may end or hang the QEMU that a device is of. */
export function findEnd(check: Check, where: Surroundings): Deviation | undefined {
  return DEVIATIONS.find((known) => known.ends === true && isAbout(known, check, where));
}

function isAbout(known: Deviation, { id }: Check, { device, qemu }: Surroundings): boolean {
  return qemu !== undefined && known.qemu.includes(Number.parseInt(qemu)) &&
    known.checks.some((check) => /[.-]$/.test(check) ? id.startsWith(check) : check === id) &&
    (known.devices?.includes(device.id) ?? true) &&
    (known.bus ?? device.bus) === device.bus &&
    (known.face ?? device.face) === device.face;
}
