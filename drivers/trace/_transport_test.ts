import { assertEquals } from "@std/assert";
import { type Dma, FeatureSet, type InterruptWait, type TraceDetail } from "@vireo/hal";
import type { Transport } from "../transport/transport.ts";
import { TracedTransport } from "./_transport.ts";

const OFFERED = FeatureSet.of(1, 32);
const ACCEPTED = FeatureSet.of(1);
/** What a transport has, each value another one than a transport that has nothing. */
const FIXED = {
  name: "slot 2",
  kind: "mmio-1",
  legacy: true,
  deviceId: 4,
  vendorId: 0x1af4,
  interrupt: { polled: true, wait: () => Promise.resolve() },
  legacyQueueAlign: 4096,
  fixedQueueSize: true,
  withheld: FeatureSet.of(7),
} as const;
const ADDRESSES = { size: 8, desc: 1, driver: 2, device: 3, extra: 4 };

/** A transport that says what it is called for, traced. */
function rig(changes: Partial<Transport> = {}) {
  /** Calls of the transport and events, in order. */
  const seen: unknown[] = [];
  const gives: Readonly<Record<string, unknown>> = {
    readFeatures: OFFERED,
    readStatus: 15,
    reset: Promise.resolve(),
    resetQueue: Promise.resolve(),
    queueMaxSize: 64,
    readConfig: 0xab,
    configGeneration: 6,
    sharedMemory: { address: 1, length: 2 },
    takeInterruptCause: 1,
    peekInterruptCause: 2,
    isPresent: true,
  };
  const memory = { access: "coherent" } as unknown as Dma;
  const base = { ...FIXED, dma: memory, ...changes };
  const transport = new Proxy(base, {
    get: (target, name) =>
      Reflect.has(target, name)
        ? Reflect.get(target, name)
        : name === "pci" || name === "route"
        ? undefined
        : (...args: unknown[]) => {
          seen.push([String(name), ...args]);
          return gives[String(name)];
        },
  }) as unknown as Transport;
  const counted = { counted: true } as unknown as Dma;
  const traced = new TracedTransport(transport, {
    time: 0,
    data: 0,
    emit: (slot, detail) => void seen.push([slot, detail]),
    counted: (dma, slot) => {
      assertEquals([dma === memory, slot], [true, FIXED.name]);
      return counted;
    },
    of: () => ({ name: "virtio0", deviceId: 4, features: FeatureSet.NONE }),
    learn: (slot, news) => void seen.push(["learn", slot, news]),
    fault() {},
  });
  const event = (detail: TraceDetail): unknown => [FIXED.name, detail];
  return { traced, transport, seen, event, counted };
}

Deno.test("traced transport: it has what the transport has, and memory whose copies are counted", () => {
  const { traced, counted } = rig();
  const { name, kind, legacy, deviceId, vendorId, interrupt } = traced;
  const { legacyQueueAlign, fixedQueueSize, withheld } = traced;
  assertEquals(
    {
      ...{ name, kind, legacy, deviceId, vendorId, interrupt },
      ...{ legacyQueueAlign, fixedQueueSize, withheld },
    },
    FIXED,
  );
  assertEquals(traced.dma === counted, true);
  assertEquals([traced.pci, traced.route], [undefined, undefined]);
});

