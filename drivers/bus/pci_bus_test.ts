// PCI devices on the bus: discovery, dispatch of several interrupts, removal while in use.
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { type DeviceNode, FeatureSet, type PciNode, VireoError } from "@vireo/hal";
import type { BusDevice } from "./_bus_device.ts";
import { LimitedDma, recorder, settle } from "./bus_test_util.ts";
import { Bus, type BusOptions } from "./bus.ts";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import { ScriptedDevice } from "../testing/scripted_device.ts";
import { type PciScript, ScriptedPci } from "../testing/scripted_pci.ts";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";

const chain = new SgList(1).addWritable(0x1000, 16);

/** Plays the device: returns a buffer through the used ring. */
function use(dma: LimitedDma, fn: ScriptedPci, queue: Virtqueue, id: number): void {
  const { addresses } = fn.queues[queue.index]!;
  const at = addresses.get("queue_device")! + addresses.get("queue_device_hi")! * 2 ** 32;
  const bytes = dma.deviceBytes(at, 4 + 8 * queue.size);
  const used = new DataView(bytes.buffer, bytes.byteOffset);
  const index = used.getUint16(2, true);
  used.setUint32(4 + 8 * (index % queue.size), id, true);
  used.setUint16(2, index + 1, true);
}

interface Made {
  readonly bus: Bus;
  readonly fn: ScriptedPci;
  readonly dma: LimitedDma;
  readonly device: VirtioDevice;
  readonly calls: string[];
  readonly errors: Error[];
  readonly seen: string[];
}

/** A driver of three queues, of which the last has no callback, on a scripted function. */
async function make(
  script: PciScript,
  options: BusOptions = {},
  requests: readonly QueueRequest[] = [{ name: "a" }, { name: "b" }],
): Promise<Made> {
  const fn = new ScriptedPci({ queues: [8, 8, 8], ...script });
  const dma = new LimitedDma();
  const bus = new Bus(options);
  const seen: string[] = [];
  const callback = (queue: Virtqueue): void => {
    for (let token = queue.pop(); token >= 0; token = queue.pop()) {
      seen.push(`${queue.name}${token}`);
    }
  };
  const queues = [...requests.map((request) => ({ ...request, callback })), { name: "c" }];
  const { driver, calls, errors } = recorder({ queues });
  await bus.registerDriver(driver);
  const [device] = await bus.addPlatform({ dma, nodes: () => [fn] });
  assert(device !== undefined, String(bus.slotErrors[0]?.error));
  await settle();
  return { bus, fn, dma, device, calls, errors, seen };
}

Deno.test("bus drives PCI functions that are virtio's, and passes over others", async () => {
  const other: PciNode = {
    kind: "pci",
    name: "0000:00:00.0",
    address: { segment: 0, bus: 0, device: 0, function: 0 },
    vendor: 0x8086,
    device: 0x29c0,
    open: () => {
      throw new Error("Not expected");
    },
  };
  const nodes: DeviceNode[] = [
    other,
    new ScriptedPci({ device: 0x1040 + 4 }),
    new ScriptedPci({ capabilities: [] }),
    // Linux's table has ids up to 0x10ff, and its probe refuses those above 0x107f.
    new ScriptedPci({ device: 0x1080 }),
    new ScriptedPci({ device: 0x1100 }),
    new ScriptedDevice({ deviceId: 0 }),
    new ScriptedDevice(),
  ];
  await using bus = new Bus();
  const found = await bus.addPlatform({ dma: new LimitedDma(), nodes: () => nodes });
  assertEquals(found.map(({ deviceId, transport }) => [deviceId, transport.kind]), [
    [4, "pci-modern"],
    [42, "mmio-2"],
  ]);
  const errors = bus.slotErrors.map(({ slot, error }) => [slot, (error as VireoError).code]);
  assertEquals(errors, [["0000:00:03.0", "NO_DEVICE"], ["0000:00:03.0", "NO_DEVICE"]]);
});

Deno.test("bus forces legacy where it is asked to", async () => {
  for (const forceLegacy of [false, true]) {
    await using made = new AsyncDisposableStack();
    const { bus, device } = await make({ device: 0x1000 }, { forceLegacy });
    made.use(bus);
    assertEquals(device.transport.kind, forceLegacy ? "pci-legacy" : "pci-modern");
  }
});

