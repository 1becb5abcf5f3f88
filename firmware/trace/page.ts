import { featureName, type TraceEvent } from "@vireo/hal";
import { FEATURE_NAMES } from "./feature_names.ts";
import { PAGE_END, PAGE_START } from "./page_script.ts";
import { traceText } from "./text.ts";

/**
 * Writes a trace as one page that needs no network: a timeline, the depth of queues and the latency of requests, the rings
 * at a moment that one clicks on, a table of requests, violations and the negotiation. A page that is cut shows what it has.
 */
export class PageTrace {
  /** The page up to its events. */
  readonly start: string = PAGE_START;
  /** End of the page, behind the events. */
  readonly end: string = PAGE_END;

  /** The line of an event. */
  event(event: TraceEvent): string {
    const line = { ...plain(event), text: traceText(event) };
    // Nothing in it may end the element that it is in.
    return `${JSON.stringify(line).replaceAll("<", "\\u003c")}\n`;
  }
}

/** An event without what is not JSON. */
function plain(event: TraceEvent): Readonly<Record<string, unknown>> {
  if (event.kind === "features") {
    const { features, ...rest } = event;
    const names = [...features].map((bit) => featureName(bit, FEATURE_NAMES[event.deviceId]));
    return { ...rest, names };
  }
  if (event.kind !== "add" && event.kind !== "used") return { ...event };
  // The text has the data.
  const { data: _, frame: __, ...rest } = event;
  return rest;
}