/** Each call, what it is of the transport, its event, and what it gives. */
const CALLS: readonly (readonly [
  call: (transport: TracedTransport) => unknown,
  passed: readonly unknown[],
  event: TraceDetail | undefined,
  gives?: unknown,
])[] = [
  [
    (t) => t.readFeatures(),
    ["readFeatures"],
    { kind: "features", by: "device", features: OFFERED },
    OFFERED,
  ],
  [(t) => t.readStatus(), ["readStatus"], undefined, 15],
  [(t) => t.writeStatus(3), ["writeStatus", 3], { kind: "status", status: 3 }],
  [(t) => void t.reset({ deadline: 5 }), ["reset", { deadline: 5 }], { kind: "status", status: 0 }],
  [(t) => t.queueMaxSize(2), ["queueMaxSize", 2], undefined, 64],
  [(t) => t.enableQueue(1, ADDRESSES), ["enableQueue", 1, ADDRESSES], {
    kind: "queue",
    queue: 1,
    ring: { size: 8, desc: 1, driver: 2, device: 3 },
  }],
  [(t) => t.startQueues(), ["startQueues"], undefined],
  [(t) => t.disableQueue(1), ["disableQueue", 1], { kind: "queue", queue: 1, ring: undefined }],
  [(t) => void t.resetQueue(1, { deadline: 5 }), ["resetQueue", 1, { deadline: 5 }], {
    kind: "queue",
    queue: 1,
    ring: undefined,
  }],
  [(t) => t.notify(1, 7), ["notify", 1, 7], undefined],
  [(t) => t.readConfig(8, 4), ["readConfig", 8, 4], undefined, 0xab],
  [(t) => t.writeConfig(8, 4, 9), ["writeConfig", 8, 4, 9], undefined],
  [(t) => t.configGeneration(), ["configGeneration"], undefined, 6],
  [(t) => t.sharedMemory(1), ["sharedMemory", 1], undefined, { address: 1, length: 2 }],
  [
    (t) => t.takeInterruptCause(),
    ["takeInterruptCause"],
    { kind: "interrupt", cause: 1, queues: undefined },
    1,
  ],
  [(t) => t.peekInterruptCause(), ["peekInterruptCause"], undefined, 2],
  [(t) => t.isPresent(), ["isPresent"], undefined, true],
  [(t) => t.enable(), ["enable"], undefined],
];

for (const [call, passed, detail, gives] of CALLS) {
  Deno.test(`traced transport: ${passed[0]}() of the transport, and its event`, () => {
    const { traced, seen, event } = rig();
    assertEquals(call(traced), gives);
    // The event is before what the driver does, and behind what the device says.
    const answers = gives !== undefined;
    const events = detail === undefined ? [] : [event(detail)];
    assertEquals(seen, answers ? [passed, ...events] : [...events, passed]);
  });
}

Deno.test("traced transport: features are known before they are told and written", () => {
  const { traced, seen, event } = rig();
  traced.writeFeatures(ACCEPTED);
  assertEquals(seen, [
    ["learn", FIXED.name, { features: ACCEPTED }],
    event({ kind: "features", by: "driver", features: ACCEPTED }),
    ["writeFeatures", ACCEPTED],
  ]);
});

Deno.test("traced transport: the configuration is told behind a socket, which has no registers", () => {
  const { traced, seen, event } = rig({ kind: "vhost-user" });
  traced.readConfig(8, 4);
  traced.writeConfig(2, 1, 9);
  assertEquals(seen, [
    ["readConfig", 8, 4],
    event({ kind: "config", op: "read", offset: 8, width: 4, value: 0xab }),
    event({ kind: "config", op: "write", offset: 2, width: 1, value: 9 }),
    ["writeConfig", 2, 1, 9],
  ]);
});

Deno.test("traced transport: no cause is no interrupt, and nothing to enable is nothing", () => {
  const { traced, seen } = rig({ takeInterruptCause: () => 0, enable: undefined } as never);
  assertEquals([traced.takeInterruptCause(), traced.enable()], [0, undefined]);
  assertEquals(seen, []);
});

Deno.test("traced transport: a source without a cause is the transport's own, another tells its interrupts", async () => {
  const waits: InterruptWait[] = [];
  const interrupt = {
    polled: false,
    wait: (options: InterruptWait) => {
      waits.push(options);
      return Promise.resolve();
    },
  };
  const silent = { cause: 0, queues: undefined, interrupt };
  const loud = { cause: 1, queues: [2], interrupt };
  const route = { sources: [silent, loud] };
  const { traced, seen, event } = rig({ route, routeInterrupts: () => route } as never);
  const [same, told] = traced.route!.sources;
  assertEquals(same === (silent as unknown), true);
  assertEquals(traced.routeInterrupts([]).sources[1] === told, true);
  assertEquals([told!.cause, told!.queues, told!.interrupt.polled], [1, [2], false]);
  const { signal } = new AbortController();
  await told!.interrupt.wait({ signal, serve: () => false } as InterruptWait);
  assertEquals(waits, [{ signal } as InterruptWait]);
  assertEquals(seen, [event({ kind: "interrupt", cause: 1, queues: [2] })]);
});