Deno.test("bus serves each queue by its own message, without a read of the ISR (drv.pci.isr.1)", async () => {
  const { bus, fn, dma, device, seen, calls } = await make({ vectors: 4, messages: 4 });
  await using _ = bus;
  assertEquals(device.transport.route?.policy, "msix-per-queue");
  const [a, b, c] = device.queues;
  assertEquals(fn.queues.map(({ vector, enabled }) => [vector, enabled]), [
    [1, 1],
    [2, 1],
    [0xffff, 1],
  ]);
  for (const queue of [a!, b!, c!]) queue.add(chain, 5);
  fn.takeLog();
  for (const queue of [a!, b!, c!]) use(dma, fn, queue, 0);
  fn.raiseQueue(1);
  await settle();
  assertEquals(seen, ["b5"]);
  fn.raiseQueue(0);
  await settle();
  assertEquals(seen, ["b5", "a5"]);
  assertEquals(fn.takeLog(), []);
  fn.raiseConfig();
  await settle();
  assertEquals(calls.filter((call) => call === "configChanged").length, 1);
  assertEquals(fn.takeLog(), ["r common.device_status:1 0xf"]);
});

Deno.test("bus serves a message that came while another was served", async () => {
  const { bus, fn, dma, device, seen } = await make({ vectors: 2, messages: 2 });
  await using _ = bus;
  assertEquals(device.transport.route?.policy, "msix-shared");
  const [a, b] = device.queues;
  a!.add(chain, 1);
  b!.add(chain, 2);
  use(dma, fn, b!, 0);
  fn.raiseQueue(1);
  use(dma, fn, a!, 0);
  fn.raiseQueue(0);
  await settle();
  assertEquals(seen.sort(), ["a1", "b2"]);
});

Deno.test("bus serves INTx: the ISR is read, and all queues are looked at", async () => {
  const { bus, fn, dma, device, seen, calls } = await make({});
  await using _ = bus;
  assertEquals(device.transport.route?.policy, "line");
  for (const queue of device.queues) queue.add(chain, 7);
  fn.takeLog();
  use(dma, fn, device.queues[1]!, 0);
  fn.raiseQueue(1);
  await settle();
  assertEquals(seen, ["b7"]);
  assertEquals(fn.takeLog(), ["r isr:1 0x1"]);
  fn.raiseConfig();
  await settle();
  assertEquals(calls.at(-1), "configChanged");
  // Another function on the same line: not ours.
  fn.takeLog();
  fn.wake();
  await settle();
  assertEquals(fn.takeLog(), ["r isr:1 0x0"]);
});

Deno.test("bus serves one interrupt that means both a change and used buffers (drv.pci.config-change.1)", async () => {
  const line = await make({});
  await using _ = line.bus;
  line.device.queues[0]!.add(chain, 1);
  use(line.dma, line.fn, line.device.queues[0]!, 0);
  line.fn.isr = 2;
  line.fn.raiseQueue(0);
  await settle();
  assertEquals([line.seen, line.calls.at(-1)], [["a1"], "configChanged"]);

  const requests = [{ name: "a" }, { name: "control", slowPath: true }];
  const shared = await make({ vectors: 2, messages: 2 }, {}, requests);
  await using __ = shared.bus;
  assertEquals(shared.device.transport.route?.policy, "msix-slow-shared");
  assertEquals(shared.fn.queues.map(({ vector }) => vector), [1, 0, 0xffff]);
  for (const queue of shared.device.queues) queue.add(chain, 2);
  use(shared.dma, shared.fn, shared.device.queues[0]!, 0);
  use(shared.dma, shared.fn, shared.device.queues[1]!, 0);
  shared.fn.raiseConfig();
  await settle();
  assertEquals([shared.seen, shared.calls.at(-1)], [["control2"], "configChanged"]);
});

Deno.test("bus keeps MSI-X through a recovery, decided again", async () => {
  const { bus, fn, dma, device, seen } = await make({ vectors: 4, messages: 4 });
  await using _ = bus;
  fn.status |= 0x40;
  const recovered = device.recovered({ deadline: 5000 });
  fn.raiseConfig();
  assertEquals(await recovered, 1);
  assertEquals([fn.reserved, fn.configVector, fn.msix], [3, 0, true]);
  device.queues[0]!.add(chain, 3);
  use(dma, fn, device.queues[0]!, 0);
  fn.raiseQueue(0);
  await settle();
  assertEquals(seen, ["a3"]);
});

