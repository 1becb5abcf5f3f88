import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ANY_ID,
  FeatureSet,
  type Interrupt,
  type InterruptWait,
  type MmioNode,
  VireoError,
} from "@vireo/hal";
import { board, HeldInterrupt, hurried, recorder, settle, use } from "./bus_test_util.ts";
import { Bus } from "./bus.ts";
import type { VirtioDevice } from "../device.ts";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";
import { ScriptedDevice } from "../testing/scripted_device.ts";
import { MmioTransport } from "../transport/mmio.ts";
import type { Uevent } from "./uevent.ts";

/** Register accesses of Linux's register_virtio_device without a driver. */
const REGISTERED = ["w Status 0x0", "r Status 0x0", "r Status 0x0", "w Status 0x1"];

Deno.test("bus registers: reset, then ACKNOWLEDGE (drv.basic.init.1)", async () => {
  const { bus, scripted, transport } = board();
  await using _ = bus;
  const device = await bus.addDevice(transport);
  assertEquals(scripted.takeLog(), REGISTERED);
  assertEquals([device.name, device.index, device.driver], ["virtio0", 0, undefined]);
});

Deno.test("bus probes in Linux's order of steps (drv.basic.init.1, .status.1, .status.2)", async () => {
  const { bus, scripted, transport } = board({ features: FeatureSet.of(5, 28, 29, 32) });
  const { driver, calls } = recorder({
    features: FeatureSet.of(5),
    validate(_, features) {
      scripted.log.push("validate");
      return features.without(5);
    },
    probe: () => void scripted.log.push("probe"),
    scan: () => void scripted.log.push("scan"),
  });
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  assertEquals(scripted.takeLog(), [
    ...REGISTERED,
    "r Status 0x1", // 1 DRIVER
    "w Status 0x3",
    "w DeviceFeaturesSel 0x1", // 2 device features
    "r DeviceFeatures 0x1",
    "w DeviceFeaturesSel 0x0",
    "r DeviceFeatures 0x30000020",
    "w DriverFeaturesSel 0x1", // 7 finalize_features
    "w DriverFeatures 0x1",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x30000020",
    "validate", // 8, which cleared a bit
    "w DriverFeaturesSel 0x1",
    "w DriverFeatures 0x1",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x30000000",
    "r Status 0x3", // 10 FEATURES_OK and the second look
    "w Status 0xb",
    "r Status 0xb",
    "probe", // 11
    "r Status 0xb", // 12 DRIVER_OK
    "r Status 0xb",
    "w Status 0xf",
    "scan", // 13
  ]);
  assertEquals(calls, ["probe", "scan"]);
  assertEquals([...device.features], [28, 29, 32]);
  assertEquals([...device.offered], [5, 28, 29, 32]);
  assertEquals(device.error, undefined);
  await bus[Symbol.asyncDispose]();
});

Deno.test("bus drives a legacy device without FEATURES_OK (drv.basic.legacy-init.1)", async () => {
  const { bus, scripted, transport } = board({ version: 1, features: FeatureSet.of(5, 28, 30) });
  await using _ = bus;
  await bus.registerDriver(recorder({ features: FeatureSet.of(5) }).driver);
  const device = await bus.addDevice(transport);
  assertEquals(scripted.takeLog(), [
    "w GuestPageSize 0x1000",
    ...REGISTERED,
    "r Status 0x1",
    "w Status 0x3",
    "w DeviceFeaturesSel 0x1",
    "r DeviceFeatures 0x0",
    "w DeviceFeaturesSel 0x0",
    "r DeviceFeatures 0x50000020",
    "w DriverFeaturesSel 0x1",
    "w DriverFeatures 0x0",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x10000020", // not bit 30 (drv.basic.legacy-reserved-features.2)
    "r Status 0x3",
    "r Status 0x3",
    "w Status 0x7",
  ]);
  assertEquals([...device.features], [5, 28]);
});

