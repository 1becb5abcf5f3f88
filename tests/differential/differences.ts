import {
  BLK_CONFIG,
  BlkFeature,
  BlkRequestType,
  Feature,
  NetCtrl,
  NetCtrlRx,
  NetFeature,
} from "@vireo/hal";
import { type DeviceName, WORDS } from "./generate.ts";
import { type Offence, OFFENCES, offences } from "./offences.ts";
import type { Step, Variant } from "./program.ts";
import type { RequestStep } from "./request.ts";

/** Where emulator and QEMU first showed something else. */
export interface Difference extends Variant {
  readonly device: DeviceName;
  readonly program: readonly Step[];
  /** Index of the step in the program. */
  readonly index: number;
  readonly step: Step;
  /** Subject of the look. */
  readonly name: string;
  /** Value of the emulator. */
  readonly emulator: string;
  /** Value of QEMU. */
  readonly qemu: string;
}

/** A difference that the specification allows. */
export interface AllowedDifference {
  /** Behaviour of each side. */
  readonly what: string;
  /** Clauses of the specification that allow it, or that one of the two does not keep. */
  readonly clauses: readonly string[];
  /** Whether the comparison goes on after it, because it does not change what the devices do. */
  readonly continues?: true;
  /** Whether most runs do not show it. */
  readonly rare?: true;
  readonly matches: (difference: Difference, found: ReadonlySet<Offence>) => boolean;
}

/** Whether a block request has data of the other direction than its type's. */
function blkWrongWay(step: Step): boolean {
  if (step.do !== "request") return false;
  let [readable, writable] = [0, 0];
  for (const element of step.elements) {
    if ("write" in element) writable += element.write;
    else readable += "read" in element ? element.read.length : element.count;
  }
  const type = requestType(step);
  return type === BlkRequestType.OUT && writable > 1 || type === BlkRequestType.IN && readable > 16;
}

/** A legacy request type that nothing here negotiates. */
const SCSI_CMD = 2;
/** Lengths of the messages that tell the names of the ports, "one" and "zero". */
const NAME_LENGTHS = new Set(["11", "12"]);
const WRITEBACK = BLK_CONFIG.writeback.offset;

