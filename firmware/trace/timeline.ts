import type { TraceEvent } from "@vireo/hal";
import { traceText } from "./text.ts";

/** An event of the Trace Event Format, which Perfetto and chrome://tracing load. */
export type TimelineEvent = Readonly<Record<string, unknown>>;

/**
 * Turns a trace into events of the Trace Event Format: a process for each device, a thread for each queue,
 * requests as slices from add to used, kicks and interrupts as instants, and the depth of queues as counters.
 */
export class TimelineTrace {
  readonly #devices = new Map<string, number>();
  readonly #queues = new Set<string>();
  /** Names of the buffers that devices have: a slice ends by the name that it began with. */
  readonly #names = new Map<string, string>();

  /** The events of an event: first those that name new tracks. */
  event(event: TraceEvent): TimelineEvent[] {
    const found: TimelineEvent[] = [];
    let pid = this.#devices.get(event.device);
    if (pid === undefined) {
      this.#devices.set(event.device, pid = this.#devices.size + 1);
      found.push({ name: "process_name", ph: "M", pid, args: { name: event.device } });
    }
    // Thread 0 of a process has what belongs to no queue.
    const tid = "queue" in event ? event.queue + 1 : 0;
    if ("name" in event && !this.#queues.has(`${pid}.${tid}`)) {
      this.#queues.add(`${pid}.${tid}`);
      found.push({ name: "thread_name", ph: "M", pid, tid, args: { name: event.name } });
    }
    const at = { pid, tid, ts: event.time * 1000 };
    const args = { text: traceText(event) };
    if (event.kind === "add" || event.kind === "used") {
      const counter = { ...at, ph: "C", name: `in flight '${event.name}'` };
      found.push({ ...counter, args: { buffers: event.inFlight } });
      const id = `${pid}.${event.queue}.${event.token}`;
      if (event.kind === "add") this.#names.set(id, event.request ?? "buffer");
      const name = this.#names.get(id) ?? "buffer";
      const ph = event.kind === "add" ? "b" : "e";
      found.push({ ...at, ph, cat: "buffer", id, name, args });
      return found;
    }
    found.push({ ...at, ph: "i", s: "t", name: event.kind, args });
    return found;
  }
}
