import {
  type BufferFields,
  counted,
  deviceName,
  featureName,
  InterruptCause,
  MmioRegister,
  mmioRegisterName,
  statusText,
  type TraceElement,
  type TraceEvent,
} from "@vireo/hal";
import { FEATURE_NAMES } from "./feature_names.ts";

/** Registers whose value is a set of bits with names. */
const STATUS: ReadonlySet<string> = new Set([
  mmioRegisterName(MmioRegister.Status),
  "device_status",
]);
const CAUSES: ReadonlySet<string> = new Set([
  mmioRegisterName(MmioRegister.InterruptStatus),
  mmioRegisterName(MmioRegister.InterruptACK),
  "ISR",
  "isr_status",
]);
const COUNTS =
  /^(?:QueueSel|QueueSize|QueueSizeMax|QueueNotify|QueueReady|QueueReset|ConfigGeneration|DeviceID|Version|queue_(?:select|size|enable|reset)|num_queues|config_generation)$/;

/**
 * One line of text for an event: seconds, device, what happened. Registers and addresses are in hex, counts in
 * decimal.
 *
 * @example
 * ```ts
 * import { traceLine } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const event = { time: 1.5, device: "virtio0", deviceId: 4, kind: "status", status: 3 } as const;
 * assertEquals(traceLine(event), "0.001500 virtio0 device status <- ACKNOWLEDGE|DRIVER");
 * ```
 */
export function traceLine(event: TraceEvent): string {
  return `${(event.time / 1000).toFixed(6)} ${event.device} ${traceText(event)}`;
}

/**
 * Describes an event, without its time and place.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { traceText } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const lines: string[] = [];
 * {
 *   await using vireo = await openVireo({ trace: ["request"] }, {
 *     trace: (event) => lines.push(traceText(event)),
 *   });
 *   await vireo.rng.read(8);
 * }
 * assertEquals(lines.some((line) => line.includes("rng 8 bytes")), true);
 * ```
 */
export function traceText(event: TraceEvent): string {
  return traceHead(event, same) + traceTail(event, "request" in event ? event.request : undefined);
}

function same(text: string): string {
  return text;
}

/**
 * Describes an event without its request and data.
 *
 * @param escape Changes names and messages, which the driver or the device chose, into a form that a file needs; all
 * else has only characters that need none.
 *
 * @example
 * ```ts
 * import { traceHead } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const place = { time: 0, device: "rng0", deviceId: 4 };
 * const kick = { ...place, kind: "kick", queue: 0, name: "input", buffers: 2, notified: true } as const;
 * assertEquals(traceHead(kick, (text) => text.toUpperCase()), "'INPUT' kick of 2 buffers, notified");
 * ```
 */
export function traceHead(event: TraceEvent, escape: (text: string) => string): string {
  switch (event.kind) {
    case "register": {
      const { register } = event;
      const name = register ?? `${escape(event.window)}+${hex(event.offset)}`;
      return `${name} ${event.op === "write" ? "<-" : "->"} ${valueText(name, event.value)}`;
    }
    case "config": {
      const arrow = event.op === "write" ? "<-" : "->";
      return `Config+${event.offset} ${arrow} ${hex(event.value)}`;
    }
    case "status":
      return event.status === 0 ? "reset" : `device status <- ${statusText(event.status)}`;
    case "features": {
      const table = event.names ?? FEATURE_NAMES[event.deviceId];
      const names = [...event.features].map((bit) => featureName(bit, table)).join(" ");
      return event.by === "device"
        ? `${deviceName(event.deviceId)} offers ${names || "nothing"}`
        : `driver accepts ${names || "nothing"}`;
    }
    case "queue": {
      const { ring } = event;
      if (ring === undefined) return `queue ${event.queue} taken down`;
      return `queue ${event.queue} set up: ${ring.size} descriptors at ${hex(ring.desc)}, ` +
        `driver area ${hex(ring.driver)}, device area ${hex(ring.device)}`;
    }
    case "add":
      return `'${escape(event.name)}' ${addWord(event)} ${event.token} ` +
        `[${elementsText(event.elements)}]`;
    case "used":
      return `'${escape(event.name)}' ${event.reversed ? "driver " : ""}used ${event.token}, ` +
        `${counted(event.length, "byte")} written, after ${event.after.toFixed(3)} ms`;
    case "kick": {
      const name = escape(event.name);
      if (event.buffers === 0) return `'${name}' kick again, notified`;
      const count = counted(event.buffers, "buffer");
      const how = event.notified ? "notified" : "not notified: the device asked not to be";
      return `'${name}' kick of ${count}, ${how}`;
    }
    case "copy":
      return event.bytes === 1 ? "copied 1 byte" : `copied ${event.bytes} bytes`;
    case "interrupt": {
      const queues = event.queues === undefined ? "" : ` of queue ${event.queues.join(", ")}`;
      return `interrupt: ${causeText(event.cause)}${queues}`;
    }
    case "message":
      return `front end: ${event.request}${event.text === "" ? "" : ` ${escape(event.text)}`}`;
    case "notified": {
      const ignored = event.ignored === undefined ? "" : `, ignored: ${event.ignored}`;
      return `'${escape(event.name)}' notified by the driver${ignored}`;
    }
    case "call": {
      const count = counted(event.buffers, "buffer");
      return `'${escape(event.name)}' call for ${count}, ${sentText(event.unsent)}`;
    }
    case "change":
      return `configuration change, ${sentText(event.unsent)}`;
    case "violation":
      return `violation: ${escape(event.message)}`;
    case "fault":
      return `fault: ${escape(event.message)}`;
  }
}

/**
 * The rest of an event's text: its request, in the form that the file needs, and its data.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { traceHead, traceTail } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const lines: string[] = [];
 * {
 *   await using vireo = await openVireo({ trace: ["request"] }, {
 *     trace: (event) => lines.push(traceHead(event, (name) => name) + traceTail(event, "a request")),
 *   });
 *   await vireo.rng.read(8);
 * }
 * assertEquals(lines.some((line) => line.endsWith(": a request")), true);
 * ```
 */
export function traceTail(event: TraceEvent, request: string | undefined): string {
  if (event.kind !== "add" && event.kind !== "used") return "";
  const text = request === undefined ? "" : `: ${request}`;
  const { data } = event;
  return data === undefined || data.length === 0 ? text : `${text} data ${data.toHex()}`;
}

/** The side that puts a buffer into a ring, and the side that tells it. */
function addWord({ reversed, seenBy }: BufferFields): string {
  if (reversed) return "device's add";
  return seenBy === undefined ? "add" : "taken";
}

function sentText(unsent: string | undefined): string {
  return unsent === undefined ? "sent" : `not sent: ${unsent}`;
}

function elementsText(elements: readonly TraceElement[]): string {
  let text = "";
  for (const { address, length, writable } of elements) {
    text += `${text === "" ? "" : ", "}${writable ? "w" : "r"} ${hex(address)}+${length}`;
  }
  return text;
}

function valueText(register: string, value: number): string {
  if (STATUS.has(register) && value !== 0) return `${hex(value)} ${statusText(value)}`;
  if (CAUSES.has(register) && value !== 0) return `${hex(value)} ${causeText(value)}`;
  return COUNTS.test(register) ? `${value}` : hex(value);
}

function causeText(cause: number): string {
  const names = [];
  if ((cause & InterruptCause.QUEUE) !== 0) names.push("used buffer");
  if ((cause & InterruptCause.CONFIG) !== 0) names.push("configuration change");
  return names.join(" and ") || "nothing";
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