Deno.test("bus leaves DRIVER_OK to a driver that sets it", async () => {
  const { bus, scripted, transport } = board();
  await using _ = bus;
  await bus.registerDriver(recorder({ probe: (device) => device.ready() }).driver);
  await bus.addDevice(transport);
  assertEquals(scripted.log.filter((line) => line === "w Status 0xf").length, 1);
  assertEquals(scripted.log.at(-1), "r Status 0xf");
});

Deno.test("bus gives the lowest free index", async () => {
  await using bus = new Bus();
  const add = async () => {
    const slot = new ScriptedDevice();
    return await bus.addDevice(MmioTransport.probe(slot, { alloc: () => assert(false) as never })!);
  };
  const devices = [await add(), await add(), await add()];
  assertEquals(devices.map(({ name }) => name), ["virtio0", "virtio1", "virtio2"]);
  await bus.removeDevice(devices[0]!);
  await bus.removeDevice(devices[1]!);
  assertEquals([(await add()).index, (await add()).index, (await add()).index], [0, 1, 3]);
});

Deno.test("bus takes devices from their driver for one that replaces it, and reports one that drives nothing", async () => {
  const notices: string[] = [];
  const { bus, transport } = board({}, {
    onBindNotice: (notice) =>
      notices.push(
        `${notice.driver.name} ${notice.kind}` +
          (notice.kind === "held" ? ` ${notice.devices.map(({ driver }) => driver?.name)}` : "") +
          (notice.kind === "probe-failed" ? ` ${notice.device.name}: ${notice.error.cause}` : ""),
      ),
  });
  await using _ = bus;
  const first = recorder({}, "first");
  await bus.registerDriver(first.driver);
  const device = await bus.addDevice(transport);
  assertEquals(notices, []);
  await bus.registerDriver(recorder({}, "second").driver);
  assertEquals(notices.splice(0), ["second held first"]);
  await bus.registerDriver(recorder({ ids: [{ device: 9, vendor: ANY_ID }] }, "other").driver);
  assertEquals(notices.splice(0), ["other no-match"]);
  const mine = recorder({}, "mine");
  await bus.registerDriver(mine.driver, { replace: true });
  assertEquals([device.driver, notices], [mine.driver, []]);
  assert(first.calls.includes("remove"));
  // It is asked first from then on.
  await bus.unbind(device);
  await bus.bind(device);
  assertEquals(device.driver, mine.driver);
  const throwing = recorder({
    probe: () => {
      throw new Error("no");
    },
  }, "throwing");
  await bus.registerDriver(throwing.driver, { replace: true });
  assertEquals(notices, ["throwing probe-failed virtio0: Error: no"]);
  assertEquals(device.driver, undefined);
});

Deno.test("bus lists the queues whose device has buffers, but not those on which a driver receives", async () => {
  const { bus, scripted, dma, transport } = board({ queues: [8, 8] });
  await using _ = bus;
  await bus.registerDriver(
    recorder({
      queues: [{ name: "request", callback() {} }, { name: "receive", receives: true }],
    }).driver,
  );
  const device = await bus.addDevice(transport);
  const { queues: [request, receive] } = device;
  const list = new SgList(1).addWritable(0x1000, 8);
  assertEquals(bus.outstanding(), []);
  const before = bus.progress();
  request!.add(list, 1);
  receive!.add(list, 1);
  receive!.kick();
  const place = { device, queue: "request", popped: bus.outstanding()[0]!.popped };
  assertEquals(bus.outstanding(), [{ ...place, inFlight: 1, kicked: false }]);
  request!.kick();
  assertEquals(bus.outstanding(), [{ ...place, inFlight: 1, kicked: true }]);
  // Nothing has come back, and one more device is news.
  assertEquals(bus.progress(), before);
  await bus.addDevice(board({}).transport);
  assertEquals(bus.progress(), before + 1);
  use(dma, scripted, request!, 0);
  assertEquals([request!.pop(), bus.progress()], [1, before + 2]);
});

