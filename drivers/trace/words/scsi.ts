import {
  counted,
  SCSI_CDB_SIZE,
  SCSI_EVENT,
  SCSI_READ_CAPACITY_16,
  SCSI_REQUEST,
  SCSI_RESPONSE,
  SCSI_SENSE_KEYS,
  SCSI_TMF,
  ScsiCommand,
  ScsiEvent,
  ScsiQueue,
  ScsiResetReason,
  ScsiResponse,
  ScsiStatus,
  ScsiTaskManagement,
} from "@vireo/hal";
import { bytesText, nameOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

const CDB = SCSI_REQUEST.SIZE;
/** Where the data that a command sends begins, with the size of a command that every device has after a reset. */
const DATA = CDB + SCSI_CDB_SIZE;
/** Types of requests of the control queue (virtio 1.4 §5.6.6.2). */
const CONTROL = { TMF: 0, AN_QUERY: 1, AN_SUBSCRIBE: 2 } as const;

/** Words of the SCSI host (virtio 1.4 §5.6.6). */
export const SCSI_WORDS: DeviceWords = {
  request: ({ queue, readable }, view) => {
    if (readable === 0) return undefined;
    if (queue === ScsiQueue.CONTROL) return control(view);
    return view.byteLength < CDB + 16 ? undefined : command(view);
  },
  answer: ({ queue, request, bytes, length, last }, view) => {
    if (request === undefined) return length < SCSI_EVENT.SIZE ? undefined : event(view);
    if (queue < ScsiQueue.REQUEST) {
      return `${request}: ${last === undefined ? "no response" : nameOf(ScsiResponse, last)}`;
    }
    if (bytes.length < SCSI_RESPONSE.SIZE) return request;
    const response = nameOf(ScsiResponse, view.getUint8(SCSI_RESPONSE.response.offset));
    const status = view.getUint8(SCSI_RESPONSE.status.offset);
    return `${request}: ${response}, ${nameOf(ScsiStatus, status)}${sense(view)}`;
  },
};

function control(view: DataView): string {
  if (view.byteLength < SCSI_TMF.SIZE - 4) return "scsi control";
  const type = view.getUint32(SCSI_TMF.type.offset, true);
  if (type !== CONTROL.TMF) return `scsi ${nameOf(CONTROL, type)} lun ${lunOf(view, 4)}`;
  const what = view.getUint32(SCSI_TMF.subtype.offset, true);
  return `scsi ${nameOf(ScsiTaskManagement, what)} lun ${lunOf(view, SCSI_TMF.lun.offset)}`;
}

function event(view: DataView): string {
  const word = view.getUint32(SCSI_EVENT.event.offset, true);
  const missed = word >= ScsiEvent.MISSED ? ", events before it were lost" : "";
  const what = (word & ~ScsiEvent.MISSED) >>> 0;
  const reason = view.getUint32(SCSI_EVENT.reason.offset, true);
  const why = what === ScsiEvent.TRANSPORT_RESET
    ? nameOf(ScsiResetReason, reason)
    // The additional sense code and its qualifier (virtio 1.4 §5.6.6.3).
    : `reason 0x${reason.toString(16)}`;
  const lun = lunOf(view, SCSI_EVENT.lun.offset);
  return `scsi event ${nameOf(ScsiEvent, what)} lun ${lun} ${why}${missed}`;
}

function lunOf(view: DataView, at: number): string {
  return `${view.getUint8(at + 1)}:${view.getUint16(at + 2) & 0x3fff}`;
}

function command(view: DataView): string {
  const code = view.getUint8(CDB);
  const action = view.getUint8(CDB + 1) & 0x1f;
  const capacity = code === ScsiCommand.SERVICE_ACTION_IN_16 && action === SCSI_READ_CAPACITY_16;
  const name = capacity ? "READ_CAPACITY_16" : nameOf(ScsiCommand, code);
  return `scsi ${name} lun ${lunOf(view, SCSI_REQUEST.lun.offset)}${operands(view, code)}`;
}

/** Names the blocks or the page of a command; its numbers are big-endian (SBC-3, SPC-4). */
function operands(view: DataView, code: number): string {
  const blocks = (block: number | bigint, count: number): string =>
    ` block ${block} ${counted(count, "block")}`;
  switch (code) {
    case ScsiCommand.READ_6:
    case ScsiCommand.WRITE_6:
      // A count of 0 is 256.
      return blocks(view.getUint32(CDB) & 0x1fffff, view.getUint8(CDB + 4) || 256);
    case ScsiCommand.READ_10:
    case ScsiCommand.WRITE_10:
    case ScsiCommand.WRITE_SAME_10:
    case ScsiCommand.SYNCHRONIZE_CACHE_10:
      return blocks(view.getUint32(CDB + 2), view.getUint16(CDB + 7));
    case ScsiCommand.READ_12:
    case ScsiCommand.WRITE_12:
      return blocks(view.getUint32(CDB + 2), view.getUint32(CDB + 6));
    case ScsiCommand.READ_16:
    case ScsiCommand.WRITE_16:
    case ScsiCommand.WRITE_SAME_16:
    case ScsiCommand.SYNCHRONIZE_CACHE_16:
      return blocks(view.getBigUint64(CDB + 2), view.getUint32(CDB + 10));
    case ScsiCommand.INQUIRY:
      return (view.getUint8(CDB + 1) & 1) === 0 ? "" : ` page 0x${hex2(view.getUint8(CDB + 2))}`;
    case ScsiCommand.MODE_SENSE_6:
    case ScsiCommand.MODE_SENSE_10:
      return ` page 0x${hex2(view.getUint8(CDB + 2) & 0x3f)}`;
    case ScsiCommand.UNMAP: {
      const size = view.getUint16(CDB + 7);
      if (view.byteLength < DATA + 20) return ` list of ${bytesText(size)}`;
      const ranges = view.getUint16(DATA + 2) / 16 | 0;
      const first = blocks(view.getBigUint64(DATA + 8), view.getUint32(DATA + 16));
      return ranges === 1 ? first : `${first}, the first of ${counted(ranges, "range")}`;
    }
    default:
      return "";
  }
}

/** The sense key and code of a response, in fixed format; nothing if it has none. */
function sense(view: DataView): string {
  const at = SCSI_RESPONSE.SIZE;
  const length = view.getUint32(SCSI_RESPONSE.sense_len.offset, true);
  if (length < 14 || view.byteLength < at + 14) return "";
  // 0x70 is the current error and 0x71 a deferred one (SPC-4 §4.5.3).
  if ((view.getUint8(at) & 0x7e) !== 0x70) return "";
  const key = SCSI_SENSE_KEYS[view.getUint8(at + 2) & 0xf];
  return ` ${key} 0x${hex2(view.getUint8(at + 12))}/0x${hex2(view.getUint8(at + 13))}`;
}

function hex2(value: number): string {
  return value.toString(16).padStart(2, "0");
}
