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
  /** Ids of the checks that show it, or what they start with if that ends in a full stop. */
  readonly checks: readonly string[];
  /** Virtio ids of the devices; all by default. */
  readonly devices?: readonly number[];
  /** The bus; either by default. */
  readonly bus?: "mmio" | "pci";
  /** The interface; either by default. */
  readonly face?: "modern" | "legacy";
  /** Major versions of QEMU that show it. */
  readonly qemu: readonly number[];
  /** Clauses that are not kept. */
  readonly clauses: readonly string[];
  /** Pattern of the failure's text. */
  readonly seen?: RegExp;
  /** How the device deviates, and where that was seen. */
  readonly reason: string;
}

const BOTH = [7, 10] as const;

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
  {
    checks: ["split.hostile.", "packed.hostile.", "queue.hostile.", "request.hostile."],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: /^QEMU (?:did not answer|ended|stopped taking commands)/,
    reason: "A driver that breaks rules makes QEMU hang or end",
  },
  {
    checks: ["pci.cfg-access."],
    bus: "pci",
    qemu: [10],
    clauses: ["dev.pci.cfg-access.2", "dev.pci.cfg-access.3"],
    seen: /^QEMU (?:did not answer|ended|stopped taking commands)/,
    reason:
      "pci_cfg_data makes QEMU 10 end: an assertion of virtio-pci.c on the buffer's alignment",
  },
  {
    checks: ["net.hostile.header-cut", "net.hostile.header-alone"],
    devices: [1],
    qemu: BOTH,
    clauses: ["dev.basic.status.2"],
    seen: /^QEMU (?:did not answer|ended|stopped taking commands)/,
    reason: "A packet shorter than its header makes QEMU end (an assertion of iov_copy)",
  },
];

/** The deviation that a failure is an instance of. */
export function findDeviation(
  { id }: Check,
  { device, qemu }: Surroundings,
  message: string,
): Deviation | undefined {
  if (qemu === undefined) return undefined;
  const major = Number.parseInt(qemu);
  return DEVIATIONS.find((known) =>
    known.qemu.includes(major) &&
    known.checks.some((check) => check.endsWith(".") ? id.startsWith(check) : check === id) &&
    (known.devices?.includes(device.id) ?? true) &&
    (known.bus ?? device.bus) === device.bus &&
    (known.face ?? device.face) === device.face &&
    (known.seen?.test(message) ?? true)
  );
}