Deno.test("bus: a device whose interrupts cannot be delivered fails by that, or by its removal", async () => {
  for (
    const [cause, code] of [
      [new VireoError("DEVICE_REMOVED", "It is gone"), "DEVICE_REMOVED"],
      [new VireoError("BAD_ACCESS", "It is not there"), "HOST_ERROR"],
      [Object.assign(new Error("It is gone"), { code: "DEVICE_REMOVED" }), "HOST_ERROR"],
    ] as const
  ) {
    const made = board();
    const interrupt: Interrupt = { polled: false, wait: () => Promise.reject(cause) };
    const transport = MmioTransport.probe(
      Object.assign(made.scripted, { interrupt }),
      made.dma,
    )!;
    await using bus = made.bus;
    const { driver, errors } = recorder({ queues: [{ name: "q", callback() {} }] });
    await bus.registerDriver(driver);
    await bus.addDevice(transport);
    await settle();
    const [error] = errors as VireoError[];
    assertEquals([error?.code, error === cause, error?.cause === cause], [
      code,
      code === "DEVICE_REMOVED",
      code === "HOST_ERROR",
    ]);
    assert(made.reports.includes(error!));
  }
});

/** A device on a machine without interrupts, with a queue whose answers are waited for and one without a callback. */
async function polledBoard(
  take: (queue: Virtqueue) => void = (queue) => {
    while (queue.pop() >= 0);
  },
): Promise<
  ReturnType<typeof board> & { device: VirtioDevice; wait: InterruptWait; served: string[] }
> {
  const made = board({ queues: [8, 8] });
  const interrupt = new HeldInterrupt();
  const transport = MmioTransport.probe(
    Object.assign(made.scripted, { interrupt }),
    made.dma,
  )!;
  const served: string[] = [];
  const callback = (queue: Virtqueue): void => {
    served.push(queue.name);
    take(queue);
  };
  const queues = [{ name: "asked", callback }, { name: "silent" }];
  await made.bus.registerDriver(recorder({ queues }).driver);
  const device = await made.bus.addDevice(transport);
  return { ...made, device, wait: interrupt.options, served };
}

Deno.test("bus: a poller looks for answers of queues whose callback is wanted, in memory or by the cause", async () => {
  const { bus, scripted, dma, device, wait, served } = await polledBoard();
  await using _ = bus;
  const [asked, silent] = device.queues;
  const look = () => [wait.expected!(), wait.readyInMemory!(), wait.ready()];
  assertEquals(look(), [false, false, false]);
  for (const queue of [silent!, asked!]) {
    queue.add(new SgList(1).addWritable(0x1000, 8), 0);
    assertEquals(look(), [queue === asked, false, false]);
    use(dma, scripted, queue, 0);
    assertEquals(look(), Array(3).fill(queue === asked));
  }
  asked!.disableCallbacks();
  assertEquals(look(), [false, false, false]);
  scripted.cause = 1;
  assertEquals(look(), [false, false, true]);
  // The register is asked once, until the cause is taken.
  scripted.cause = 0;
  assertEquals(look(), [false, false, true]);
  assertEquals([wait.serve!(), served, look()], [true, ["asked"], [false, false, false]]);
});

Deno.test("bus: a serve made progress if its callback took a buffer, or left none", async () => {
  const chain = new SgList(1).addWritable(0x1000, 8);
  const cases: [(queue: Virtqueue) => void, boolean][] = [
    [(queue) => void queue.pop(), true],
    [(queue) => {
      // As many are in flight as before.
      while (queue.pop() >= 0) queue.add(chain, 0);
    }, true],
    [() => {}, false],
  ];
  for (const [take, progress] of cases) {
    const { bus, scripted, dma, device, wait } = await polledBoard(take);
    await using _ = bus;
    const [queue] = device.queues;
    for (const id of [0, 1]) queue!.add(chain, id);
    for (const id of [0, 1]) use(dma, scripted, queue!, id);
    assertEquals(wait.serve!(), progress);
  }
});

