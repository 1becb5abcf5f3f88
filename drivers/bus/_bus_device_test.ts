import { assert, assertEquals, assertThrows } from "@std/assert";
import { Feature, FeatureSet, type MemoryWindow, VireoError } from "@vireo/hal";
import { board, type Hooks, recorder, settle, use } from "./bus_test_util.ts";
import type { DeviceScript } from "../testing/scripted_device.ts";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import { SgList } from "../virtqueue/virtqueue.ts";

const chain = new SgList(1).addWritable(0x1000, 16);

/** A device that a driver of these hooks was bound to, or failed on. */
async function bound(hooks: Hooks = {}, script: DeviceScript = {}) {
  const made = board({ queues: [8, 8, 8], ...script });
  const recorded = recorder(hooks);
  await made.bus.registerDriver(recorded.driver);
  const device = await made.bus.addDevice(made.transport);
  return { ...made, ...recorded, device };
}

const names = (device: VirtioDevice): string[] => device.queues.map(({ name }) => name);

Deno.test("device: a queue that comes later is set up when it is opened, if a queue can start alone", async () => {
  const queues: QueueRequest[] = [{ name: "now" }, { name: "later", later: true }];
  for (const [bits, first] of [[[], ["now", "later"]], [[Feature.RING_RESET], ["now"]]] as const) {
    const { bus, scripted, device } = await bound({ queues }, {
      features: FeatureSet.of(Feature.VERSION_1, ...bits),
    });
    await using _ = bus;
    assertEquals(names(device), [...first]);
    const opened = device.openQueues([1, 0]);
    assertEquals(opened.map(({ name }) => name), ["later", "now"]);
    assertEquals(scripted.queues.map(({ ready }) => ready), [1, 1, 0]);
    // What is open already is left alone.
    scripted.takeLog();
    assert(device.openQueues([1])[0] === opened[0]);
    assertEquals([scripted.takeLog(), names(device)], [[], ["now", "later"]]);
    assertThrows(() => device.openQueues([2]), TypeError, "Cannot open queue 2 of virtio0");
    await device.reset();
    device.deleteQueues();
    assertThrows(() => device.openQueues([1]), TypeError, "findQueues() must request it");
  }
});

Deno.test("device: queues that come later are those of the last request alone, also after a reset", async () => {
  const later: Error[] = [];
  const open = (device: VirtioDevice): unknown =>
    later.push(
      assertThrows(() => device.openQueues([1]), TypeError),
    );
  const { bus, device } = await bound({
    probe(device) {
      device.findQueues([{ name: "never", index: 1, later: true }]);
      device.findQueues([{ name: "now" }]);
      open(device);
      device.deleteQueues();
      device.findQueues([{ name: "now" }, { name: "later", later: true }]);
    },
    restore: (device) => void open(device),
  }, { features: FeatureSet.of(Feature.VERSION_1, Feature.RING_RESET) });
  await using _ = bus;
  assertEquals(device.error, undefined);
  await bus.recover(device);
  assertEquals([later.length, device.queues], [2, []]);
});

Deno.test("device: of queues that cannot all be set up the device has none", async () => {
  const { bus, scripted, device, dma } = await bound(
    { queues: [{ name: "first" }, { name: "second" }] },
    { queues: [8] },
  );
  await using _ = bus;
  const error = device.error as VireoError;
  assertEquals([error.code, error.queue], ["QUEUE_UNAVAILABLE", 1]);
  assertEquals([scripted.queues[0]!.ready, dma.live], [0, 0]);
});

Deno.test("device: a kick before DRIVER_OK is a notification after it, once", async () => {
  const { bus, scripted } = await bound({
    queues: [{ name: "kicked" }, { name: "idle" }, { name: "kicked as well" }],
    probe({ queues }) {
      for (const at of [0, 2]) {
        queues[at]!.add(chain, 0);
        queues[at]!.kick();
      }
    },
  });
  await using _ = bus;
  const told = scripted.log.filter((line) => / Status 0xf|Notify/.test(line) && line[0] === "w");
  assertEquals(told, ["w Status 0xf", "w QueueNotify 0x0", "w QueueNotify 0x2"]);
});

Deno.test("device: a queue may forgo indirect tables, which cost memory", async () => {
  for (const [indirect, regions] of [[undefined, 2], [true, 2], [false, 1]] as const) {
    const { bus, dma } = await bound({
      queues: [{ name: "q", ...indirect === undefined ? {} : { indirect } }],
    }, { features: FeatureSet.of(Feature.VERSION_1, Feature.INDIRECT_DESC) });
    await using _ = bus;
    assertEquals(dma.live, regions);
  }
});

