import { assertEquals, assertRejects } from "@std/assert";
import { type MmioNode, VireoError } from "@vireo/hal";
import { board, recorder, settle } from "./bus_test_util.ts";
import { Bus, type BusOptions } from "./bus.ts";
import { TestDma } from "../testing/dma.ts";
import { ScriptedDevice } from "../testing/scripted_device.ts";

/** A machine of some slots, whose devices have drivers unless their id is 9, and its bus. */
async function machine(ids: readonly number[], options: BusOptions = {}) {
  const gone = new Set<string>();
  const slots = ids.map((deviceId, i) => {
    const name = `slot${i}`;
    const reads = { DeviceID: (honest: number) => gone.has(name) ? 0 : honest };
    return new ScriptedDevice({ name, deviceId, reads });
  });
  const reports: Error[] = [];
  const bus = new Bus({ onError: (error) => reports.push(error), ...options });
  const recorded = recorder({ queues: [{ name: "a", callback() {} }] });
  await bus.registerDriver(recorded.driver);
  const nodes: MmioNode[] = [...slots];
  const platform = { dma: new TestDma(), nodes: () => nodes };
  const devices = await bus.addPlatform(platform);
  return { bus, slots, gone, nodes, platform, devices, reports, ...recorded };
}

Deno.test("rescan: devices that are gone, or whose slot is, are removed, and new ones added", async () => {
  const { bus, gone, nodes, platform, devices, slots } = await machine([42, 42, 42]);
  await using _ = bus;
  const [stays, leaves, lost] = devices;
  assertEquals(await bus.rescan(platform), { added: [], removed: [], recovered: [] });
  gone.add("slot2");
  nodes.splice(1, 1);
  const result = await bus.rescan(platform);
  assertEquals([result.removed, result.recovered, bus.devices], [[leaves, lost], [], [stays]]);
  // One that only was asked to go is acknowledged again.
  assertEquals([slots[1]!.status, slots[2]!.status], [1, 0]);
  assertEquals(leaves!.queues.length, 0);
  nodes.push(slots[1]!);
  const { added } = await bus.rescan(platform);
  assertEquals(added.map(({ transport, name }) => [transport.name, name]), [["slot1", "virtio1"]]);
});

Deno.test("rescan: devices that the machine reset are recovered, however often, and others left alone", async () => {
  const { bus, slots, platform, devices } = await machine([42, 9, 42], { maxRecoveries: 1 });
  await using _ = bus;
  const [device, idle] = devices;
  assertEquals(idle!.driver, undefined);
  for (let i = 1; i <= 2; i++) {
    const [queue] = device!.queues;
    slots[0]!.status = slots[1]!.status = 0;
    slots[2]!.takeLog();
    const { recovered } = await bus.rescan(platform);
    assertEquals([recovered, device!.recoveries], [[device], i]);
    assertEquals(queue!.broken?.code, "DEVICE_NEEDS_RESET");
    assertEquals(queue!.broken?.message.startsWith("The machine reset the device"), true);
    assertEquals(slots.map(({ status }) => status), [0xf, 1, 0xf]);
    assertEquals(slots[2]!.takeLog().filter((line) => line.startsWith("w ")), []);
  }
});

Deno.test("rescan: what cannot be recovered stays with the reason, and is reported", async () => {
  const { bus, slots, platform, devices, reports } = await machine([42]);
  await using _ = bus;
  const [device] = devices;
  const reason = new Error("As the test wants");
  Object.assign(device!.instance!, { restore: () => Promise.reject(reason) });
  slots[0]!.status = 0;
  const result = await bus.rescan(platform);
  assertEquals(result, { added: [], removed: [], recovered: [] });
  assertEquals([device!.error, reports], [reason, [reason]]);
  // Frozen on purpose, it is not recovered either.
  const frozen = await machine([42]);
  await using __ = frozen.bus;
  await frozen.bus.freeze();
  assertEquals((await frozen.bus.rescan(frozen.platform)).recovered, []);
});

