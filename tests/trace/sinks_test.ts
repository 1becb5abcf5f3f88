import { assert, assertEquals } from "@std/assert";
import { Tracer } from "@vireo/drivers/trace";
import { openSink, PcapngTrace, TimelineTrace } from "@vireo/firmware/trace";
import type { TraceDetail, TraceEvent } from "@vireo/hal";
import { load } from "./trace_load.ts";

const ROUNDS = 1000;

/** The events of rounds of requests, a microsecond after each other, and how often the clock was asked. */
async function sample(): Promise<{ readonly events: TraceEvent[]; readonly asked: number }> {
  const events: TraceEvent[] = [];
  let asked = 0;
  const tracer = new Tracer((event) => events.push(event), { now: () => ++asked / 1000 });
  await load(ROUNDS, { tracer });
  return { events, asked };
}

/** Counts the events in a file of a form. */
const COUNT: Readonly<Record<string, (bytes: Uint8Array) => number>> = {
  txt: (bytes) => textOf(bytes).trimEnd().split("\n").filter((line) => line[0] !== "#").length,
  json: (bytes) => {
    const events = JSON.parse(textOf(bytes)) as { readonly ph: string }[];
    return events.filter(({ ph }) => ["i", "b", "e"].includes(ph)).length;
  },
  html: (bytes) => {
    const [, lines] = /<script id="events" type="text\/plain">\n([^<]*)/.exec(textOf(bytes))!;
    return lines!.trimEnd().split("\n").map((line) => JSON.parse(line)).length;
  },
  pcapng: (bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let [packets, at] = [0, 0];
    while (at < bytes.length) {
      if (view.getUint32(at, true) === 6) packets++;
      const length = view.getUint32(at + 4, true);
      assertEquals(view.getUint32(at + length - 4, true), length);
      at += length;
    }
    return packets;
  },
};

/** The most that 1000 events may take: writes of the file, bytes. What a form makes of them costs time by the byte. */
const MOST: Readonly<Record<string, readonly [writes: number, bytes: number]>> = {
  txt: [1.4, 73_500],
  json: [3.8, 210_500],
  html: [3.2, 160_000],
  pcapng: [1.8, 113_000],
};

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

Deno.test("trace sinks: each form says the version of the contract", async () => {
  const says: Readonly<Record<string, string>> = {
    txt: "# vireo trace 1\n",
    json: '[\n{"name":"vireo_trace","ph":"M","pid":1,"args":{"version":1}}\n]\n',
    html: '<meta name="vireo-trace" content="1">',
    pcapng: "Vireo, trace 1",
  };
  for (const [form, text] of Object.entries(says)) {
    const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: `.${form}` });
    openSink({ file })[Symbol.dispose]();
    const written = textOf(await Deno.readFile(file));
    assert(written.includes(text), `${form}: ${written.slice(0, 200)}`);
    await Deno.remove(file);
  }
});

Deno.test("trace sinks: each form loses no event, and writes few large chunks", async () => {
  const { events } = await sample();
  const { prototype } = Deno.FsFile;
  const { writeSync } = prototype;
  for (const [form, count] of Object.entries(COUNT)) {
    const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: `.${form}` });
    let writes = 0;
    prototype.writeSync = function (bytes) {
      writes++;
      return writeSync.call(this, bytes);
    };
    try {
      const { sink, [Symbol.dispose]: close } = openSink({ file });
      for (const event of events) sink(event);
      close();
      const bytes = await Deno.readFile(file);
      assertEquals([form, count(bytes)], [form, events.length]);
      const [mostWrites, mostBytes] = MOST[form]!;
      const per = (all: number): number => all / events.length * 1000;
      assert(per(writes) <= mostWrites, `${form}: ${per(writes)} writes for 1000 events`);
      assert(per(bytes.length) <= mostBytes, `${form}: ${per(bytes.length)} bytes for 1000 events`);
    } finally {
      prototype.writeSync = writeSync;
      await Deno.remove(file);
    }
  }
});

