import { type CallEvent, type NotifiedEvent, TRACE_VERSION, type TraceEvent } from "@vireo/hal";
import { escaped, quoted } from "./_quoted.ts";
import { traceHead, traceTail } from "./text.ts";

/** A queue of a device, as a track. */
interface Track {
  /** The fields that name the track. */
  readonly place: string;
  /** Name of its counter, quoted. */
  readonly counter: string;
  /** Names of the buffers that the device has, quoted: a slice ends by the name that it began with. */
  readonly open: Map<number, string>;
  /** Number of the flow that the last kick began; undefined once an interrupt has ended it. */
  flow: number | undefined;
}

/** A device, as a process. */
interface Process {
  readonly pid: number;
  readonly tracks: Map<number, Track>;
}

/**
 * Turns a trace into the Trace Event Format, which Perfetto and chrome://tracing load: a process for each device, a
 * thread for each queue, requests as slices from add to used, kicks and interrupts as instants, with a flow from the last
 * kick of a queue to the interrupt that reports it, and the depth of queues as counters.
 *
 * The lines are put together by hand: objects and `JSON.stringify` cost three times as much (tests/trace/sinks_bench.ts).
 *
 * @example
 * ```ts
 * import { TimelineTrace } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const trace = new TimelineTrace();
 * const copy = { kind: "copy", time: 0, device: "rng0", deviceId: 4, bytes: 8 } as const;
 * const events = JSON.parse(trace.start + trace.event(copy) + trace.end);
 * assertEquals(events.at(-1).args.text, "copied 8 bytes");
 * ```
 */
export class TimelineTrace {
  /** The start of the file: the version of the contract, as metadata that readers pass over. */
  readonly start: string =
    `[\n{"name":"vireo_trace","ph":"M","pid":1,"args":{"version":${TRACE_VERSION}}}`;
  /** Its end; readers do without it if the trace is cut. */
  readonly end: string = "\n]\n";
  readonly #processes = new Map<string, Process>();
  #flows = 0;

  /** The lines of an event: first those that name new tracks. */
  event(event: TraceEvent): string {
    let process = this.#processes.get(event.device);
    let lines = "";
    if (process === undefined) {
      process = { pid: this.#processes.size + 1, tracks: new Map() };
      this.#processes.set(event.device, process);
      const args = `{"name":${quoted(event.device)}}`;
      lines += line(`"name":"process_name","ph":"M","pid":${process.pid},"args":${args}`);
    }
    const ts = `"ts":${Math.round(event.time * 1e6) / 1e3}`;
    const words = "request" in event && event.request !== undefined
      ? escaped(event.request)
      : undefined;
    const text = `"args":{"text":"${traceHead(event, escaped)}${traceTail(event, words)}"}`;
    if (!("name" in event)) {
      // Thread 0 of a process has what belongs to no queue.
      const tid = "queue" in event ? event.queue + 1 : 0;
      const place = `"pid":${process.pid},"tid":${tid}`;
      lines += line(`${place},${ts},"ph":"i","s":"t","name":"${event.kind}",${text}`);
      return event.kind === "interrupt"
        ? lines + this.#flowEnds(process, event.queues, `${place},${ts}`)
        : lines;
    }
    let track = process.tracks.get(event.queue);
    if (track === undefined) {
      const place = `"pid":${process.pid},"tid":${event.queue + 1}`;
      const counter = quoted(`in flight '${event.name}'`);
      track = { place, counter, open: new Map(), flow: undefined };
      process.tracks.set(event.queue, track);
      const args = `{"name":${quoted(event.name)}}`;
      lines += line(`"name":"thread_name","ph":"M",${place},"args":${args}`);
    }
    const at = `${track.place},${ts}`;
    if (event.kind === "kick") {
      lines += line(`${at},"ph":"i","s":"t","name":"kick",${text}`);
      if (!event.notified) return lines;
      track.flow = ++this.#flows;
      return lines + line(`${at},"ph":"s","cat":"kick","id":${track.flow},"name":"kick"`);
    }
    if (event.kind === "notified" || event.kind === "call") {
      return lines + line(`${at},"ph":"i","s":"t","name":"${event.kind}",${text}`) +
        this.#deviceFlow(track, event, at);
    }
    const { counter, open } = track;
    const { token } = event;
    const depth = `"args":{"buffers":${event.inFlight}}`;
    lines += line(`${at},"ph":"C","name":${counter},${depth}`);
    const id = `"${process.pid}.${event.queue}.${token}"`;
    let [name, ph] = [open.get(token) ?? '"buffer"', "e"];
    if (event.kind === "add") {
      [name, ph] = [`"${words ?? "buffer"}"`, "b"];
      open.set(token, name);
    }
    return lines +
      line(`${at},"ph":"${ph}","cat":"buffer","id":${id},"name":${name},${text}`);
  }

  /** On the device's side the flow leads from a notification to the call that was sent for it. */
  #deviceFlow(track: Track, event: NotifiedEvent | CallEvent, at: string): string {
    if (event.kind === "notified") {
      track.flow = ++this.#flows;
      return line(`${at},"ph":"s","cat":"kick","id":${track.flow},"name":"kick"`);
    }
    const { flow } = track;
    if (event.unsent !== undefined || flow === undefined) return "";
    track.flow = undefined;
    return line(`${at},"ph":"f","bp":"e","cat":"kick","id":${flow},"name":"kick"`);
  }

  /** Ends the flows of the queues that an interrupt reports; they bind to the instant just before. */
  #flowEnds({ tracks }: Process, queues: readonly number[] | undefined, at: string): string {
    let lines = "";
    for (const [queue, track] of tracks) {
      if (track.flow === undefined || queues?.includes(queue) === false) continue;
      lines += line(
        `${at},"ph":"f","bp":"e","cat":"kick","id":${track.flow},"name":"kick"`,
      );
      track.flow = undefined;
    }
    return lines;
  }
}

function line(fields: string): string {
  return `,\n{${fields}}`;
}
