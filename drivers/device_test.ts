import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { board, recorder, settle, use } from "./bus/bus_test_util.ts";
import type { QueueRequest, VirtioDevice } from "./device.ts";
import { SgList, type Virtqueue } from "./virtqueue/virtqueue.ts";

const chain = new SgList(1).addWritable(0x1000, 16);

Deno.test("device finds queues: index by entry, name, size bounds", async () => {
  const { bus, transport, scripted } = board({ queues: [256, 100, 8, 4] }, { queueSize: 128 });
  await using _ = bus;
  const queues = [
    { name: "a" },
    { name: "b" },
    { name: "c", maxSize: 6 },
    { name: "d", index: 3, maxSize: 1000 },
  ];
  await bus.registerDriver(recorder({ queues }).driver);
  const device = await bus.addDevice(transport);
  assertEquals(device.queues.map(({ index, name, size }) => [index, name, size]), [
    [0, "a", 128],
    [1, "b", 64],
    [2, "c", 4],
    [3, "d", 4],
  ]);
  assertEquals(scripted.queues.map(({ size, ready }) => [size, ready]), [
    [128, 1],
    [64, 1],
    [4, 1],
    [4, 1],
  ]);
  assertThrows(() => device.findQueues([]), TypeError, "again");
});

Deno.test("device finds all queues or none", async () => {
  const { bus, transport, scripted, dma } = board({ queues: [8, 8, 0] });
  await using _ = bus;
  const queues = [{ name: "a" }, { name: "b" }, { name: "c" }];
  await bus.registerDriver(recorder({ queues }).driver);
  const { error } = await bus.addDevice(transport);
  assert(error instanceof VireoError);
  assertEquals([error.code, error.device, error.register, error.queue, error.seen], [
    "QUEUE_UNAVAILABLE",
    "virtio0",
    "QueueSizeMax",
    2,
    0,
  ]);
  assertEquals(scripted.queues.map(({ ready }) => ready), [0, 0, 0]);
  assertEquals(dma.live, 0);
});

Deno.test("device a queue that is in use fails the probe", async () => {
  const { bus, transport, dma } = board({ reads: { QueueReady: 1 } });
  await using _ = bus;
  await bus.registerDriver(recorder({ queues: [{ name: "a" }] }).driver);
  const { error } = await bus.addDevice(transport);
  assertEquals((error as VireoError).code, "QUEUE_IN_USE");
  assertEquals(dma.live, 0);
});

Deno.test("device halves a ring that does not fit into memory, and gives up at size 1", async () => {
  for (const [limit, size] of [[1000, 32], [10, undefined]] as const) {
    const { bus, transport, dma } = board({ queues: [1024] });
    await using _ = bus;
    dma.limit = limit;
    await bus.registerDriver(recorder({ queues: [{ name: "a" }] }).driver);
    const device = await bus.addDevice(transport);
    assertEquals(device.queues[0]?.size, size);
    assertEquals(
      (device.error as VireoError | undefined)?.code,
      size ? undefined : "OUT_OF_MEMORY",
    );
  }
});

Deno.test("device sends no notification before DRIVER_OK, and the held one after (drv.basic.init.6)", async () => {
  const { bus, transport, scripted } = board();
  await using _ = bus;
  const { driver } = recorder({
    queues: [{ name: "a" }],
    probe(device) {
      device.queues[0]!.add(chain, 1);
      device.queues[0]!.kick();
    },
  });
  await bus.registerDriver(driver);
  const device = await bus.addDevice(transport);
  const log = scripted.takeLog();
  assertEquals(log.indexOf("w QueueNotify 0x0"), log.indexOf("w Status 0xf") + 1);
  device.queues[0]!.add(chain, 2);
  device.queues[0]!.kick();
  assertEquals(scripted.takeLog(), ["w QueueNotify 0x0"]);
});

Deno.test("device gives NOTIFICATION_DATA to the transport", async () => {
  const { bus, transport, scripted } = board({ features: FeatureSet.of(32, 38) });
  await using _ = bus;
  await bus.registerDriver(recorder({ queues: [{ name: "a" }] }).driver);
  const { queues } = await bus.addDevice(transport);
  scripted.takeLog();
  queues[0]!.add(chain, 1);
  queues[0]!.add(chain, 2);
  queues[0]!.kick();
  assertEquals(scripted.takeLog(), ["w QueueNotify 0x20000"]);
});