/** Differences that a correct driver may see, and those that follow each offence of a driver. */
export const ALLOWED: readonly AllowedDifference[] = [
  {
    what: "QueueSizeMax: QEMU reads 1024 for every queue, the emulator the size of each",
    clauses: ["virtio 1.4 §4.2.2 QueueSizeMax: the device's choice"],
    continues: true,
    matches: ({ name, emulator, qemu }) =>
      name === "QueueSizeMax" && emulator !== "0x0" && qemu === "0x400",
  },
  {
    what: "queue_size of entropy and of the console's control queues: QEMU has shorter ones",
    clauses: ["virtio 1.4 §4.1.4.3 queue_size: the device's choice"],
    continues: true,
    matches: ({ device, bus, version, name, emulator, qemu }) =>
      bus === "pci" && version === 2 && name === "QueueSizeMax" &&
      (device === "rng" && emulator === "0x40" && qemu === "0x8" ||
        device === "console" && emulator === "0x80" && qemu === "0x20"),
  },
  {
    what: "packed: QEMU never sets WRITE in what it used, the emulator where it wrote",
    clauses: ["virtio 1.4 §2.8.4 (not kept by QEMU)"],
    continues: true,
    matches: ({ packed, name, emulator, qemu }) =>
      packed && /^q\d\.used\.write$/.test(name) && emulator === "true" && qemu === "false",
  },
  {
    what: "entropy: QEMU's bytes are random, the emulator's are zeroes here",
    clauses: ["dev.rng.operation.1"],
    continues: true,
    matches: ({ device, name, emulator, qemu }) =>
      device === "rng" && name === "q0.data" && emulator.length === qemu.length,
  },
  {
    what: "a bad chain on version 1: QEMU has no NEEDS_RESET there and tells nobody",
    clauses: ["dev.basic.status.2"],
    matches: ({ version, name, emulator, qemu }, found) =>
      version === 1 && found.has("chain") &&
      (name === "Status" && Number(emulator) === (Number(qemu) | 0x40) ||
        name === "InterruptStatus" && Number(emulator) === (Number(qemu) | 2)),
  },
  {
    what:
      "a bad chain on version 2: QEMU sets both bits of InterruptStatus, though no buffer was used",
    clauses: ["dev.mmio.layout.4 (not kept by QEMU)"],
    matches: ({ version, name, emulator, qemu }, found) =>
      version === 2 && found.has("chain") && name === "InterruptStatus" && emulator === "0x2" &&
      qemu === "0x3",
  },
  {
    what: "EVENT_IDX: QEMU interrupts for the first used buffer whatever used_event says",
    clauses: ["dev.split-ring.used-suppress.6", "drv.split-ring.used-suppress.3"],
    matches: ({ name, emulator, qemu, program, index }) =>
      name === "InterruptStatus" && emulator === "0x0" && qemu === "0x1" &&
      accepted(program, index, Feature.EVENT_IDX) && asksForEvent(program, index),
  },
  {
    what: "writeback without both CONFIG_WCE and FLUSH: QEMU keeps what the image was opened with",
    clauses: ["drv.basic.config-space.3", "dev.blk.init.3 (not kept by QEMU)"],
    continues: true,
    matches: ({ device, step, program, index }) =>
      device === "blk" && step.do === "config" && step.offset <= WRITEBACK &&
      step.offset + step.width > WRITEBACK &&
      !(accepted(program, index, BlkFeature.FLUSH) &&
        accepted(program, index, BlkFeature.CONFIG_WCE)),
  },
  {
    what: "before a block request's status: QEMU counts bytes that it did not write; zeroed here",
    clauses: ["dev.split-ring.used-ring.2 (not kept by QEMU)"],
    continues: true,
    matches: (difference) => sameStatus(blkStatus(difference)),
  },
  {
    what:
      "a block write with room for data, or a read with data: IOERR here, QEMU takes what it needs",
    clauses: ["virtio 1.4 §5.2.6: the buffers that each type of request has"],
    matches: ({ device, step }) => device === "blk" && blkWrongWay(step),
  },
  {
    what: "GET_ID with room for more or less than 20 bytes: IOERR here, QEMU fills what there is",
    clauses: ["virtio 1.4 §5.2.6: the id string has 20 bytes"],
    continues: true,
    matches: ({ device, name, step, emulator, qemu }) =>
      device === "blk" && name === "q0.data" && requestType(step) === BlkRequestType.GET_ID &&
      emulator.endsWith("01") && qemu.endsWith("00"),
  },
  {
    what: "a SCSI command (type 2, which was never negotiated): IOERR from QEMU, UNSUPP here",
    clauses: ["drv.basic.features.1"],
    continues: true,
    matches: (difference) =>
      blkStatus(difference) === "02 01" && requestType(difference.step) === SCSI_CMD,
  },
  {
    what: "FLUSH though it was not negotiated: QEMU flushes, the emulator answers UNSUPP",
    clauses: ["drv.basic.features.1"],
    continues: true,
    matches: (difference) =>
      blkStatus(difference) === "02 00" && requestType(difference.step) === BlkRequestType.FLUSH &&
      !accepted(difference.program, difference.index, BlkFeature.FLUSH),
  },
  {
    what: "a control command whose feature was not negotiated: QEMU obeys, the emulator refuses",
    clauses: ["drv.basic.features.1"],
    matches: ({ device, name, step, emulator, qemu, program, index }) =>
      device === "net" && name === "q2.data" && emulator === "01" && qemu === "00" &&
      step.do === "request" && !commandNegotiated(step, program, index),
  },
  {
    what: "PORT_ADD: QEMU sends value 1, the emulator 0",
    clauses: ["virtio 1.4 §5.3.6.2: the value of DEVICE_ADD has no meaning"],
    continues: true,
    matches: ({ device, name, emulator, qemu }) =>
      device === "console" && name === "q2.data" && emulator.slice(8, 12) === "0100" &&
      emulator.slice(0, 12) === qemu.slice(0, 12) && emulator.slice(16) === qemu.slice(16),
  },
  {
    what: "PORT_NAME: QEMU sends the name's NUL too, the emulator the name",
    clauses: ["virtio 1.4 §5.3.6.2: the name, whose length the message's gives"],
    continues: true,
    matches: ({ device, name, emulator, qemu }) =>
      device === "console" &&
      (name === "q2.used.len" && NAME_LENGTHS.has(emulator) &&
          Number(qemu) === Number(emulator) + 1 ||
        // The buffer of a name may have a shorter message on top of it.
        name === "q2.data" && /^0[67]00$/.test(emulator.slice(8, 12)) &&
          qemu === emulator.replace(/^(.{16}(?!ee)(?:..)*?)ee/, "$100")),
  },
  {
    what: "a control message without a buffer to take it: QEMU drops it, the emulator keeps it",
    clauses: ["virtio 1.4 §5.3.6.2: says nothing of it"],
    matches: ({ device, name, program, index }) =>
      device === "console" && /^q2|^InterruptStatus$/.test(name) && repliesWaited(program, index),
  },
  {
    what: "a driver that breaks rules: QEMU hangs or ends",
    clauses: ["dev.basic.status.2 (not kept by QEMU)"],
    rare: true,
    matches: ({ name }, found) => name === "QEMU" && found.size > 0,
  },
  {
    what: "a notification of an empty transmit queue: QEMU's console interrupts",
    clauses: ["dev.mmio.layout.4 (not kept by QEMU)", "drv.split-ring.used-suppress.3"],
    matches: ({ device, name, step, emulator, qemu }) =>
      device === "console" && name === "InterruptStatus" && step.do === "write" &&
      step.register === "QueueNotify" && emulator === "0x0" && qemu === "0x1",
  },
  ...Object.entries(OFFENCES).map(([offence, { what, clauses, shows }]): AllowedDifference => ({
    what: `a driver ${what}`,
    clauses,
    matches: ({ name }, found) => found.has(offence as Offence) && shows.test(name),
  })),
];

