import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { board, type Hooks, recorder, settle } from "./bus_test_util.ts";
import type { BusOptions } from "./bus.ts";

/** A device with one queue that is bound to a driver of these hooks. */
async function bound(hooks: Hooks = {}, options: BusOptions = {}) {
  const made = board({}, options);
  const recorded = recorder({ queues: [{ name: "a", callback() {} }], ...hooks });
  await made.bus.registerDriver(recorded.driver);
  const device = await made.bus.addDevice(made.transport);
  return { ...made, ...recorded, device };
}

Deno.test("lifecycle: an error of a probe has the machine's diagnosis as its cause, unless it has one", async () => {
  const diagnosis = new VireoError("HOST_ERROR", "QEMU has ended");
  const own = new Error("its own");
  for (
    const [thrown, cause] of [
      [new VireoError("TIMEOUT", "No answer"), diagnosis],
      [new TypeError("A mistake"), diagnosis],
      [new VireoError("TIMEOUT", "No answer", { cause: own }), own],
      [diagnosis, undefined],
    ] as const
  ) {
    const { bus, transport } = board();
    await using _ = bus;
    await bus.registerDriver(recorder({ probe: () => Promise.reject(thrown) }).driver);
    const device = await bus.addDevice(transport, undefined, () => diagnosis);
    assertEquals([device.error, device.error?.cause], [thrown, cause]);
  }
  // Without a diagnosis there is no cause.
  const { bus, transport } = board();
  await using _ = bus;
  const error = new VireoError("TIMEOUT", "No answer");
  await bus.registerDriver(recorder({ probe: () => Promise.reject(error) }).driver);
  await bus.addDevice(transport);
  assertEquals(Object.hasOwn(error, "cause") && error.cause !== undefined, false);
});

Deno.test("lifecycle: a driver whose scan fails hears why, and is removed", async () => {
  const reason = new VireoError("TIMEOUT", "As the test wants");
  const { bus, device, calls, errors, dma } = await bound({
    scan() {
      throw reason;
    },
  });
  await using _ = bus;
  assertEquals([calls.slice(0, 4), errors[0]], [["probe", "scan", "failed", "remove"], reason]);
  assertEquals([device.error, device.driver, dma.live], [reason, undefined, 0]);
});

Deno.test("lifecycle: a driver that comes next hears of no change from before it, and of each later one", async () => {
  const { bus, scripted, device, calls } = await bound();
  await using _ = bus;
  device.disableConfigChanges();
  scripted.changeConfig(0, 1);
  await settle();
  await bus.unbind(device);
  calls.length = 0;
  await bus.bind(device);
  await settle();
  assertEquals(calls, ["probe", "scan"]);
  scripted.changeConfig(0, 2);
  await settle();
  assertEquals(calls, ["probe", "scan", "configChanged"]);
});

Deno.test("lifecycle: a driver that is removed hears of no change any more", async () => {
  const box: { change?: () => void } = {};
  const { bus, scripted, device, calls } = await bound({
    async remove(device) {
      box.change!();
      await settle();
      await device.reset();
      device.deleteQueues();
    },
  });
  await using _ = bus;
  box.change = () => scripted.changeConfig(0, 1);
  calls.length = 0;
  await bus.unbind(device);
  assertEquals(calls.includes("configChanged"), false);
});

Deno.test("lifecycle: a driver that leaves its queues is told so, and they are freed", async () => {
  const { bus, device, dma } = await bound({ remove: (device) => device.reset() });
  await using _ = bus;
  const error = await assertRejects(() => bus.unbind(device), VireoError, "left the queues");
  assertEquals([error.code, error.seen, dma.live], ["DEVICE_STATE", 1, 0]);
});

Deno.test("lifecycle: a change during a recovery is told when it is over", async () => {
  const made = await bound({
    async restore() {
      made.scripted.changeConfig(0, 1);
      await settle();
      made.calls.push("restored");
    },
  });
  await using _ = made.bus;
  made.calls.length = 0;
  await made.bus.recover(made.device);
  await settle();
  assertEquals(made.calls, ["failed", "restore", "restored", "configChanged"]);
});

Deno.test("lifecycle: requests fail by the recovery that their caller asked for", async () => {
  const { bus, device } = await bound();
  await using _ = bus;
  const [queue] = device.queues;
  await bus.recover(device);
  const { code, message } = queue!.broken!;
  assertEquals([code, message.startsWith("Device is reset for recovery")], [
    "DEVICE_NEEDS_RESET",
    true,
  ]);
});

Deno.test("lifecycle: a fault in a probe that succeeds is recovered behind it, in auto mode only", async () => {
  for (const recover of ["auto", "manual"] as const) {
    const made = board({}, { recover });
    await using bus = made.bus;
    const { driver, calls } = recorder({
      queues: [{ name: "a", callback() {} }],
      async probe(device) {
        device.ready();
        made.scripted.needReset();
        await settle();
      },
    });
    await bus.registerDriver(driver);
    const device = await bus.addDevice(made.transport);
    await settle();
    const auto = recover === "auto";
    assertEquals([calls.includes("restore"), made.scripted.status], [auto, auto ? 0xf : 0x4f]);
    assertEquals([device.recoveries, device.driver], [auto ? 1 : 0, driver]);
  }
});

Deno.test("lifecycle: a device that is given up has its last fault as the reason, and tells no change", async () => {
  let restores = 0;
  const made = await bound({
    restore() {
      made.scripted.needReset();
      if (++restores === 1) throw new Error("the first one");
    },
  }, { maxRecoveries: 2, now: () => 0 });
  const { bus, scripted, device, calls } = made;
  const recovered = device.recovered({ deadline: 5000 });
  scripted.needReset();
  const error = await assertRejects(() => recovered, VireoError, "it needed 2 recoveries");
  assertEquals((error.cause as VireoError).message.startsWith("The device failed"), true);
  calls.length = 0;
  scripted.changeConfig(0, 1);
  await settle();
  device.enableConfigChanges();
  await settle();
  assertEquals(calls, []);
  await bus.removeDevice(device);
});