for (const script of [{ vectors: 4, messages: 4 }, {}] as PciScript[]) {
  const how = script.vectors ? "MSI-X" : "INTx";
  Deno.test(`bus: a function that is unplugged while in use breaks its queues, with ${how}`, async () => {
    const reported: Error[] = [];
    const { bus, fn, dma, device, errors, calls } = await make(script, {
      onError: (error) => reported.push(error),
    });
    await using _ = bus;
    device.queues[0]!.add(chain, 0);
    fn.unplug();
    // A last interrupt, whose cause reads all ones; of a message, the status does.
    fn.isr = 1;
    if (script.vectors) fn.raiseConfig();
    else fn.wake();
    await settle();
    assertEquals(device.queues.map(({ broken }) => broken?.code), Array(3).fill("DEVICE_REMOVED"));
    // Another interrupt source of it finds the same.
    (device as BusDevice).lost(reported[0]);
    assertEquals(await bus.removeMissing(), [device]);
    assertEquals((errors[0] as VireoError).code, "DEVICE_REMOVED");
    // However many accesses show it.
    assertEquals(reported.map((error) => (error as VireoError).code), ["DEVICE_REMOVED"]);
    assertEquals(calls.slice(-1), ["remove"]);
    assertEquals([bus.devices.length, fn.leases, dma.live], [0, 0, 0]);
  });
}

Deno.test("bus: devices that are missing are taken off; queues are broken before their drivers go", async () => {
  const { bus, fn, dma, device, errors, calls } = await make({ vectors: 4, messages: 4 });
  await using _ = bus;
  assertEquals(await bus.removeMissing(), []);
  fn.unplug();
  assertEquals(await bus.removeMissing(), [device]);
  assertEquals((errors[0] as VireoError).code, "DEVICE_REMOVED");
  assertEquals(calls.slice(-2), ["failed", "remove"]);
  assertEquals([bus.devices.length, fn.leases, dma.live], [0, 0, 0]);
});

Deno.test("bus: a function that is unplugged cannot be recovered, and that hangs nothing", async () => {
  const { bus, fn, device } = await make({});
  await using _ = bus;
  fn.unplug();
  const error = await assertRejects(() => bus.recover(device), VireoError);
  assertEquals(error.code, "DEVICE_REMOVED");
  await bus.removeDevice(device);
  assertEquals(fn.leases, 0);
});

Deno.test("bus: a legacy PCI queue has the device's size, whatever the bus or the driver want", async () => {
  const queues = [16, 8, 8];
  const legacy = { device: 0x1000, capabilities: [], features: FeatureSet.NONE };
  const small = await make({ queues }, { queueSize: 4 });
  await using _ = small.bus;
  assertEquals(small.device.queues.map(({ size }) => size), [4, 4, 4]);
  const fixed = await make({ ...legacy, queues }, { queueSize: 4 });
  await using __ = fixed.bus;
  assertEquals(fixed.device.queues.map(({ size }) => size), [16, 8, 8]);
});

/** The features that are agreed on a function, with memory of a kind. */
async function agreed(
  offered: readonly number[],
  access?: "translated" | "physical",
): Promise<number[] | string> {
  const fn = new ScriptedPci({ features: FeatureSet.of(...offered) });
  const dma = Object.assign(new LimitedDma(), { access });
  await using bus = new Bus();
  await bus.registerDriver(recorder().driver);
  const device = await bus.addPlatform({ dma, nodes: () => [fn] });
  const error = device[0]!.error as VireoError | undefined;
  return error === undefined ? [...device[0]!.features] : error.code;
}

Deno.test("bus accepts what virtio-pci carries: NOTIF_CONFIG_DATA, RING_RESET; not ORDER_PLATFORM, SR_IOV, ADMIN_VQ", async () => {
  assertEquals(await agreed([32, 36, 37, 39, 40, 41]), [32, 39, 40]);
});

Deno.test("bus accepts ACCESS_PLATFORM as the machine's memory allows (drv.basic.reserved-features.4)", async () => {
  assertEquals(await agreed([32, 33]), [32, 33]);
  assertEquals(await agreed([32, 33], "translated"), [32, 33]);
  assertEquals(await agreed([32, 33], "physical"), [32]);
  assertEquals(await agreed([32], "translated"), "FEATURE_DEPENDENCY");
});

