// Events a second to a file: for each form of a trace, and for a recording, those of real requests with their frames.
// Time is that of the processor, so that other programs on the machine do not count; the first column has what the
// form and its file take, the second all that tracing takes: to make the events, to write them, to collect garbage.
// deno run -A tests/trace/sinks_bench.ts [events]
import { Recorder, RecordReader } from "@vireo/drivers/record";
import { Tracer } from "@vireo/drivers/trace";
import { openSink, openTrace } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";
import { TraceFile } from "../../firmware/trace/file.ts";
import { processorTime } from "../../drivers/async_test_util.ts";
import { load, loadMachine } from "./trace_load.ts";

const EVENTS = Number(Deno.args[0] ?? 400_000);
const FORMS = ["txt", "json", "html", "pcapng"] as const;
const REPEATS = 3;
const SAMPLE = 2000;

const sample: TraceEvent[] = [];
await load(SAMPLE, { tracer: new Tracer((event) => sample.push(event)) });
const rounds = Math.ceil(EVENTS / sample.length * SAMPLE);
const folder = await Deno.makeTempDir({ prefix: "vireo-" });
const pathOf = (form: string): string => `${folder}/trace.${form}`;

/** Milliseconds that a form takes to write events that are there. */
function write(form: string): number {
  const start = processorTime();
  const { sink, [Symbol.dispose]: close } = openSink({ file: pathOf(form) });
  for (let i = 0; i < EVENTS; i++) sink(sample[i % sample.length]!);
  close();
  return processorTime() - start;
}

/** Milliseconds that requests take with a trace, and its events. */
async function traced(form: string): Promise<{ readonly ms: number; readonly events: number }> {
  let events = 0;
  const trace = openTrace({ file: pathOf(form), sink: () => events++ });
  const ms = await load(rounds, trace);
  const start = processorTime();
  trace[Symbol.dispose]();
  return { ms: ms + processorTime() - start, events };
}

/** The same for a recording, whose events are its records. */
async function recorded(): Promise<{ readonly ms: number; readonly events: number }> {
  const path = pathOf("vireo");
  const file = new TraceFile(path, "recording");
  const recorder = new Recorder(loadMachine(), (bytes) => file.write(bytes));
  const ms = await load(rounds, { rings: recorder }, recorder);
  const start = processorTime();
  recorder.close();
  file[Symbol.dispose]();
  const spent = processorTime() - start;
  const reader = new RecordReader(await Deno.readFile(path));
  let events = 0;
  while (reader.next()) events++;
  return { ms: ms + spent, events };
}

const rate = (events: number, ms: number): string => String(Math.round(events / ms)).padStart(12);
try {
  const bare: number[] = [];
  for (let i = 0; i < REPEATS; i++) bare.push(await load(rounds));
  const least = Math.min(...bare);
  console.log(`${rounds} rounds of ${(least / rounds * 1000).toFixed(1)} us; thousands a second:`);
  console.log("form         the form         all  bytes an event");
  for (const form of [...FORMS, "vireo"]) {
    let [alone, all, events] = [Infinity, Infinity, 0];
    for (let i = 0; i < REPEATS; i++) {
      const { ms, events: count } = form === "vireo" ? await recorded() : await traced(form);
      [all, events] = [Math.min(all, ms), count];
    }
    const size = (await Deno.stat(pathOf(form))).size / events;
    if (form !== "vireo") {
      for (let i = 0; i < REPEATS; i++) alone = Math.min(alone, write(form));
    }
    const first = form === "vireo" ? "".padStart(12) : rate(EVENTS, alone);
    console.log(`${form.padEnd(8)} ${first}${rate(events, all - least)}  ${size.toFixed(1)}`);
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