/** The entry of the table that a difference falls under. */
export function allowedBy(difference: Difference): AllowedDifference | undefined {
  const { device, program, index } = difference;
  const queues = WORDS[device].queues.length;
  const found = offences(difference, program.slice(0, index + 1), queues);
  return ALLOWED.find(({ matches }) => matches(difference, found));
}

/** Whether a feature of the low word was accepted when the device was last set up. */
function accepted(program: readonly Step[], index: number, bit: number): boolean {
  const init = program.slice(0, index + 1).findLast((step) => step.do === "init");
  return init?.do === "init" && (init.features[0] & 1 << bit) !== 0;
}

/** Whether an event other than the next was asked for. */
function asksForEvent(program: readonly Step[], index: number): boolean {
  return program.slice(0, index + 1)
    .some((step) => step.do === "request" && (step.event ?? 0) !== 0);
}

/** Whether the feature of a control command of the network device was negotiated. */
function commandNegotiated(step: RequestStep, program: readonly Step[], index: number): boolean {
  const [group, command] = step.elements.flatMap((part) => "read" in part ? part.read : []);
  const needs = group === NetCtrl.RX
    ? command! < NetCtrlRx.ALLUNI ? NetFeature.CTRL_RX : NetFeature.CTRL_RX_EXTRA
    : group === NetCtrl.MAC
    ? NetFeature.CTRL_MAC_ADDR
    : NetFeature.CTRL_VLAN;
  return accepted(program, index, needs);
}

/** Whether receive buffers came only after a control message that may be answered. */
function repliesWaited(program: readonly Step[], index: number): boolean {
  let sent = false;
  for (const step of program.slice(0, index + 1)) {
    if (step.do === "init" || step.do === "reset") sent = false;
    if (step.do !== "request") continue;
    if (step.queue === 3) sent = true;
    if (step.queue === 2 && sent) return true;
  }
  return false;
}

/**
 * The status bytes of a block request, the emulator's and QEMU's; undefined if what is before them
 * differs in more than that the emulator zeroed what QEMU left as it was (0xee).
 */
function blkStatus({ device, name, emulator, qemu }: Difference): string | undefined {
  if (device !== "blk" || name !== "q0.data" || emulator.length !== qemu.length) return undefined;
  const end = emulator.length - 2;
  for (let i = 0; i < end; i++) {
    const [ours, theirs] = [emulator[i], qemu[i]];
    if (ours !== theirs && !(ours === "0" && theirs === "e")) return undefined;
  }
  return `${emulator.slice(end)} ${qemu.slice(end)}`;
}

function sameStatus(both: string | undefined): boolean {
  return both !== undefined && both.slice(0, 2) === both.slice(3);
}

/** The type of a block request: the first byte that the device reads. */
function requestType(step: Step): number | undefined {
  const first = step.do === "request" ? step.elements[0] : undefined;
  return first !== undefined && "read" in first ? first.read[0] : undefined;
}