Deno.test("bus: of a poller's serves every 32nd takes the cause, and each that follows a cause", async () => {
  const { bus, scripted, wait } = await polledBoard();
  await using _ = bus;
  const reads = (serves: number): number => {
    scripted.takeLog();
    for (let i = 0; i < serves; i++) wait.serve!();
    return scripted.takeLog().filter((line) => line.startsWith("r InterruptStatus")).length;
  };
  assertEquals([reads(31), reads(1), reads(31), reads(1)], [0, 1, 0, 1]);
  scripted.cause = 1;
  wait.ready();
  assertEquals([reads(1), reads(31), reads(1)], [1, 0, 1]);
});

Deno.test("bus matches by id table with ANY", async () => {
  const cases = [
    [{ device: 42, vendor: ANY_ID }, true],
    [{ device: 42, vendor: 0x1af4 }, true],
    [{ device: ANY_ID, vendor: 0x1af4 }, true],
    [{ device: ANY_ID, vendor: ANY_ID }, true],
    [{ device: 42, vendor: 1 }, false],
    [{ device: 2, vendor: ANY_ID }, false],
  ] as const;
  for (const [id, bound] of cases) {
    const { bus, transport } = board({ vendorId: 0x1af4 });
    await using _ = bus;
    await bus.registerDriver(recorder({ ids: [{ device: 7, vendor: 7 }, id] }).driver);
    const device = await bus.addDevice(transport);
    assertEquals(device.driver !== undefined, bound, JSON.stringify(id));
  }
});

Deno.test("bus attributes have Linux's text forms", async () => {
  const { bus, transport } = board({
    deviceId: 2,
    vendorId: 0x554d4551,
    features: FeatureSet.of(5, 28, 32),
  });
  await using _ = bus;
  const ids = [{ device: 2, vendor: ANY_ID }];
  await bus.registerDriver(recorder({ ids, features: FeatureSet.of(5) }).driver);
  const device = await bus.addDevice(transport);
  assertEquals(bus.attributes(device), {
    device: "0x0002\n",
    vendor: "0x554d4551\n",
    status: "0x0000000f\n",
    features: `${"0".repeat(5)}1${"0".repeat(22)}1${"0".repeat(3)}1${"0".repeat(95)}\n`,
    modalias: "virtio:d00000002v554D4551\n",
  });
  assertEquals(bus.attributes(device).features.length, 129);
});

Deno.test("bus sends uevents in Linux's form", async () => {
  const events: Uevent[] = [];
  const { bus, transport, scripted } = board({}, { uevent: (event) => events.push(event) });
  const { driver } = recorder();
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  scripted.changeConfig(0, 1);
  await settle();
  await bus.unbind(device);
  await bus.removeDevice(device);
  const path = "DEVPATH=/devices/virtio-mmio@a000000/virtio0\nSUBSYSTEM=virtio\n";
  const alias = "MODALIAS=virtio:d0000002Av554D4551\n";
  assertEquals(events.map(({ text }) => text), [
    `ACTION=add\n${path}${alias}SEQNUM=1\n`,
    `ACTION=bind\n${path}DRIVER=virtio_test\n${alias}SEQNUM=2\n`,
    `ACTION=change\n${path}DRIVER=virtio_test\n${alias}SEQNUM=3\n`,
    `ACTION=unbind\n${path}${alias}SEQNUM=4\n`,
    `ACTION=remove\n${path}${alias}SEQNUM=5\n`,
  ]);
});

Deno.test("bus filter holds for device, ring and transport bits, from the next bind on", async () => {
  const { bus, scripted, transport } = board(
    { features: FeatureSet.of(3, 5, 28, 29, 32) },
    { filter: FeatureSet.of(5, 29) },
  );
  await using _ = bus;
  await bus.registerDriver(recorder({ features: FeatureSet.of(3, 5) }).driver);
  const device = await bus.addDevice(transport);
  assertEquals([...device.features], [3, 28, 32]);
  assertEquals([...scripted.accepted], [3, 28, 32]);
  bus.filter = FeatureSet.of(28);
  assertEquals([...device.features], [3, 28, 32]);
  await bus.unbind(device);
  assertEquals(await bus.bind(device), true);
  assertEquals([...device.features], [3, 5, 29, 32]);
});