Deno.test("trace sinks: an event asks the clock once, and is neither copied nor made an object of JSON", async () => {
  const { stringify } = JSON;
  let objects = 0;
  JSON.stringify = (value: unknown, ...rest: []) => {
    if (typeof value === "object") objects++;
    return stringify(value, ...rest);
  };
  try {
    const { events, asked } = await sample();
    // One more for the start.
    assertEquals(asked, events.length + 1);
    const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".html" });
    const { sink, [Symbol.dispose]: close } = openSink({ file });
    const timeline = new TimelineTrace();
    for (const event of events) {
      sink(event);
      timeline.event(event);
    }
    close();
    await Deno.remove(file);
    const rare = events.filter(({ kind }) => kind === "features");
    assertEquals(objects, rare.length);
  } finally {
    JSON.stringify = stringify;
  }
  let seen: unknown;
  const tracer = new Tracer((event) => seen = event);
  const detail: TraceDetail = { kind: "status", status: 1 };
  tracer.emit("slot", detail);
  assert(seen === detail);
  const pcapng = new PcapngTrace(0);
  const [first, second] = [pcapng.event(seen as TraceEvent), pcapng.event(seen as TraceEvent)];
  assert(first.buffer === second.buffer);
});

Deno.test("trace sinks: a flow leads from a queue's last kick to the interrupt that reports it", () => {
  const timeline = new TimelineTrace();
  const at = { time: 1, device: "virtio0", deviceId: 1 } as const;
  const kick = { ...at, kind: "kick", buffers: 1, notified: true } as const;
  const interrupt = { ...at, kind: "interrupt", cause: 1 } as const;
  const lines = [
    timeline.event({ ...kick, queue: 0, name: "input.0" }),
    timeline.event({ ...kick, queue: 1, name: "output.0" }),
    timeline.event({ ...kick, queue: 1, name: "output.0" }),
    timeline.event({ ...interrupt, queues: [1] }),
    timeline.event({ ...interrupt, queues: undefined }),
    timeline.event({ ...interrupt, queues: undefined }),
  ];
  type Line = { readonly ph: string; readonly id?: number; readonly tid: number };
  const flows = (JSON.parse(timeline.start + lines.join("") + timeline.end) as Line[])
    .filter(({ ph }) => ph === "s" || ph === "f").map(({ ph, id, tid }) => `${ph}${id} on ${tid}`);
  assertEquals(flows, ["s1 on 1", "s2 on 2", "s3 on 2", "f3 on 0", "f1 on 0"]);
});

Deno.test("trace sinks: on a device's side a flow leads from a notification to the call that was sent", () => {
  const timeline = new TimelineTrace();
  const at = { time: 1, device: "blk", deviceId: 2, queue: 0, name: "requestq1" } as const;
  const notified = { ...at, kind: "notified", ignored: undefined } as const;
  const call = { ...at, kind: "call", buffers: 1 } as const;
  const lines = [
    timeline.event(notified),
    timeline.event({ ...call, unsent: "the driver asked for none" }),
    timeline.event({ ...call, unsent: undefined }),
    timeline.event({ ...call, unsent: undefined }),
  ];
  type Line = { readonly ph: string; readonly id?: number; readonly name: string };
  const made = (JSON.parse(timeline.start + lines.join("") + timeline.end) as Line[])
    .filter(({ ph }) => ph !== "M").map(({ ph, id = "", name }) => `${ph}${id} ${name}`);
  assertEquals(made, ["i notified", "s1 kick", "i call", "i call", "f1 kick", "i call"]);
});

Deno.test("trace sinks: a comment that is longer than pcapng allows is cut, and its packet is whole", () => {
  const pcapng = new PcapngTrace(0);
  const frame = new Uint8Array(60);
  const bytes = pcapng.event({
    ...{ kind: "used", time: 1, device: "virtio0", deviceId: 1, queue: 0, name: "input.0" },
    ...{ token: 0, request: undefined, length: 72, inFlight: 0, after: 1, frame },
    data: new Uint8Array(40_000),
  });
  assertEquals(COUNT["pcapng"]!(bytes), 1);
  assert(bytes.length < 66_000);
});
