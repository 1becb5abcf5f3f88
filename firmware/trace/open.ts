import { Tracer } from "@vireo/drivers/trace";
import type { TraceEvent, TraceGroup, TraceSink } from "@vireo/hal";
import { TraceFile, writeAll } from "./file.ts";
import { PageTrace } from "./page.ts";
import { PcapngTrace } from "./pcapng.ts";
import { traceLine } from "./text.ts";
import { TimelineTrace } from "./timeline.ts";

const utf8 = new TextEncoder();

/** What a trace is to have, and where it goes. */
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
}

/** A trace that is being made; disposing of it writes what is left. */
export interface OpenTrace extends Disposable {
  /** What a bus tells its events to. */
  readonly tracer: Tracer;
}

/**
 * Begins a trace.
 *
 * @throws {VireoError} `HOST_ERROR` If the file cannot be made.
 */
export function openTrace(request: TraceRequest): OpenTrace {
  const { sink, file } = request;
  if (file === undefined) {
    const line = (event: TraceEvent): void => {
      writeAll(Deno.stderr, utf8.encode(`${traceLine(event)}\n`));
    };
    return { tracer: new Tracer(sink ?? line, request), [Symbol.dispose]: () => {} };
  }
  const out = new TraceFile(file);
  const form = formOf(file);
  out.write(form.start);
  const tracer = new Tracer((event) => {
    for (const bytes of form.event(event)) out.write(bytes);
    sink?.(event);
  }, request);
  return {
    tracer,
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
  event(event: TraceEvent): Uint8Array[];
}

function formOf(file: string): TraceForm {
  const end = new Uint8Array(0);
  if (file.endsWith(".pcapng")) {
    const pcapng = new PcapngTrace(Date.now());
    return { start: pcapng.header(), end, event: (event) => pcapng.event(event) };
  }
  if (file.endsWith(".html")) {
    const page = new PageTrace();
    return {
      start: utf8.encode(page.start),
      end: utf8.encode(page.end),
      event: (event) => [utf8.encode(page.event(event))],
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
          return utf8.encode(text);
        }),
    };
  }
  return { start: end, end, event: (event) => [utf8.encode(`${traceLine(event)}\n`)] };
}