Deno.test("bus negotiates only what rings and transport implement (drv.basic.features.3, .4; drv.basic.reserved-features.8)", async () => {
  const all = FeatureSet.fromWords(0xffffffff, 0xffffffff);
  const { bus, transport } = board({ features: all });
  await using _ = bus;
  await bus.registerDriver(recorder().driver);
  const device = await bus.addDevice(transport);
  // Without 30, 31, ORDER_PLATFORM 36, SR_IOV 37, 39, ADMIN_VQ 41.
  assertEquals([...device.features], [28, 29, 32, 33, 34, 35, 38, 40, 43]);
  const legacy = board({ version: 1, features: all });
  await using __ = legacy.bus;
  await legacy.bus.registerDriver(recorder().driver);
  const old = await legacy.bus.addDevice(legacy.transport);
  // ANY_LAYOUT must be accepted (drv.basic.legacy-reserved-features.1).
  assertEquals([...old.features], [27, 28, 29]);
});

Deno.test("bus uses the legacy table without VERSION_1 (drv.basic.legacy-features.1)", async () => {
  for (const [version, expected] of [[1, [6]], [2, [5, 32]]] as const) {
    const { bus, transport } = board({
      version,
      features: version === 1 ? FeatureSet.of(5, 6) : FeatureSet.of(5, 6, 32),
    });
    await using _ = bus;
    const tables = { features: FeatureSet.of(5), legacyFeatures: FeatureSet.of(6) };
    await bus.registerDriver(recorder(tables).driver);
    assertEquals([...(await bus.addDevice(transport)).features], [...expected]);
  }
});

Deno.test("bus refuses version 2 without VERSION_1", async () => {
  const { bus, transport, scripted } = board({ features: FeatureSet.of(5) });
  await using _ = bus;
  await bus.registerDriver(recorder({ legacyFeatures: FeatureSet.of(5) }).driver);
  const device = await bus.addDevice(transport);
  assert(device.error instanceof VireoError);
  assertEquals(device.error.code, "VERSION_1_REQUIRED");
  assertEquals(scripted.status, 0x83);
  assertEquals(device.driver, undefined);
});

Deno.test("bus sets FAILED when FEATURES_OK does not stay (drv.basic.init.4, .init.5)", async () => {
  const { bus, scripted, transport, reports } = board({
    writes: {
      Status: (value) => {
        if ((value & 8) === 0) return true;
        scripted.status = value & ~8;
        return false;
      },
    },
  });
  await using _ = bus;
  const { driver, calls } = recorder();
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  const error = device.error as VireoError;
  assertEquals(
    [error.code, error.device, error.register, error.seen, error.expected],
    ["FEATURES_REFUSED", "virtio0", "Status", 3, "FEATURES_OK (0x8) to stay set"],
  );
  assertEquals(
    error.message,
    "Cannot drive the device: it refuses features 0x100000000 (virtio0, register Status): " +
      "saw 0x3, expected FEATURES_OK (0x8) to stay set",
  );
  assertEquals(scripted.log.slice(-4), [
    "w Status 0xb",
    "r Status 0x3",
    "r Status 0x3",
    "w Status 0x83",
  ]);
  assertEquals(calls, []);
  assertEquals(reports, [error]);
});