/** A board with one driver and two queues whose callbacks are counted. */
async function twoQueues(callback?: (queue: Virtqueue) => void) {
  const seen: number[] = [];
  const take = callback ?? ((queue: Virtqueue): void => {
    while (queue.pop() >= 0) seen.push(queue.index);
  });
  const queues: QueueRequest[] = [{ name: "a", callback: take }, { name: "b", callback: take }];
  const made = board({ queues: [8, 8] });
  const recorded = recorder({ queues });
  await made.bus.registerDriver(recorded.driver);
  const device = await made.bus.addDevice(made.transport);
  made.scripted.takeLog();
  return { ...made, ...recorded, device, seen };
}

Deno.test("device calls back every queue that has used buffers (drv.mmio.notify.2)", async () => {
  const { bus, scripted, dma, device, seen } = await twoQueues();
  await using _ = bus;
  for (const queue of device.queues) queue.add(chain, 0);
  scripted.raise(1);
  await settle();
  assertEquals(seen, []);
  use(dma, scripted, device.queues[1]!, 0);
  scripted.raise(1);
  await settle();
  assertEquals(seen, [1]);
  use(dma, scripted, device.queues[0]!, 0);
  scripted.raise(1);
  await settle();
  assertEquals(seen, [1, 0]);
  assertEquals(scripted.takeLog().slice(0, 2), ["r InterruptStatus 0x1", "w InterruptACK 0x1"]);
});

Deno.test("device survives spurious interrupts and causes that are not defined", async () => {
  const { bus, scripted, dma, device, seen, reports } = await twoQueues();
  await using _ = bus;
  device.queues[0]!.add(chain, 0);
  use(dma, scripted, device.queues[0]!, 0);
  scripted.wake();
  await settle();
  // The line was not active: not this device's interrupt.
  assertEquals(seen, []);
  scripted.raise(1);
  await settle();
  assertEquals([seen, reports], [[0], []]);
});

Deno.test("device callback that throws breaks its queue only", async () => {
  let poison = true;
  const { bus, scripted, dma, device, errors } = await twoQueues((queue) => {
    if (queue.index === 0 && poison) throw new Error("bug");
    while (queue.pop() >= 0);
  });
  await using _ = bus;
  for (const queue of device.queues) {
    queue.add(chain, 0);
    use(dma, scripted, queue, 0);
  }
  scripted.raise(1);
  await settle();
  poison = false;
  const { broken } = device.queues[0]!;
  assertEquals([broken?.code, broken?.device, broken?.queue, (broken?.cause as Error).message], [
    "QUEUE_BROKEN",
    "virtio0",
    0,
    "bug",
  ]);
  assertEquals([device.queues[1]!.broken, device.queues[1]!.inFlight], [undefined, 0]);
  assertEquals<(Error | undefined)[]>(errors, [broken]);
});

Deno.test("device tells the driver of a queue that the device broke, once", async () => {
  const { bus, scripted, dma, device, errors } = await twoQueues();
  await using _ = bus;
  device.queues[0]!.add(chain, 0);
  use(dma, scripted, device.queues[0]!, 5);
  scripted.raise(1);
  await settle();
  scripted.raise(1);
  await settle();
  assertEquals(errors.map((error) => (error as VireoError).code), ["USED_ID_NOT_IN_FLIGHT"]);
});

Deno.test("device an interrupt storm leaves the event loop free", async () => {
  const made = board({ reads: { InterruptStatus: 0xf1 } });
  await using _ = made.bus;
  await made.bus.registerDriver(recorder({ queues: [{ name: "a", callback() {} }] }).driver);
  await made.bus.addDevice(made.transport);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  const served = made.scripted.log.filter((line) => line.startsWith("r InterruptStatus")).length;
  assert(served >= 64 && served < 200, `served ${served}`);
});

Deno.test("device removal with requests in flight tells why and frees everything", async () => {
  const { bus, device, dma, errors, calls, scripted } = await twoQueues();
  const [a] = device.queues;
  a!.add(chain, 3);
  await bus.removeDevice(device);
  assertEquals(calls, ["probe", "scan", "remove", "failed"]);
  const error = errors[0] as VireoError;
  assertEquals([error.code, error.device], ["DEVICE_REMOVED", "virtio0"]);
  assertEquals(a!.broken, error);
  assertEquals([a!.pop(), a!.hasUsed()], [-1, false]);
  assertThrows(() => a!.add(chain, 1), VireoError, "broken");
  assertEquals([dma.live, scripted.leases], [0, 0]);
});

