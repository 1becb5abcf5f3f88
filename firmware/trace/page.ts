import { type BufferFields, featureName, type TraceElement, type TraceEvent } from "@vireo/hal";
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
    const place = `{"time":${rounded(event.time)},"device":${this.#name(event.device)}`;
    return `${place},"kind":"${event.kind}"${this.#fields(event)}}\n`;
  }

  /** The fields that the page needs; it words the most frequent events itself, so that their text is not in the file. */
  #fields(event: TraceEvent): string {
    switch (event.kind) {
      case "add": {
        const { token, elements, inFlight } = event;
        return `${this.#buffer(event)},"token":${token},"elements":[${elements.map(element)}],` +
          `"inFlight":${inFlight}${bytesField(event.data)}`;
      }
      case "used": {
        const { token, length, inFlight, after } = event;
        return `${this.#buffer(event)},"token":${token},"length":${length},` +
          `"inFlight":${inFlight},"after":${rounded(after)}${bytesField(event.data)}`;
      }
      case "kick": {
        const { queue, name, buffers, notified } = event;
        return `,"queue":${queue},"name":${this.#name(name)},"buffers":${buffers},` +
          `"notified":${notified}`;
      }
      case "copy":
        return `,"bytes":${event.bytes}`;
      case "features": {
        const table = event.names ?? FEATURE_NAMES[event.deviceId];
        const names = [...event.features].map((bit) => featureName(bit, table));
        return `,"by":"${event.by}","names":${JSON.stringify(names)}${textField(event)}`;
      }
      case "queue": {
        const { queue, ring } = event;
        const size = ring === undefined ? "" : `,"size":${ring.size}`;
        return `,"queue":${queue}${size}${textField(event)}`;
      }
      case "notified":
      case "call": {
        const { queue, name } = event;
        const why = event.kind === "notified" ? event.ignored : event.unsent;
        const sent = why === undefined;
        return `,"queue":${queue},"name":${this.#name(name)},"sent":${sent}${textField(event)}`;
      }
      default:
        return textField(event);
    }
  }

  #buffer({ queue, name, request, reversed, seenBy }: BufferFields): string {
    const words = request === undefined ? "" : `,"request":"${safe(request)}"`;
    const swapped = reversed ? ',"reversed":true' : "";
    const side = seenBy === undefined ? "" : `,"seenBy":"${seenBy}"`;
    return `,"queue":${queue},"name":${this.#name(name)}${words}${swapped}${side}`;
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

function textField(event: TraceEvent): string {
  return `,"text":"${closed(traceHead(event, escaped))}"`;
}

/** The data of a buffer, if it was asked for. */
function bytesField(data: Uint8Array | undefined): string {
  return data === undefined ? "" : `,"hex":"${data.toHex()}"`;
}

function element({ address, length, writable }: TraceElement): string {
  return `[${address},${length},${writable ? 1 : 0}]`;
}