Deno.test("bus probe that throws leaves FAILED, and a bind works after a reset (drv.basic.status.3)", async () => {
  let fail = true;
  const { bus, scripted, transport, dma } = board();
  await using _ = bus;
  const { driver } = recorder({
    queues: [{ name: "q" }],
    probe() {
      if (fail) throw new Error("no");
    },
  });
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  const error = device.error as VireoError;
  assertEquals([error.code, error.device, (error.cause as Error).message], [
    "PROBE_FAILED",
    "virtio0",
    "no",
  ]);
  assertEquals(scripted.status & 0x80, 0x80);
  assertEquals(dma.live, 0);
  assertEquals(scripted.queues[0]!.ready, 0);
  fail = false;
  scripted.takeLog();
  assertEquals(await bus.bind(device), true);
  assertEquals(scripted.log.slice(0, 4), [
    "w Status 0x0",
    "r Status 0x0",
    "r Status 0x0",
    "w Status 0x1",
  ]);
  assertEquals([device.error, scripted.status], [undefined, 0xf]);
});

Deno.test("bus tries the next driver that matches when one fails", async () => {
  const { bus, transport } = board();
  await using _ = bus;
  const first = recorder({ probe: () => Promise.reject(new Error("no")) }, "first");
  const second = recorder({}, "second");
  await bus.registerDriver(first.driver);
  await bus.registerDriver(second.driver);
  const device = await bus.addDevice(transport);
  assertEquals([device.driver?.name, device.error], ["second", undefined]);
});

Deno.test("bus validate may fail or clear bits, not add them", async () => {
  for (
    const [validate, code] of [
      [() => {
        throw new VireoError("FEATURE_DEPENDENCY", "No");
      }, "FEATURE_DEPENDENCY"],
      [(_: unknown, features: FeatureSet) => features.with(7), undefined],
    ] as const
  ) {
    const { bus, scripted, transport } = board();
    await using _ = bus;
    await bus.registerDriver(recorder({ validate }).driver);
    const { error } = await bus.addDevice(transport);
    if (code === undefined) assert(error instanceof TypeError);
    else assertEquals((error as VireoError).code, code);
    assertEquals(scripted.status, 0x83);
  }
});

Deno.test("bus binds a driver that comes after the device, and takes it off again", async () => {
  const { bus, scripted, transport } = board();
  await using _ = bus;
  const device = await bus.addDevice(transport);
  const { driver, calls } = recorder();
  await bus.registerDriver(driver);
  assert(bus.get(driver) === device.instance && device.instance !== undefined);
  assertEquals(bus.all(driver), [device.instance]);
  await assertRejects(() => bus.registerDriver(driver), TypeError, "it is already registered");
  await bus.unregisterDriver(driver);
  assertEquals([device.driver, bus.get(driver), scripted.status], [undefined, undefined, 1]);
  assertEquals(calls, ["probe", "scan", "remove", "failed"]);
  assert(device.features.isEmpty);
  await assertRejects(() => bus.unregisterDriver(driver), TypeError, "it is not registered");
});

Deno.test("bus remove: driver first, then ACKNOWLEDGE again", async () => {
  const { bus, scripted, transport } = board();
  await bus.registerDriver(recorder().driver);
  const device = await bus.addDevice(transport);
  scripted.takeLog();
  await bus.removeDevice(device);
  assertEquals(scripted.takeLog(), [
    "w Status 0x0",
    "r Status 0x0",
    "r DeviceID 0x2a", // A slot that was emptied is not reset again.
    "r Status 0x0",
    "r Status 0x0",
    "w Status 0x1",
  ]);
  assertEquals([bus.devices.length, scripted.leases], [0, 0]);
  await assertRejects(() => bus.removeDevice(device), TypeError, "virtio0");
});

Deno.test("bus resets a device that its driver left running, and says so", async () => {
  const { bus, scripted, transport, dma } = board();
  await bus.registerDriver(recorder({ queues: [{ name: "q" }], remove: () => {} }).driver);
  const device = await bus.addDevice(transport);
  const error = await assertRejects(() => bus.removeDevice(device), VireoError);
  assertEquals([error.code, error.device, error.register, error.seen, error.expected], [
    "DEVICE_STATE",
    "virtio0",
    "Status",
    0xf,
    0,
  ]);
  assertEquals([scripted.status, dma.live, bus.devices.length], [1, 0, 0]);
});