Deno.test("device: a broken queue is told to the driver, or else to the bus, once", async () => {
  for (const deaf of [false, true]) {
    for (const threw of [false, true]) {
      const { bus, scripted, dma, device, errors, reports } = await bound({
        queues: [{
          name: "q",
          callback(queue) {
            if (threw) throw new Error("mistake");
            queue.pop();
          },
        }],
      });
      await using _ = bus;
      const [queue] = device.queues;
      if (deaf) Object.assign(device.instance!, { failed: undefined });
      queue!.add(chain, 0);
      // An id that is not in flight.
      use(dma, scripted, queue!, threw ? 0 : 5);
      for (let i = 0; i < 2; i++) {
        scripted.raise(1);
        await settle();
      }
      const { broken } = queue!;
      assertEquals(broken?.code, threw ? "QUEUE_BROKEN" : "USED_ID_NOT_IN_FLIGHT");
      assertEquals([errors, reports], [
        deaf ? [] : [broken!],
        // The driver's author sees a mistake in its code in any case.
        deaf || threw ? [broken!] : [],
      ]);
    }
  }
});

Deno.test("device: a driver that breaks its own device in probe is no news to the bus", async () => {
  const reason = new VireoError("DEVICE_STATE", "As the test wants");
  const made = board();
  await using bus = made.bus;
  const { driver } = recorder({ queues: [{ name: "q" }], probe: (device) => device.break(reason) });
  await bus.registerDriver({
    ...driver,
    probe: async (device) => Object.assign(await driver.probe(device), { failed: undefined }),
  });
  const device = await bus.addDevice(made.transport);
  assertEquals([device.queues[0]!.broken, made.reports], [reason, []]);
});

Deno.test("device: interrupts are delivered from findQueues to deleteQueues", async () => {
  const seen: unknown[] = [];
  const made = board();
  await using bus = made.bus;
  await bus.registerDriver(
    recorder({
      queues: [{ name: "q" }],
      async probe(device) {
        made.scripted.needReset();
        await settle();
        seen.push(device.queues[0]!.broken?.code);
        await device.reset();
        device.deleteQueues();
        made.scripted.takeLog();
        made.scripted.raise(2);
        await settle();
        seen.push(made.scripted.takeLog());
      },
    }).driver,
  );
  await bus.addDevice(made.transport);
  assertEquals(seen, ["DEVICE_NEEDS_RESET", []]);
});

Deno.test("device: the reset of a queue gives back all tokens, and is no failure to the driver", async () => {
  const { bus, scripted, device, calls } = await bound({
    queues: [{ name: "first", callback() {} }, { name: "second", callback() {} }],
  }, {
    features: FeatureSet.of(Feature.VERSION_1, Feature.RING_RESET),
    reads: { QueueReset: [...Array<number>(20).fill(1), 0] },
  });
  await using _ = bus;
  const [first, second] = device.queues;
  for (const token of [0, 5]) first!.add(chain, token);
  calls.length = 0;
  const reset = device.resetQueue(first!);
  scripted.raise(1);
  await settle();
  assertEquals([...await reset].sort(), [0, 5]);
  assertEquals([calls, names(device)], [[], ["first", "second"]]);
  assertEquals([device.queues[0] === first, device.queues[1] === second], [false, true]);
  assertEquals(device.queues[0]!.add(chain, 0), true);
});

Deno.test("device: shared memory is opened by its machine, where it was added with one", async () => {
  const reads = { SHMLenLow: 0x1000, SHMLenHigh: 0, SHMBaseLow: 0x2000, SHMBaseHigh: 1 };
  const made = board({ reads });
  await using bus = made.bus;
  const window = {} as MemoryWindow;
  const opened: number[][] = [];
  const device = await bus.addDevice(made.transport, (...args) => (opened.push(args), window));
  assert(device.openSharedMemory(0) === window);
  assertEquals(opened, [[0x1_0000_2000, 0x1000]]);
  const alone = board({ reads });
  await using _ = alone.bus;
  const other = await alone.bus.addDevice(alone.transport);
  const error = assertThrows(() => other.openSharedMemory(0), VireoError);
  assertEquals([error.code, error.seen], ["BAD_ACCESS", 0x1_0000_2000]);
});

Deno.test("device: a reset ends a suspend, and what came during it is not told after the next", async () => {
  const SUSPEND = 1 << 4;
  const { bus, scripted, device, calls } = await bound({ configChanged() {} }, {
    features: FeatureSet.of(Feature.VERSION_1, Feature.SUSPEND),
    writes: {
      Status(value) {
        // As a device that does so at once: it has one of SUSPEND and DRIVER_OK.
        if ((value & SUSPEND) === 0) return true;
        scripted.status = (scripted.status & SUSPEND) === 0 ? value & ~4 : value & ~SUSPEND;
        return false;
      },
    },
  });
  await using _ = bus;
  await bus.suspend(device);
  scripted.changeConfig(0, 1);
  await settle();
  assertEquals([device.suspended, calls], [true, ["probe", "scan"]]);
  await bus.recover(device);
  assertEquals([device.suspended, device.config.read8(0)], [false, 1]);
  await settle();
  calls.length = 0;
  await bus.suspend(device);
  await bus.resume(device);
  await settle();
  assertEquals([device.suspended, calls], [false, []]);
});
