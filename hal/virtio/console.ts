import { type Layout, layout } from "../layout.ts";

/** Feature bits of the console device (virtio 1.4 §5.3.3). */
export const ConsoleFeature = {
  /** The configuration holds `cols` and `rows`. */
  SIZE: 0,
  /** Several ports, and control queues to manage them. */
  MULTIPORT: 1,
  /** The configuration holds `emerg_wr`. */
  EMERG_WRITE: 2,
} as const;
/** A feature bit of the console device. */
export type ConsoleFeature = typeof ConsoleFeature[keyof typeof ConsoleFeature];

/** `struct virtio_console_config` (virtio 1.4 §5.3.4). */
export const CONSOLE_CONFIG: Layout<"cols" | "rows" | "max_nr_ports" | "emerg_wr"> = layout({
  cols: "u16",
  rows: "u16",
  max_nr_ports: "u32",
  emerg_wr: "u32",
}, 12);

/** `struct virtio_console_control`, the header of every control message (virtio 1.4 §5.3.6.2). */
export const CONSOLE_CONTROL: Layout<"id" | "event" | "value"> = layout({
  id: "u32",
  event: "u16",
  value: "u16",
}, 8);

/** `struct virtio_console_resize`, what follows a RESIZE message (virtio 1.4 §5.3.6.2). */
export const CONSOLE_RESIZE: Layout<"cols" | "rows"> = layout({ cols: "u16", rows: "u16" }, 4);

/** Events of control messages (virtio 1.4 §5.3.6.2). */
export const ConsoleEvent = {
  /** Driver: it is ready for ports (1) or failed to set up (0). */
  DEVICE_READY: 0,
  /** Device: there is a new port. */
  PORT_ADD: 1,
  /** Device: the port is gone. */
  PORT_REMOVE: 2,
  /** Driver: the port is ready for use (1) or could not be set up (0). */
  PORT_READY: 3,
  /** Device: the port is a text console. */
  CONSOLE_PORT: 4,
  /** Device: the console has a new size, which follows. */
  RESIZE: 5,
  /** Both: the sender's side of the port was opened (1) or closed (0). */
  PORT_OPEN: 6,
  /** Device: the port's name follows, without a final NUL. */
  PORT_NAME: 7,
} as const;
/** The event of a control message. */
export type ConsoleEvent = typeof ConsoleEvent[keyof typeof ConsoleEvent];

/** The queues that do not belong to a port above 0 (virtio 1.4 §5.3.2). */
export const ConsoleQueue = {
  RECEIVE_0: 0,
  TRANSMIT_0: 1,
  CONTROL_RECEIVE: 2,
  CONTROL_TRANSMIT: 3,
} as const;
/** A queue that does not belong to a port above 0. */
export type ConsoleQueue = typeof ConsoleQueue[keyof typeof ConsoleQueue];

/** The port id of a message that concerns no port, such as DEVICE_READY (`VIRTIO_CONSOLE_BAD_ID`). */
export const CONSOLE_NO_PORT = 0xffffffff;

/** The most ports whose queues fit into a 16-bit queue index, as in Linux. */
export const CONSOLE_MAX_PORTS = 0x8000;

/**
 * Index of a port's receive queue: 0, then 4, 6, ... (virtio 1.4 §5.3.2).
 *
 * @example
 * ```ts
 * import { consoleReceiveQueue } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([0, 1, 2].map(consoleReceiveQueue), [0, 4, 6]);
 * ```
 */
export function consoleReceiveQueue(port: number): number {
  return port === 0 ? ConsoleQueue.RECEIVE_0 : 2 * port + 2;
}

/**
 * Index of a port's transmit queue: 1, then 5, 7, ... (virtio 1.4 §5.3.2).
 *
 * @example
 * ```ts
 * import { consoleTransmitQueue } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([0, 1, 2].map(consoleTransmitQueue), [1, 5, 7]);
 * ```
 */
export function consoleTransmitQueue(port: number): number {
  return consoleReceiveQueue(port) + 1;
}
