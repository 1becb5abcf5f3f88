import { Tracer, TraceStats } from "@vireo/drivers/trace";
import {
  inTraceGroups,
  TRACE_GROUPS,
  TRACE_VERSION,
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
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { openTrace } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const file = await Deno.makeTempFile({ suffix: ".json" });
 * {
 *   using trace = openTrace({ file });
 *   await using _bus = new Bus({ tracer: trace.tracer });
 * }
 * assertEquals(JSON.parse(await Deno.readTextFile(file))[0].name, "vireo_trace");
 * await Deno.remove(file);
 * ```
 */
export function openTrace(request: TraceRequest): OpenTrace {
  const trace = request.stats ? countedTrace(request) : plainTrace(request);
  const { devices, sink } = request;
  if (devices === undefined || sink !== undefined) return trace;
  return {
    tracer: trace.tracer,
    [Symbol.dispose]: () => {
      trace[Symbol.dispose]();
      sayMissing(devices, trace.tracer.deviceNames);
    },
  };
}

/** Says which devices were asked for and never there; one that is plugged in later is. */
function sayMissing(asked: readonly string[], found: readonly string[]): void {
  const missing = asked.filter((name) => !found.includes(name));
  if (missing.length === 0) return;
  const text = `--trace-device: there was no '${missing.join("', '")}', but ${
    found.join(", ") || "no device"
  }`;
  writeAll(Deno.stderr, utf8.encode(`vireo: ${text}\n`));
}

/** A trace that is counted as well: the counts have all groups, what is written has those that were asked for. */
function countedTrace(request: TraceRequest): OpenTrace {
  const { groups, devices, data, file, sink } = request;
  const stats = new TraceStats();
  const asked = new Set(groups ?? TRACE_GROUPS);
  const named = devices && new Set(devices);
  // What is only counted is not written.
  const silent = groups === undefined && file === undefined && sink === undefined;
  const inner = silent ? undefined : openSink(request);
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
  const { sink, [Symbol.dispose]: dispose } = openSink(request);
  return { tracer: new Tracer(sink, request), [Symbol.dispose]: dispose };
}

/** Where events go. */
export interface OpenSink extends Disposable {
  /** Receives each event. */
  readonly sink: TraceSink;
}

/**
 * Opens where the events of a trace go.
 *
 * @throws {VireoError} `HOST_ERROR` If the file cannot be made.
 *
 * @example
 * ```ts
 * import { openSink } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const file = await Deno.makeTempFile({ suffix: ".txt" });
 * {
 *   using out = openSink({ file });
 *   out.sink({ kind: "copy", time: 0.5, device: "rng0", deviceId: 4, bytes: 8 });
 * }
 * assertEquals((await Deno.readTextFile(file)).includes("rng0 copied 8 bytes"), true);
 * await Deno.remove(file);
 * ```
 */
export function openSink({ file, sink, data }: TraceRequest): OpenSink {
  if (file === undefined) {
    const line = (event: TraceEvent): void => {
      writeAll(Deno.stderr, utf8.encode(`${traceLine(event)}\n`));
    };
    return { sink: sink ?? line, [Symbol.dispose]: () => {} };
  }
  const out = new TraceFile(file);
  const form = formOf(file, data);
  const put = (made: string | Uint8Array): void => {
    if (typeof made === "string") out.text(made);
    else out.write(made);
  };
  put(form.start);
  return {
    sink: (event) => {
      put(form.event(event));
      sink?.(event);
    },
    [Symbol.dispose]: () => {
      put(form.end);
      out[Symbol.dispose]();
    },
  };
}

/** How events become a file; bytes that an event returned are overwritten by the next. */
interface TraceForm {
  readonly start: string | Uint8Array;
  readonly end: string;
  event(event: TraceEvent): string | Uint8Array;
}

function formOf(file: string, data?: number): TraceForm {
  if (file.endsWith(".pcapng")) return new PcapngTrace(Date.now(), data);
  if (file.endsWith(".html")) return new PageTrace();
  if (file.endsWith(".json")) return new TimelineTrace();
  return {
    start: `# vireo trace ${TRACE_VERSION}\n`,
    end: "",
    event: (event) => `${traceLine(event)}\n`,
  };
}
