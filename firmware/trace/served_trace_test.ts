import { assertEquals } from "@std/assert";
import { Tracer } from "@vireo/drivers/trace";
import type { DeviceModel } from "@vireo/emu";
import type { TraceEvent } from "@vireo/hal";
import { servedTrace } from "./served_trace.ts";

Deno.test("served trace: events are of the model, by its name and its type", () => {
  const events: TraceEvent[] = [];
  const tracer = new Tracer((event) => events.push(event), { now: () => 5 });
  const trace = servedTrace(tracer, { name: "rng", deviceId: 4 } as DeviceModel);
  trace.emit({ kind: "notified", queue: 0, name: "requestq", ignored: undefined }, 7);
  assertEquals(events.map(({ device, deviceId, time }) => [device, deviceId, time]), [[
    "rng",
    4,
    7,
  ]]);
  assertEquals(trace.time, 0);
});