Deno.test("bus a device that does not reset is not registered", async () => {
  const { bus, scripted, transport } = board({ reads: { Status: 0x40 } });
  await assertRejects(
    () => hurried(() => bus.addDevice(transport)),
    VireoError,
    "Timed out after 1000 ms waiting for the device to reset (virtio-mmio@a000000, register Status): saw 0x40, expected 0x0",
  );
  assertEquals([bus.devices.length, scripted.leases], [0, 0]);
  assertEquals(scripted.log.at(-1), "w Status 0xc0");
  // Its index is free.
  const { transport: other } = board();
  assertEquals((await bus.addDevice(other)).name, "virtio0");
});

Deno.test("bus reports a device that does not reset when it is removed", async () => {
  let stuck = false;
  const { bus, transport } = board({ reads: { Status: (honest) => stuck ? 0x40 : honest } });
  await bus.registerDriver(recorder({ queues: [{ name: "requests" }] }).driver);
  const device = await bus.addDevice(transport);
  stuck = true;
  const { errors } = await assertRejects(
    () => hurried(() => bus.removeDevice(device)),
    AggregateError,
    "Cannot remove virtio0",
  );
  assertEquals(errors.map(({ code }) => code), ["RESET_TIMEOUT", "RESET_TIMEOUT"]);
  assertEquals(bus.devices, []);
});

Deno.test("bus addPlatform passes over empty slots and keeps the errors of bad ones", async () => {
  const slots: MmioNode[] = [
    new ScriptedDevice({ name: "a", deviceId: 0 }),
    new ScriptedDevice({ name: "b", reads: { MagicValue: 0 } }),
    new ScriptedDevice({ name: "c" }),
    new ScriptedDevice({ name: "d", version: 9 }),
    new ScriptedDevice({ name: "e" }),
  ];
  await using bus = new Bus();
  const { dma } = board();
  const found = await bus.addPlatform({ dma, nodes: () => slots });
  assertEquals(found.map(({ name, transport }) => [name, transport.name]), [
    ["virtio0", "c"],
    ["virtio1", "e"],
  ]);
  assertEquals(bus.slotErrors.map(({ slot, error }) => [slot, (error as VireoError).code]), [
    ["b", "BAD_MAGIC"],
    ["d", "BAD_VERSION"],
  ]);
});

Deno.test("bus does not interleave probe, remove and bind of a device", async () => {
  const { bus, transport } = board();
  await using _ = bus;
  const log: string[] = [];
  const { driver } = recorder({
    async probe() {
      log.push("probe");
      await Promise.resolve();
      log.push("probed");
    },
    async remove(device) {
      log.push("remove");
      await device.reset();
      device.deleteQueues();
      log.push("removed");
    },
  });
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  await Promise.all([bus.unbind(device), bus.bind(device), bus.unbind(device), bus.bind(device)]);
  assertEquals(log.length, 10);
  for (let i = 0; i < log.length; i += 2) assertEquals(log[i + 1]!.startsWith(log[i]!), true);
});

Deno.test("bus refuses queue sizes that no ring can have", () => {
  for (const queueSize of [0, -1, 1.5, 32769, NaN]) {
    assertThrows(() => new Bus({ queueSize }), RangeError, "1 to 32768");
  }
  for (const queueSize of [1, 32768]) assertEquals(new Bus({ queueSize }).devices, []);
});

Deno.test("device.has refuses a bit that the driver does not list", async () => {
  const { bus, transport } = board({ features: FeatureSet.of(5, 6, 32) });
  await using _ = bus;
  await bus.registerDriver(recorder({ features: FeatureSet.of(5) }).driver);
  const device = await bus.addDevice(transport);
  assertEquals([device.has(5), device.has(32), device.has(28)], [true, true, false]);
  for (const bit of [6, 23, 44]) {
    assertThrows(() => device.has(bit), TypeError, `bit ${bit}`);
  }
  for (const bit of [24, 43]) assertEquals(device.has(bit), false);
});