Deno.test("device keeps the memory of a queue that the device does not let go", async () => {
  let stuck = false;
  const { bus, transport, dma } = board({
    reads: { QueueReady: (honest) => stuck ? 1 : honest },
  });
  await bus.registerDriver(recorder({ queues: [{ name: "a" }] }).driver);
  const device = await bus.addDevice(transport);
  stuck = true;
  const error = await assertRejects(() => bus.removeDevice(device), VireoError);
  assertEquals([error.code, error.queue], ["QUEUE_IN_USE", 0]);
  assertEquals(dma.live, 1);
});

Deno.test("device resets one queue and sets it up again (drv.basic.vq-reset.1, .vq-reenable.1)", async () => {
  const { bus, transport, scripted } = board({ features: FeatureSet.of(32, 40), queues: [8, 8] });
  await using _ = bus;
  await bus.registerDriver(recorder({ queues: [{ name: "a" }, { name: "b" }] }).driver);
  const device = await bus.addDevice(transport);
  const old = device.queues[1]!;
  old.add(chain, 11);
  old.add(chain, 12);
  scripted.takeLog();
  assertEquals(await device.resetQueue(old), [11, 12]);
  assertEquals(
    scripted.log.map((line) => line.split(" ")[1]).filter((name) => name !== "QueueSel"),
    [
      "QueueReset",
      "QueueReset",
      "QueueReady",
      "QueueReady",
      "QueueSizeMax",
      "QueueSize",
      "QueueDescLow",
      "QueueDescHigh",
      "QueueDriverLow",
      "QueueDriverHigh",
      "QueueDeviceLow",
      "QueueDeviceHigh",
      "QueueReady",
    ],
  );
  assertEquals(old.broken?.code, "DEVICE_STATE");
  const fresh = device.queues[1]!;
  assertEquals([fresh.name, fresh.inFlight, fresh.broken], ["b", 0, undefined]);
  assert(fresh.add(chain, 1));
  await assertRejects(() => device.resetQueue(old), TypeError, "it must be one of this device");
});

Deno.test("device starts a queue while others run if it can reset one (drv.basic.vq-reenable.1)", async () => {
  const { bus, transport, scripted, dma } = board({
    features: FeatureSet.of(32, 40),
    queues: [8, 8, 0],
  });
  await using _ = bus;
  const queues = [{ name: "a" }, { name: "b", later: true }, { name: "c", later: true }];
  await bus.registerDriver(recorder({ queues }).driver);
  const device = await bus.addDevice(transport);
  assertEquals(device.queues.map(({ name }) => name), ["a"]);
  assert(!scripted.takeLog().includes("w QueueSel 0x1"), "an unused queue costs no access");
  const memory = dma.live;
  const absent = assertThrows(() => device.openQueues([1, 2]), VireoError, "queue 'c'");
  assertEquals([absent.code, dma.live], ["QUEUE_UNAVAILABLE", memory]);
  assertEquals(device.queues.length, 1, "all queues or none");
  scripted.takeLog();
  const [b, a] = device.openQueues([1, 0]);
  assertEquals([b?.name, a, device.queues[1]], ["b", device.queues[0], b]);
  assertEquals(scripted.takeLog().at(-1), "w QueueReady 0x1");
  assertEquals(device.openQueues([1]), [b!]);
  assertEquals(scripted.takeLog(), []);
  b!.add(chain, 7);
  b!.kick();
  assertEquals(scripted.takeLog(), ["w QueueNotify 0x1"]);
  assertThrows(() => device.openQueues([3]), TypeError, "findQueues() must request it");
});

Deno.test("device has all queues before DRIVER_OK if it cannot reset one (drv.basic.init.1)", async () => {
  const { bus, transport, scripted } = board({ queues: [8, 8] });
  await using _ = bus;
  const queues = [{ name: "a" }, { name: "b", later: true }];
  await bus.registerDriver(recorder({ queues }).driver);
  const device = await bus.addDevice(transport);
  assertEquals(device.queues.map(({ name }) => name), ["a", "b"]);
  scripted.takeLog();
  assertEquals(device.openQueues([1]), [device.queues[1]!]);
  assertEquals(scripted.takeLog(), []);
});

Deno.test("device cannot reset one queue without RING_RESET", async () => {
  const { bus, transport } = board();
  await using _ = bus;
  await bus.registerDriver(recorder({ queues: [{ name: "a" }] }).driver);
  const device = await bus.addDevice(transport);
  const error = await assertRejects(() => device.resetQueue(device.queues[0]!), VireoError);
  assertEquals([error.code, error.device, error.queue], ["QUEUE_RESET_UNSUPPORTED", "virtio0", 0]);
  assertEquals(device.queues[0]!.broken, undefined);
});

