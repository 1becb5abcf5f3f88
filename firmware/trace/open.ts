import { Tracer, TraceStats } from "@vireo/drivers/trace";
import {
  inTraceGroups,
  TRACE_GROUPS,
  type TraceEvent,
  type TraceGroup,
  type TraceSink,
} from "@vireo/hal";
import { TraceFile, writeAll } from "./file.ts";
import { PageTrace } from "./page.ts";
import { PcapngTrace } from "./pcapng.ts";
import { statsLines } from "./stats_text.ts";
import { traceLine } from "./text.ts";
import { TimelineTrace } from "./timeline.ts";

const utf8 = new TextEncoder();

/** Contents of a trace, and where it goes. */
export interface TraceRequest {
  /** The groups of events; all by default. */
  readonly groups?: readonly TraceGroup[] | undefined;
  /** The only devices; all by default. */
  readonly devices?: readonly string[] | undefined;
  /** Bytes of each buffer's data. */
  readonly data?: number | undefined;
  /** The file; its name's end decides the form. Standard error if there is neither file nor sink. */
  readonly file?: string | undefined;
  /** Told of each event. */
  readonly sink?: TraceSink | undefined;
  /** Whether what happened is counted, and printed on standard error at the end. */
  readonly stats?: boolean | undefined;
}

/** A trace that is being made; disposing of it writes what is left. */
export interface OpenTrace extends Disposable {
  /** Tracer that gets the events of a bus. */
  readonly tracer: Tracer;
}

/**
 * Begins a trace.
 *
 * @throws {VireoError} `HOST_ERROR` If the file cannot be made.
 */
export function openTrace(request: TraceRequest): OpenTrace {
  return request.stats ? countedTrace(request) : plainTrace(request);
}

/** A trace that is counted as well: the counts have all groups, what is written has those that were asked for. */
function countedTrace(request: TraceRequest): OpenTrace {
  const { groups, devices, data, file, sink } = request;
  const stats = new TraceStats();
  const asked = new Set(groups ?? TRACE_GROUPS);
  const named = devices && new Set(devices);
  // What is only counted is not written.
  const silent = groups === undefined && file === undefined && sink === undefined;
  const inner = silent ? undefined : sinkOf(request);
  const tracer = new Tracer((event) => {
    stats.event(event);
    if (named?.has(event.device) === false || !inTraceGroups(asked, event)) return;
    inner?.sink(event);
  }, { data });
  return {
    tracer,
    [Symbol.dispose]: () => {
      inner?.[Symbol.dispose]();
      for (const line of statsLines(stats.devices())) {
        writeAll(Deno.stderr, utf8.encode(`${line}\n`));
      }
    },
  };
}

function plainTrace(request: TraceRequest): OpenTrace {
  const { sink, [Symbol.dispose]: dispose } = sinkOf(request);
  return { tracer: new Tracer(sink, request), [Symbol.dispose]: dispose };
}

/** Where events go. */
interface OpenSink extends Disposable {
  readonly sink: TraceSink;
}

function sinkOf({ file, sink, data }: TraceRequest): OpenSink {
  if (file === undefined) {
    const line = (event: TraceEvent): void => {
      writeAll(Deno.stderr, utf8.encode(`${traceLine(event)}\n`));
    };
    return { sink: sink ?? line, [Symbol.dispose]: () => {} };
  }
  const out = new TraceFile(file);
  const form = formOf(file, data);
  out.write(form.start);
  return {
    sink: (event) => {
      const made = form.event(event);
      if (typeof made === "string") out.text(made);
      else for (const bytes of made) out.write(bytes);
      sink?.(event);
    },
    [Symbol.dispose]: () => {
      out.write(form.end);
      out[Symbol.dispose]();
    },
  };
}

/** How events become bytes of a file. */
interface TraceForm {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  event(event: TraceEvent): string | Uint8Array[];
}

function formOf(file: string, data?: number): TraceForm {
  const end = new Uint8Array(0);
  if (file.endsWith(".pcapng")) {
    const pcapng = new PcapngTrace(Date.now(), data);
    return { start: pcapng.header(), end, event: (event) => pcapng.event(event) };
  }
  if (file.endsWith(".html")) {
    const page = new PageTrace();
    return {
      start: utf8.encode(page.start),
      end: utf8.encode(page.end),
      event: (event) => page.event(event),
    };
  }
  if (file.endsWith(".json")) {
    const timeline = new TimelineTrace();
    let comma = "";
    return {
      start: utf8.encode("[\n"),
      end: utf8.encode("\n]\n"),
      event: (event) =>
        timeline.event(event).map((one) => {
          const text = `${comma}${JSON.stringify(one)}`;
          comma = ",\n";
          return text;
        }).join(""),
    };
  }
  return { start: end, end, event: (event) => `${traceLine(event)}\n` };
}