Deno.test("rescan: a device that is removed meanwhile is not recovered, and its slot is free again", async () => {
  const { bus, platform, devices, slots } = await machine([42]);
  await using _ = bus;
  slots[0]!.status = 0;
  const removal = bus.removeDevice(devices[0]!).catch(() => {});
  const { recovered, removed } = await bus.rescan(platform);
  await removal;
  assertEquals([recovered, removed], [[], []]);
  await bus.rescan(platform);
  assertEquals(bus.devices.map(({ name }) => name), ["virtio0"]);
});

Deno.test("addPlatform: an error of a slot is kept until the next look, and a removed device's slot is free", async () => {
  const bad = new ScriptedDevice({ name: "bad", reads: { MagicValue: 0 } });
  const { bus, platform, nodes, devices } = await machine([42]);
  await using _ = bus;
  nodes.push(bad);
  for (let i = 0; i < 2; i++) {
    assertEquals(await bus.addPlatform(platform), []);
    assertEquals(bus.slotErrors.map(({ slot }) => slot), ["bad"]);
  }
  await bus.removeDevice(devices[0]!);
  assertEquals((await bus.addPlatform(platform)).length, 1);
});

Deno.test("bus: what comes of no call is reported each time, but that a device is gone once", async () => {
  const gone = new VireoError("DEVICE_REMOVED", "It is gone");
  const other = new VireoError("HOST_ERROR", "It is not there");
  const foreign = Object.assign(new Error("Its own"), { code: "DEVICE_REMOVED" });
  for (const [error, times] of [[gone, 1], [other, 2], [foreign, 2]] as const) {
    const { bus, scripted, transport, reports } = board();
    await using _ = bus;
    await bus.registerDriver(
      recorder({
        configChanged() {
          throw error;
        },
      }).driver,
    );
    await bus.addDevice(transport);
    for (let i = 0; i < 2; i++) {
      scripted.changeConfig(0, i);
      await settle();
    }
    assertEquals(reports, Array(times).fill(error));
  }
});

Deno.test("bus: a removal fails with what fails in it, and ends all waits", async () => {
  const { bus, transport } = board();
  const device = await bus.addDevice(transport);
  const reason = new Error("As the test wants");
  Object.assign(transport, {
    [Symbol.dispose]() {
      throw reason;
    },
  });
  const waiting = assertRejects(() => device.recovered({ deadline: 60_000 }), VireoError);
  assertEquals(await assertRejects(() => bus.removeDevice(device), Error), reason);
  assertEquals([(await waiting).code, bus.devices], ["DEVICE_REMOVED", []]);
});

Deno.test("bus: a wait for a recovery ends when the driver is unbound", async () => {
  const { bus, transport } = board();
  await using _ = bus;
  await bus.registerDriver(recorder().driver);
  const device = await bus.addDevice(transport);
  const waiting = assertRejects(() => device.recovered({ deadline: 60_000 }), VireoError);
  await bus.unbind(device);
  assertEquals((await waiting).code, "DEVICE_REMOVED");
});

Deno.test("bus: a bind says whether a driver has the device, and gives each driver its own", async () => {
  const { bus, transport } = board();
  await using _ = bus;
  const device = await bus.addDevice(transport);
  assertEquals(await bus.bind(device), false);
  const [first, second] = [recorder({}, "first").driver, recorder({}, "second").driver];
  await bus.registerDriver(first);
  await bus.registerDriver(second);
  assertEquals([await bus.bind(device), bus.all(first).length, bus.all(second)], [true, 1, []]);
  const [, bound] = await Promise.all([bus.removeDevice(device), bus.bind(device)]);
  assertEquals(bound, false);
});

Deno.test("bus: a shutdown goes on to the other devices when one fails, and says so", async () => {
  const { bus, devices, slots } = await machine([42, 42]);
  await using _ = bus;
  const reason = new Error("As the test wants");
  Object.assign(devices[0]!.instance!, { shutdown: () => Promise.reject(reason) });
  assertEquals(await assertRejects(() => bus.shutdown(), Error), reason);
  assertEquals(slots.map(({ status }) => status), [0xf, 0]);
});