Deno.test("bus resets one queue of a PCI device and gives it its vector back", async () => {
  const script = { vectors: 4, messages: 4, features: FeatureSet.of(32, 40) };
  const { bus, fn, dma, device, seen } = await make(script);
  await using _ = bus;
  device.queues[1]!.add(chain, 6);
  assertEquals(await device.resetQueue(device.queues[1]!), [6]);
  assertEquals([fn.queues[1]!.enabled, fn.queues[1]!.vector], [1, 2]);
  device.queues[1]!.add(chain, 8);
  use(dma, fn, device.queues[1]!, 0);
  fn.raiseQueue(1);
  await settle();
  assertEquals(seen, ["b8"]);
});

Deno.test("bus polls a function whose interrupts the machine does not deliver at all", async () => {
  const { bus, fn, dma, device, seen } = await make({ line: "none" });
  await using _ = bus;
  assertEquals(device.transport.route?.policy, "poll");
  device.queues[0]!.add(chain, 4);
  device.queues[0]!.kick();
  use(dma, fn, device.queues[0]!, 0);
  const signal = AbortSignal.timeout(10_000);
  while (seen.length === 0) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(seen, ["a4"]);
});

Deno.test("bus survives any register of a PCI device: typed errors only, nothing hangs", async () => {
  const registers = [
    "common.device_feature",
    "common.num_queues",
    "common.queue_size",
    "common.queue_enable",
    "common.queue_reset",
    "common.queue_notify_off",
    "common.queue_msix_vector",
    "common.config_msix_vector",
    "common.admin_queue_index",
    "common.admin_queue_num",
    "isr",
    "legacy.device_features",
    "legacy.queue_size",
    "legacy.queue_address",
    "legacy.queue_msix_vector",
    "legacy.isr_status",
  ] as const;
  const value = fc.oneof(
    fc.constantFrom(0, 1, 2, 3, 8, 255, 256, 0xffff, 0xffffffff),
    fc.nat(0xffffffff),
  );
  const script = fc.record({
    device: fc.constantFrom(0x106a, 0x1000),
    capabilities: fc.constantFrom(undefined, []),
    line: fc.constantFrom("interrupt" as const, "polled" as const, "none" as const),
    vectors: fc.constantFrom(0, 2, 4),
    lies: fc.dictionary(fc.constantFrom(...registers), value, { maxKeys: 3 }),
    unplug: fc.boolean(),
  });
  const typed = (error: unknown): void => {
    if (error instanceof AggregateError) error.errors.forEach(typed);
    else if (!(error instanceof VireoError)) throw error;
  };
  let driven = 0;
  await fc.assert(
    fc.asyncProperty(script, async ({ capabilities, lies, unplug, ...rest }) => {
      const reads = Object.fromEntries(
        Object.entries(lies).map(([name, value]) => {
          return [name, () => name.includes("eature") ? value : value & 0xffff];
        }),
      );
      const fn = new ScriptedPci({
        ...rest,
        ...(capabilities && { capabilities }),
        reads,
        queues: [8, 8],
        messages: 4,
      });
      const dma = new LimitedDma();
      const bus = new Bus({ recover: "manual" });
      const callback = (queue: Virtqueue): void => void queue.pop();
      const { driver } = recorder({ queues: [{ name: "a", callback }, { name: "b", callback }] });
      await bus.registerDriver(driver);
      const [device] = await bus.addPlatform({ dma, nodes: () => [fn] });
      bus.slotErrors.forEach(({ error }) => typed(error));
      if (device?.error !== undefined) typed(device.error);
      if (device?.instance !== undefined) driven++;
      for (const queue of device?.queues ?? []) {
        if (queue.broken !== undefined) continue;
        queue.add(chain, 1);
        queue.kick();
      }
      if (unplug) fn.unplug();
      fn.raiseConfig();
      fn.wake();
      await settle();
      await bus[Symbol.asyncDispose]().catch(typed);
      assertEquals([bus.devices.length, fn.leases], [0, 0]);
    }),
    { seed: 42, numRuns: 200, endOnFailure: true },
  );
  assert(driven > 50, `only ${driven} were driven`);
});