Deno.test("device config changes wait for scan and for the driver's gate, and come once", async () => {
  const made = board();
  await using _ = made.bus;
  const held: VirtioDevice[] = [];
  const { driver, calls } = recorder({
    queues: [{ name: "a" }],
    async probe(device, calls) {
      held.push(device);
      made.scripted.changeConfig(0, 1);
      made.scripted.changeConfig(0, 2);
      await settle();
      calls.push("probed");
    },
  });
  await made.bus.registerDriver(driver);
  const device = await made.bus.addDevice(made.transport);
  assertEquals(calls, ["probe", "probed", "scan", "configChanged"]);
  device.disableConfigChanges();
  made.scripted.changeConfig(0, 3);
  await settle();
  made.scripted.changeConfig(0, 4);
  await settle();
  assertEquals(calls.length, 4);
  device.enableConfigChanges();
  assertEquals(calls.slice(4), ["configChanged"]);
  device.enableConfigChanges();
  assertEquals(calls.length, 5);
});

Deno.test("device config change that throws is reported and does not end the delivery", async () => {
  const made = board();
  await using _ = made.bus;
  const { driver, calls } = recorder({
    configChanged() {
      throw new Error("bug");
    },
  });
  await made.bus.registerDriver(driver);
  await made.bus.addDevice(made.transport);
  for (let i = 1; i <= 2; i++) {
    made.scripted.changeConfig(0, i);
    await settle();
  }
  assertEquals(calls.filter((call) => call === "configChanged").length, 2);
  assertEquals(made.reports.map(({ message }) => message), ["bug", "bug"]);
});

Deno.test("device polls its queues where there are no interrupts", async () => {
  const { bus, transport, scripted, dma } = board();
  await using _ = bus;
  const seen: number[] = [];
  let ready: (() => boolean) | undefined;
  let wake: () => void = () => {};
  const polled = Object.create(transport, {
    interrupt: {
      value: {
        polled: true,
        wait: (options: { signal: AbortSignal; ready: () => boolean }) => {
          ready = options.ready;
          return new Promise<void>((resolve, reject) => {
            wake = resolve;
            options.signal.addEventListener("abort", () => reject(options.signal.reason));
          });
        },
      },
    },
  });
  for (const name of ["takeInterruptCause", "peekInterruptCause"] as const) {
    polled[name] = () => transport[name]();
  }
  for (
    const name of [
      "readFeatures",
      "writeFeatures",
      "readStatus",
      "writeStatus",
      "reset",
      "queueMaxSize",
      "enableQueue",
      "disableQueue",
      "notify",
      "isPresent",
    ] as const
  ) {
    // deno-lint-ignore ban-types
    polled[name] = (transport[name] as Function).bind(transport);
  }
  polled[Symbol.dispose] = () => transport[Symbol.dispose]();
  const callback = (queue: Virtqueue): void => {
    for (let token = queue.pop(); token >= 0; token = queue.pop()) seen.push(token);
  };
  await bus.registerDriver(recorder({ queues: [{ name: "a", callback }] }).driver);
  const device = await bus.addDevice(polled);
  await settle();
  assertEquals(ready?.(), false);
  device.queues[0]!.add(chain, 9);
  // As an interrupt would not come.
  device.queues[0]!.disableCallbacks();
  use(dma, scripted, device.queues[0]!, 0);
  assertEquals(ready?.(), false);
  assertEquals(device.queues[0]!.enableCallbacks(), false);
  assertEquals(ready?.(), true);
  // No cause bit is set; the queue is looked at all the same.
  wake();
  await settle();
  assertEquals(seen, [9]);
});

Deno.test("device tells the driver when interrupts cannot be delivered any more", async () => {
  const made = await twoQueues();
  await using _ = made.bus;
  let dead = false;
  Object.defineProperty(made.transport, "takeInterruptCause", {
    value() {
      dead = true;
      throw new Error("socket closed");
    },
  });
  made.scripted.raise(1);
  await settle();
  assert(dead);
  assertEquals((made.errors[0] as VireoError).code, "HOST_ERROR");
  assertEquals(made.device.queues.map(({ broken }) => broken?.code), ["HOST_ERROR", "HOST_ERROR"]);
  assertEquals(made.reports.length, 1);
});
