import { featureName, type TraceElement, type TraceEvent } from "@vireo/hal";
import { FEATURE_NAMES } from "./feature_names.ts";
import { escaped } from "./_quoted.ts";
import { PAGE_END, PAGE_START } from "./page_script.ts";
import { traceHead } from "./text.ts";

/**
 * Writes a trace as one page that needs no network: a timeline, the depth of queues and the latency of requests, the rings
 * at a moment that one clicks on, a table of requests, violations and the negotiation. A page that is cut shows what it has.
 *
 * Lines of frequent events are put together by hand: objects and `JSON.stringify` cost twice as much.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { PageTrace } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const page = new PageTrace();
 * const lines: string[] = [page.start];
 * {
 *   await using vireo = await openVireo({ trace: ["request"] }, {
 *     trace: (event) => lines.push(page.event(event)),
 *   });
 *   await vireo.rng.read(8);
 * }
 * const html = lines.join("") + page.end;
 * assertEquals([html.startsWith("<!"), html.includes("rng 8 bytes")], [true, true]);
 * ```
 */
export class PageTrace {
  /** The page up to its events. */
  readonly start: string = PAGE_START;
  /** End of the page, behind the events. */
  readonly end: string = PAGE_END;

  /** Names of devices, windows, registers and queues, quoted: there are few, and each event has some. */
  readonly #names = new Map<string, string>();

  /** The line of an event. */
  event(event: TraceEvent): string {
    const { time, device, deviceId } = event;
    const place = `"time":${rounded(time)},"device":${this.#name(device)},"deviceId":${deviceId}`;
    return `{${place},${this.#fields(event)},${bytesField(event)}"text":"${
      closed(traceHead(event, escaped))
    }"}\n`;
  }

  /** The fields of an event as JSON; the page adds the request and the bytes to the text. */
  #fields(event: TraceEvent): string {
    switch (event.kind) {
      case "register": {
        const { op, register, window, offset, width, value } = event;
        const name = register === undefined ? "" : `"register":${this.#name(register)},`;
        return `"kind":"register","op":"${op}",${name}"window":${this.#name(window)},` +
          `"offset":${offset},"width":${width},"value":${value}`;
      }
      case "add": {
        const { queue, name, token, request, elements, inFlight } = event;
        return `"kind":"add","queue":${queue},"name":${this.#name(name)},"token":${token},` +
          `${requestField(request)}"elements":[${elements.map(element).join()}],` +
          `"inFlight":${inFlight}`;
      }
      case "used": {
        const { queue, name, token, request, length, inFlight, after } = event;
        return `"kind":"used","queue":${queue},"name":${this.#name(name)},"token":${token},` +
          `${requestField(request)}"length":${length},"inFlight":${inFlight},` +
          `"after":${rounded(after)}`;
      }
      case "kick": {
        const { queue, name, buffers, notified } = event;
        return `"kind":"kick","queue":${queue},"name":${this.#name(name)},` +
          `"buffers":${buffers},"notified":${notified}`;
      }
      case "copy":
        return `"kind":"copy","bytes":${event.bytes}`;
      case "interrupt": {
        const queues = event.queues === undefined ? "" : `,"queues":[${event.queues.join()}]`;
        return `"kind":"interrupt","cause":${event.cause}${queues}`;
      }
      case "features": {
        const table = FEATURE_NAMES[event.deviceId];
        const names = [...event.features].map((bit) => featureName(bit, table));
        return `"kind":"features","by":"${event.by}","names":${JSON.stringify(names)}`;
      }
      default: {
        const { time: _time, device: _device, deviceId: _id, ...rest } = event;
        return closed(JSON.stringify(rest).slice(1, -1));
      }
    }
  }

  #name(name: string): string {
    let text = this.#names.get(name);
    if (text === undefined) this.#names.set(name, text = `"${safe(name)}"`);
    return text;
  }
}

/** Milliseconds, to the nanosecond. */
function rounded(ms: number): number {
  return Math.round(ms * 1e6) / 1e6;
}

/** JSON that cannot end the element that it is in. */
function closed(json: string): string {
  return json.includes("<") ? json.replaceAll("<", "\\u003c") : json;
}

/** Text as it stands between the quotes of such JSON. */
function safe(text: string): string {
  return closed(escaped(text));
}

function requestField(request: string | undefined): string {
  return request === undefined ? "" : `"request":"${safe(request)}",`;
}

/** The data of a buffer, if it was asked for. */
function bytesField(event: TraceEvent): string {
  if ((event.kind !== "add" && event.kind !== "used") || event.data === undefined) return "";
  return `"bytes":"${event.data.toHex()}",`;
}

function element({ address, length, writable }: TraceElement): string {
  return `{"address":${address},"length":${length},"writable":${writable}}`;
}
