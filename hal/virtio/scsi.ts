import { type Layout, layout } from "../layout.ts";

/** Feature bits of the SCSI host (virtio 1.4 §5.6.3). */
export const ScsiFeature = { INOUT: 0, HOTPLUG: 1, CHANGE: 2, T10_PI: 3 } as const;
/** A feature bit of the SCSI host. */
export type ScsiFeature = typeof ScsiFeature[keyof typeof ScsiFeature];

/** `struct virtio_scsi_config` (virtio 1.4 §5.6.4). */
export const SCSI_CONFIG: Layout<
  | "num_queues"
  | "seg_max"
  | "max_sectors"
  | "cmd_per_lun"
  | "event_info_size"
  | "sense_size"
  | "cdb_size"
  | "max_channel"
  | "max_target"
  | "max_lun"
> = layout({
  num_queues: "u32",
  seg_max: "u32",
  max_sectors: "u32",
  cmd_per_lun: "u32",
  event_info_size: "u32",
  sense_size: "u32",
  cdb_size: "u32",
  max_channel: "u16",
  max_target: "u16",
  max_lun: "u32",
}, 36);

/** Bytes of sense data and of a command after a reset. */
export const SCSI_SENSE_SIZE = 96;
/** Bytes of a command descriptor block after a reset. */
export const SCSI_CDB_SIZE = 32;

/** Header before the command block, for the device: `struct virtio_scsi_req_cmd`. */
export const SCSI_REQUEST: Layout<"lun" | "id" | "task_attr" | "prio" | "crn"> = layout({
  lun: { bytes: 8 },
  id: "u64",
  task_attr: "u8",
  prio: "u8",
  crn: "u8",
}, 19);
/** Header before the sense data, from the device. */
export const SCSI_RESPONSE: Layout<
  "sense_len" | "residual" | "status_qualifier" | "status" | "response"
> = layout({
  sense_len: "u32",
  residual: "u32",
  status_qualifier: "u16",
  status: "u8",
  response: "u8",
}, 12);
/** `struct virtio_scsi_ctrl_tmf`, what the device reads of it; it writes a response byte. */
export const SCSI_TMF: Layout<"type" | "subtype" | "lun" | "id"> = layout({
  type: "u32",
  subtype: "u32",
  lun: { bytes: 8 },
  id: "u64",
}, 24);
/** `struct virtio_scsi_event`. */
export const SCSI_EVENT: Layout<"event" | "lun" | "reason"> = layout({
  event: "u32",
  lun: { bytes: 8 },
  reason: "u32",
}, 16);

/** Queues: request queues from 2 on. */
export const ScsiQueue = { CONTROL: 0, EVENT: 1, REQUEST: 2 } as const;
/** A queue. */
export type ScsiQueue = typeof ScsiQueue[keyof typeof ScsiQueue];

/** The outcome of a request, apart from the SCSI status. */
export const ScsiResponse = {
  OK: 0,
  OVERRUN: 1,
  ABORTED: 2,
  BAD_TARGET: 3,
  RESET: 4,
  BUSY: 5,
  TRANSPORT_FAILURE: 6,
  TARGET_FAILURE: 7,
  NEXUS_FAILURE: 8,
  FAILURE: 9,
  FUNCTION_SUCCEEDED: 10,
  FUNCTION_REJECTED: 11,
  INCORRECT_LUN: 12,
} as const;
/** The outcome of a request. */
export type ScsiResponse = typeof ScsiResponse[keyof typeof ScsiResponse];

/** SCSI status codes (SAM-5). */
export const ScsiStatus = {
  GOOD: 0x00,
  CHECK_CONDITION: 0x02,
  BUSY: 0x08,
  RESERVATION_CONFLICT: 0x18,
  TASK_SET_FULL: 0x28,
  TASK_ABORTED: 0x40,
} as const;
/** A SCSI status code. */
export type ScsiStatus = typeof ScsiStatus[keyof typeof ScsiStatus];

/** Task management functions (virtio 1.4 §5.6.6.2). */
export const ScsiTaskManagement = {
  ABORT_TASK: 0,
  ABORT_TASK_SET: 1,
  CLEAR_ACA: 2,
  CLEAR_TASK_SET: 3,
  I_T_NEXUS_RESET: 4,
  LOGICAL_UNIT_RESET: 5,
  QUERY_TASK: 6,
  QUERY_TASK_SET: 7,
} as const;
/** A task management function. */
export type ScsiTaskManagement = typeof ScsiTaskManagement[keyof typeof ScsiTaskManagement];

/** Kinds of events. */
export const ScsiEvent = {
  NONE: 0,
  TRANSPORT_RESET: 1,
  ASYNC_NOTIFY: 2,
  PARAM_CHANGE: 3,
  /** A bit: events before this one were lost. */
  MISSED: 0x80000000,
} as const;
/** A kind of event. */
export type ScsiEvent = typeof ScsiEvent[keyof typeof ScsiEvent];

/** Reasons of TRANSPORT_RESET events. */
export const ScsiResetReason = { HARD: 0, RESCAN: 1, REMOVED: 2 } as const;
/** A reason of TRANSPORT_RESET events. */
export type ScsiResetReason = typeof ScsiResetReason[keyof typeof ScsiResetReason];

/** Operation codes of commands (SPC-4, SBC-3). */
export const ScsiCommand = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  INQUIRY: 0x12,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  SYNCHRONIZE_CACHE_10: 0x35,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  MODE_SENSE_10: 0x5a,
  READ_16: 0x88,
  WRITE_16: 0x8a,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
} as const;
/** An operation code. */
export type ScsiCommand = typeof ScsiCommand[keyof typeof ScsiCommand];
/** Service action READ CAPACITY (16). */
export const SCSI_READ_CAPACITY_16 = 0x10;

/** Sense keys (SPC-4 §4.5.6). */
export const SCSI_SENSE_KEYS: readonly string[] = [
  "NO SENSE",
  "RECOVERED ERROR",
  "NOT READY",
  "MEDIUM ERROR",
  "HARDWARE ERROR",
  "ILLEGAL REQUEST",
  "UNIT ATTENTION",
  "DATA PROTECT",
  "BLANK CHECK",
  "VENDOR SPECIFIC",
  "COPY ABORTED",
  "ABORTED COMMAND",
  "RESERVED",
  "VOLUME OVERFLOW",
  "MISCOMPARE",
  "COMPLETED",
];

/**
 * The eight bytes that name a logical unit (virtio 1.4 §5.6.6.1).
 *
 * @example
 * ```ts
 * import { scsiLun } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * // Unit 3 of target 2.
 * assertEquals([...scsiLun(2, 3)], [1, 2, 0x40, 3, 0, 0, 0, 0]);
 * ```
 */
export function scsiLun(target: number, lun: number): Uint8Array {
  return Uint8Array.of(1, target, lun >> 8 & 0x3f | 0x40, lun & 0xff, 0, 0, 0, 0);
}
