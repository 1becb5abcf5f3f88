import { assertEquals } from "@std/assert";
import type { TraceEvent } from "@vireo/hal";
import { TimelineTrace } from "./timeline.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The lines of events as data, without those that name tracks, and without the words for people. */
function timeline(...events: readonly Fields[]): { names: Fields[]; lines: Fields[] } {
  const trace = new TimelineTrace();
  const text = events.map((event) =>
    trace.event({ deviceId: 2, ...event } as unknown as TraceEvent)
  );
  const all: Fields[] = JSON.parse(trace.start + text.join("") + trace.end);
  assertEquals(all[0]!["name"], "vireo_trace");
  const named = ({ name }: Fields): boolean => name === "process_name" || name === "thread_name";
  const lines = all.slice(1).filter((line) => !named(line)).map(({ args, ...line }) => {
    const { buffers } = args as { buffers?: number } ?? {};
    return buffers === undefined ? line : { ...line, buffers };
  });
  return { names: all.filter(named), lines };
}

const blk = { device: "virtio0", queue: 0, name: "req" };
const add = { ...blk, kind: "add", time: 1, token: 3, elements: [], request: "READ", inFlight: 1 };
const used = {
  ...blk,
  kind: "used",
  time: 2,
  token: 3,
  request: "READ: OK",
  length: 1,
  inFlight: 0,
  after: 1,
};
const kick = { ...blk, kind: "kick", time: 1.5, buffers: 1, notified: true };
const interrupt = { device: "virtio0", kind: "interrupt", time: 1.75 };
const place = { pid: 1, tid: 1 };
const flow = (ph: string, ts: number, id: number): Fields => ({
  ...{ ...place, ts, ph, cat: "kick", id, name: "kick" },
  ...ph === "f" ? { bp: "e" } : {},
});
const instant = (name: string, ts: number, more: Fields = {}): Fields => ({
  ...{ ...place, ts, ph: "i", s: "t", name },
  ...more,
});

Deno.test("timeline: a process for each device and a thread for each queue, named once", () => {
  const tx = { queue: 2, name: "tx" };
  const { names } = timeline(add, used, { ...add, ...tx }, { ...add, ...tx, device: "virtio1" });
  assertEquals(names, [
    { name: "process_name", ph: "M", pid: 1, args: { name: "virtio0" } },
    { name: "thread_name", ph: "M", pid: 1, tid: 1, args: { name: "req" } },
    { name: "thread_name", ph: "M", pid: 1, tid: 3, args: { name: "tx" } },
    { name: "process_name", ph: "M", pid: 2, args: { name: "virtio1" } },
    { name: "thread_name", ph: "M", pid: 2, tid: 3, args: { name: "tx" } },
  ]);
});

Deno.test("timeline: a buffer is a slice that ends by the name that it began with, and a count", () => {
  const counter = (ts: number, buffers: number): Fields => ({
    ...{ ...place, ts, ph: "C", name: "in flight 'req'", buffers },
  });
  const slice = (ph: string, ts: number, name: string, token = 3): Fields => ({
    ...{ ...place, ts, ph, cat: "buffer", id: `1.0.${token}`, name },
  });
  assertEquals(timeline(add, used).lines, [
    ...[counter(1000, 1), slice("b", 1000, "READ"), counter(2000, 0), slice("e", 2000, "READ")],
  ]);
  // One of which nothing is known, and one that was never added. Times are in thousandths of a microsecond.
  const plain = { ...add, time: 0.0123456, request: undefined };
  assertEquals(timeline(plain, { ...used, token: 9 }).lines, [
    ...[counter(12.346, 1), slice("b", 12.346, "buffer"), counter(2000, 0)],
    slice("e", 2000, "buffer", 9),
  ]);
});

Deno.test("timeline: a flow leads from the last kick of a queue to the interrupt that reports it", () => {
  const tid0 = { tid: 0 };
  const end = (id: number): Fields => ({ ...flow("f", 1750, id), ...tid0 });
  assertEquals(timeline(kick, interrupt, interrupt).lines, [
    ...[instant("kick", 1500), flow("s", 1500, 1), instant("interrupt", 1750, tid0), end(1)],
    instant("interrupt", 1750, tid0),
  ]);
  // A kick without a notification begins none, another kick takes the place of the first.
  assertEquals(timeline({ ...kick, notified: false }, interrupt).lines, [
    ...[instant("kick", 1500), instant("interrupt", 1750, tid0)],
  ]);
  assertEquals(timeline(kick, kick, interrupt).lines.slice(-2), [
    ...[instant("interrupt", 1750, tid0), end(2)],
  ]);
  // An interrupt of some queues ends theirs alone.
  const of = (...queues: readonly number[]): Fields[] =>
    timeline(kick, { ...interrupt, queues }).lines.slice(2);
  assertEquals([of(1), of(0, 1)], [
    ...[[instant("interrupt", 1750, tid0)], [instant("interrupt", 1750, tid0), end(1)]],
  ]);
  // One of a queue stands in its thread.
  const other = timeline({ device: "virtio0", kind: "status", time: 1, status: 1 }, {
    ...interrupt,
    queue: 3,
  });
  assertEquals(other.lines.map(({ tid }) => tid), [0, 4]);
});

Deno.test("timeline: on the device's side it leads from a notification to the call that was sent", () => {
  const notified = { ...blk, kind: "notified", time: 1.5, ignored: undefined };
  const call = { ...blk, kind: "call", time: 1.75, unsent: undefined };
  assertEquals(timeline(notified, call, call).lines, [
    ...[instant("notified", 1500), flow("s", 1500, 1), instant("call", 1750), flow("f", 1750, 1)],
    instant("call", 1750),
  ]);
  assertEquals(timeline(notified, { ...call, unsent: "not asked" }).lines.slice(2), [
    instant("call", 1750),
  ]);
});
