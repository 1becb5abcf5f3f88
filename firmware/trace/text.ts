import {
  deviceName,
  featureName,
  InterruptCause,
  MmioRegister,
  mmioRegisterName,
  statusText,
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
  switch (event.kind) {
    case "register": {
      const name = event.register ?? `${event.window}+${hex(event.offset)}`;
      return `${name} ${event.op === "write" ? "<-" : "->"} ${valueText(name, event.value)}`;
    }
    case "config": {
      const arrow = event.op === "write" ? "<-" : "->";
      return `Config+${event.offset} ${arrow} ${hex(event.value)}`;
    }
    case "status":
      return event.status === 0 ? "reset" : `device status <- ${statusText(event.status)}`;
    case "features": {
      const table = FEATURE_NAMES[event.deviceId];
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
    case "add": {
      const parts = event.elements.map(({ address, length, writable }) =>
        `${writable ? "w" : "r"} ${hex(address)}+${length}`
      );
      const text = event.request === undefined ? "" : `: ${event.request}`;
      return `'${event.name}' add ${event.token} [${parts.join(", ")}]${text}${data(event.data)}`;
    }
    case "used": {
      const text = event.request === undefined ? "" : `: ${event.request}`;
      return `'${event.name}' used ${event.token}, ${event.length} bytes written, after ` +
        `${event.after.toFixed(3)} ms${text}${data(event.data)}`;
    }
    case "kick": {
      if (event.buffers === 0) return `'${event.name}' kick again, notified`;
      const count = event.buffers === 1 ? "1 buffer" : `${event.buffers} buffers`;
      const how = event.notified ? "notified" : "not notified: the device asked not to be";
      return `'${event.name}' kick of ${count}, ${how}`;
    }
    case "copy":
      return event.bytes === 1 ? "copied 1 byte" : `copied ${event.bytes} bytes`;
    case "interrupt": {
      const queues = event.queues === undefined ? "" : ` of queue ${event.queues.join(", ")}`;
      return `interrupt: ${causeText(event.cause)}${queues}`;
    }
    case "violation":
      return `violation: ${event.message}`;
    case "fault":
      return `fault: ${event.message}`;
  }
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

function data(bytes: Uint8Array | undefined): string {
  return bytes === undefined || bytes.length === 0 ? "" : ` data ${bytes.toHex()}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
