import {
  CONSOLE_CONTROL,
  CONSOLE_NO_PORT,
  CONSOLE_RESIZE,
  ConsoleEvent,
  ConsoleQueue,
} from "@vireo/hal";
import { bytesText, nameOf, textOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

/** Words of the console device (virtio 1.4 §5.3.6). */
export const CONSOLE_WORDS: DeviceWords = {
  request: ({ queue, bytes, readable }, view) => told(queue, bytes, readable, view),
  answer: ({ queue, bytes, length, request }, view) =>
    request === undefined ? told(queue, bytes, length, view) : `${request}: taken`,
};

/** Words of the serial line of a remote processor: a console's port 0 without control queues. */
export const RPROC_SERIAL_WORDS: DeviceWords = {
  request: ({ readable }) => readable === 0 ? undefined : `rproc serial ${bytesText(readable)}`,
  answer: ({ length, request }) => {
    if (request !== undefined) return `${request}: taken`;
    return length === 0 ? undefined : `rproc serial ${bytesText(length)}`;
  },
};

function told(
  queue: number,
  bytes: Uint8Array,
  length: number,
  view: DataView,
): string | undefined {
  if (length === 0) return undefined;
  const control = queue === ConsoleQueue.CONTROL_RECEIVE || queue === ConsoleQueue.CONTROL_TRANSMIT;
  if (!control || bytes.length < CONSOLE_CONTROL.SIZE) return `console ${bytesText(length)}`;
  const event = view.getUint16(CONSOLE_CONTROL.event.offset, true);
  const id = view.getUint32(CONSOLE_CONTROL.id.offset, true);
  const port = id === CONSOLE_NO_PORT ? "" : ` port ${id}`;
  const value = view.getUint16(CONSOLE_CONTROL.value.offset, true);
  const text = `console ${nameOf(ConsoleEvent, event)}${port} value ${value}`;
  const end = CONSOLE_CONTROL.SIZE;
  if (event === ConsoleEvent.PORT_NAME) return `${text} ${textOf(bytes.subarray(end))}`;
  if (event !== ConsoleEvent.RESIZE || bytes.length < end + CONSOLE_RESIZE.SIZE) return text;
  const columns = view.getUint16(end + CONSOLE_RESIZE.cols.offset, true);
  return `${text} ${columns}x${view.getUint16(end + CONSOLE_RESIZE.rows.offset, true)}`;
}
