import { CONSOLE_CONTROL, CONSOLE_RESIZE, type ConsoleEvent } from "@vireo/hal";
import type { ConsoleSize } from "./port.ts";

/** A control message as it came. */
export interface ControlMessage {
  readonly id: number;
  readonly event: number;
  readonly value: number;
  /** Bytes after the header. */
  readonly rest: Uint8Array;
}

/** Makes a control message (virtio 1.4 §5.3.6.2). */
export function encodeControl(id: number, event: ConsoleEvent, value: number): Uint8Array {
  const bytes = new Uint8Array(CONSOLE_CONTROL.SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(CONSOLE_CONTROL.id.offset, id, true);
  view.setUint16(CONSOLE_CONTROL.event.offset, event, true);
  view.setUint16(CONSOLE_CONTROL.value.offset, value, true);
  return bytes;
}

/** Reads a control message; undefined if it is shorter than its header. */
export function decodeControl(bytes: Uint8Array): ControlMessage | undefined {
  if (bytes.length < CONSOLE_CONTROL.SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    id: view.getUint32(CONSOLE_CONTROL.id.offset, true),
    event: view.getUint16(CONSOLE_CONTROL.event.offset, true),
    value: view.getUint16(CONSOLE_CONTROL.value.offset, true),
    rest: bytes.subarray(CONSOLE_CONTROL.SIZE),
  };
}

/** Reads the size that follows a RESIZE header; undefined if it is cut short. */
export function decodeSize(rest: Uint8Array): ConsoleSize | undefined {
  if (rest.length < CONSOLE_RESIZE.SIZE) return undefined;
  const view = new DataView(rest.buffer, rest.byteOffset, rest.length);
  return {
    cols: view.getUint16(CONSOLE_RESIZE.cols.offset, true),
    rows: view.getUint16(CONSOLE_RESIZE.rows.offset, true),
  };
}
