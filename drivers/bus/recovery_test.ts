import { assert, assertEquals, assertRejects } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { board, HeldInterrupt, type Hooks, hurried, recorder, settle } from "./bus_test_util.ts";
import type { BusOptions } from "./bus.ts";
import type { DeviceScript } from "../testing/scripted_device.ts";
import { MmioTransport } from "../transport/mmio.ts";
import { SgList } from "../virtqueue/virtqueue.ts";

const chain = new SgList(1).addWritable(0x1000, 16);

async function bound(hooks: Hooks = {}, options: BusOptions = {}, script: DeviceScript = {}) {
  const made = board({ features: FeatureSet.of(5, 28, 32), ...script }, options);
  const recorded = recorder({
    queues: [{ name: "a", callback() {} }],
    features: FeatureSet.of(5),
    ...hooks,
  });
  await made.bus.registerDriver(recorded.driver);
  const device = await made.bus.addDevice(made.transport);
  made.scripted.takeLog();
  recorded.calls.length = 0;
  return { ...made, ...recorded, device };
}

/** Accesses without those of the interrupt and of the queue. */
function steps(log: readonly string[]): string[] {
  return log.filter((line) => / (Status|\w*Features\w*) /.test(line));
}

Deno.test("recovery: NEEDS_RESET breaks the queues, resets, renegotiates and restores", async () => {
  const { bus, scripted, device, calls, errors, reports, dma } = await bound();
  await using _ = bus;
  const [old] = device.queues;
  old!.add(chain, 7);
  const recovered = device.recovered();
  scripted.needReset();
  assertEquals(await recovered, 1);
  // The interrupt may have reported a change as well, so the driver hears that too.
  assertEquals(calls, ["failed", "restore", "configChanged"]);
  const error = errors[0] as VireoError;
  assertEquals([error.code, error.device, error.register, error.seen], [
    "DEVICE_NEEDS_RESET",
    "virtio0",
    "Status",
    0x4f,
  ]);
  assertEquals(old!.broken, error);
  assertEquals(steps(scripted.log), [
    "r Status 0x4f", // the config interrupt
    "w Status 0x0",
    "r Status 0x0",
    "r Status 0x0",
    "w Status 0x1",
    "r Status 0x1",
    "w Status 0x3",
    "w DriverFeaturesSel 0x1", // the old set, not read again
    "w DriverFeatures 0x1",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x10000020",
    "r Status 0x3",
    "w Status 0xb",
    "r Status 0xb",
    "r Status 0xb",
    "r Status 0xb",
    "w Status 0xf",
  ]);
  const [fresh] = device.queues;
  assert(fresh !== old);
  assert(fresh!.add(chain, 1));
  assertEquals([device.error, device.recoveries, reports], [undefined, 1, []]);
  // Ring and indirect tables of the new queue only.
  assertEquals(dma.live, 2);
});

Deno.test("recovery: buffers may be detached from the old queue during restore", async () => {
  const detached: number[] = [];
  const olds: { detachUnused(): number }[] = [];
  const { bus, scripted, device } = await bound({
    restore: () => void detached.push(olds[0]!.detachUnused(), olds[0]!.detachUnused()),
  });
  await using _ = bus;
  olds.push(device.queues[0]!);
  device.queues[0]!.add(chain, 7);
  const recovered = device.recovered();
  scripted.needReset();
  await recovered;
  assertEquals(detached, [7, -1]);
});

Deno.test("recovery: a device that faults again and again is given up", async () => {
  let time = 0;
  const { bus, scripted, device, calls, errors, reports } = await bound(
    { restore: () => scripted.needReset() },
    { maxRecoveries: 3, recoveryWindow: 1000, now: () => time },
  );
  time = 1;
  const recovered = device.recovered({ after: 10, deadline: 5000 });
  scripted.needReset();
  const error = await assertRejects(() => recovered, VireoError);
  assertEquals([
    error.code,
    error.device,
    error.message.includes("it needed 3 recoveries in 1000 ms"),
  ], [
    "DEVICE_NEEDS_RESET",
    "virtio0",
    true,
  ]);
  assertEquals(calls.filter((call) => call === "restore").length, 3);
  assertEquals(scripted.status & 0x80, 0x80);
  await settle();
  assertEquals([device.error, errors.at(-1), reports.at(-1)], [error, error, error]);
  // Nothing goes on by itself.
  calls.length = 0;
  await settle();
  assertEquals(calls, []);
  await bus.removeDevice(device);
});

Deno.test("recovery: old recoveries do not count", async () => {
  let time = 0;
  const { bus, scripted, device } = await bound({}, {
    maxRecoveries: 1,
    recoveryWindow: 1000,
    now: () => time,
  });
  await using _ = bus;
  for (let i = 1; i <= 3; i++) {
    time += 1000;
    const recovered = device.recovered();
    scripted.needReset();
    assertEquals(await recovered, i);
  }
  assertEquals(device.error, undefined);
});

Deno.test("recovery: a driver that is bound or recovered by hand begins with no recoveries", async () => {
  const { bus, scripted, device } = await bound({}, { maxRecoveries: 1, now: () => 0 });
  await using _ = bus;
  for (let i = 0; i < 3; i++) {
    const recovered = device.recovered({ deadline: 5000 });
    scripted.needReset();
    await recovered;
    assertEquals(device.error, undefined);
    // So does one that its user has recovered.
    for (let j = 0; j < 2; j++) await bus.recover(device);
    await bus.unbind(device);
    assertEquals(await bus.bind(device), true);
  }
});

Deno.test("recovery: a device that does not reset is given up", async () => {
  const { bus, scripted, device } = await bound({}, { maxRecoveries: 1 }, {
    writes: { Status: (value) => value !== 0 || scriptedBox.stuck === false },
  });
  scriptedBox.stuck = true;
  const recovered = device.recovered({ deadline: 5000 });
  scripted.needReset();
  const error = await assertRejects(() => hurried(() => recovered), VireoError);
  assertEquals([error.code, (error.cause as VireoError).code], [
    "DEVICE_NEEDS_RESET",
    "RESET_TIMEOUT",
  ]);
  scriptedBox.stuck = false;
  await bus.removeDevice(device);
});
const scriptedBox = { stuck: false };

Deno.test("recovery: a driver that cannot restore fails with a typed error", async () => {
  const { bus, scripted, device } = await bound({ restore: false });
  await using _ = bus;
  const recovered = device.recovered();
  scripted.needReset();
  const error = await assertRejects(() => recovered, VireoError);
  assertEquals([error.code, error.device], ["UNSUPPORTED", "virtio0"]);
  assertEquals(scripted.status & 0x80, 0x80);
});

Deno.test("recovery: a restore that throws leaves FAILED, and a manual one helps", async () => {
  let fail = true;
  const { bus, scripted, device, errors } = await bound({
    restore() {
      if (fail) throw new Error("bug");
    },
  });
  await using _ = bus;
  const recovered = device.recovered();
  scripted.needReset();
  await assertRejects(() => recovered, Error, "bug");
  assertEquals(scripted.status & 0x80, 0x80);
  assertEquals(errors.at(-1)?.message, "bug");
  fail = false;
  await bus.recover(device);
  assertEquals([scripted.status, device.error, device.recoveries], [0xf, undefined, 1]);
});

Deno.test("recovery: manual mode only breaks the queues until it is asked", async () => {
  const { bus, scripted, device, calls } = await bound({}, { recover: "manual" });
  await using _ = bus;
  scripted.needReset();
  await settle();
  assertEquals(calls, ["failed"]);
  assertEquals(device.queues[0]!.broken?.code, "DEVICE_NEEDS_RESET");
  await bus.recover(device);
  assertEquals(calls, ["failed", "restore", "configChanged"]);
  assertEquals(scripted.status, 0xf);
});

Deno.test("recovery: in manual mode a fault at its end waits for the next one to be asked for", async () => {
  let faults = 0;
  const { bus, scripted, device, calls } = await bound({}, {
    recover: "manual",
    uevent: ({ action }) => {
      if (action === "change" && faults-- > 0) scripted.needReset();
    },
  });
  await using _ = bus;
  const restored = (): number => calls.filter((call) => call === "restore").length;
  faults = 1;
  await bus.recover(device);
  await settle();
  assertEquals([restored(), device.queues[0]!.broken?.code], [1, "DEVICE_NEEDS_RESET"]);
  await bus.recover(device);
  await settle();
  assertEquals([restored(), scripted.status], [2, 0xf]);
});

Deno.test("recovery: a fault that is seen just behind one is recovered in auto mode only", async () => {
  for (const recover of ["auto", "manual"] as const) {
    let faults = 1;
    const made = board({}, {
      recover,
      uevent: ({ action }) => {
        if (action !== "change" || faults-- <= 0) return;
        made.scripted.needReset();
        interrupt.options.ready();
        interrupt.options.serve!();
      },
    });
    const interrupt = new HeldInterrupt();
    Object.assign(made.scripted, { interrupt });
    const { driver, calls } = recorder({ queues: [{ name: "a", callback() {} }] });
    await using bus = made.bus;
    await bus.registerDriver(driver);
    const device = await bus.addDevice(MmioTransport.probe(made.scripted, made.dma)!);
    await bus.recover(device);
    await settle();
    const restored = calls.filter((call) => call === "restore").length;
    assertEquals([restored, made.scripted.status], recover === "auto" ? [2, 0xf] : [1, 0x4f]);
  }
});

Deno.test("recovery: a fault is recovered at whatever step of another recovery it comes", async () => {
  for (let turns = 0; turns < 24; turns++) {
    let faults = 1;
    const interrupt = new HeldInterrupt();
    const made = board({}, { maxRecoveries: 5 });
    const fault = (): void => {
      made.scripted.needReset();
      interrupt.options.ready();
      interrupt.options.serve!();
    };
    const { driver } = recorder({
      queues: [{ name: "a", callback() {} }],
      restore() {
        if (faults-- <= 0) return;
        let later = Promise.resolve();
        for (let i = 0; i < turns; i++) later = later.then(() => {});
        void later.then(fault);
      },
    });
    Object.assign(made.scripted, { interrupt });
    await using bus = made.bus;
    await bus.registerDriver(driver);
    const device = await bus.addDevice(MmioTransport.probe(made.scripted, made.dma)!);
    await bus.recover(device);
    await settle();
    await settle();
    assertEquals([made.scripted.status, device.error], [0xf, undefined], `${turns} turns`);
  }
});

Deno.test("recovery: a fault during probe fails the probe's requests, not the machine", async () => {
  const made = board();
  await using _ = made.bus;
  const { driver, calls } = recorder({
    queues: [{ name: "a", callback() {} }],
    async probe(device) {
      device.ready();
      made.scripted.needReset();
      await settle();
      const { broken } = device.queues[0]!;
      if (broken) throw broken;
    },
  });
  await made.bus.registerDriver(driver);
  const device = await made.bus.addDevice(made.transport);
  assertEquals((device.error as VireoError).code, "DEVICE_NEEDS_RESET");
  assertEquals(calls, ["probe"]);
  assertEquals(made.scripted.status & 0x80, 0x80);
});

Deno.test("recovery: waits end with deadline, abort and removal", async () => {
  const { bus, device } = await bound();
  const error = await assertRejects(() => device.recovered({ deadline: 1 }), VireoError);
  assertEquals([error.code, error.device, error.seen], ["TIMEOUT", "virtio0", 0]);
  const controller = new AbortController();
  const aborted = device.recovered({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  const removed = device.recovered({ deadline: 60_000 });
  await bus.removeDevice(device);
  assertEquals((await assertRejects(() => removed, VireoError)).code, "DEVICE_REMOVED");
});

Deno.test("recovery: a removal that is asked for meanwhile comes after it", async () => {
  const { bus, scripted, device, calls } = await bound();
  const recovered = device.recovered();
  scripted.needReset();
  await settle();
  const removal = bus.removeDevice(device);
  await recovered;
  await removal;
  assertEquals(calls, ["failed", "restore", "configChanged", "remove", "failed"]);
});

Deno.test("freeze and restore: old features, no validate, config changes held back", async () => {
  let validated = 0;
  const { bus, scripted, device, calls } = await bound({
    validate(_, features) {
      validated++;
      return features;
    },
  });
  await using _ = bus;
  await bus.freeze();
  assertEquals(calls, ["freeze", "failed"]);
  assertEquals(scripted.status, 0);
  scripted.changeConfig(0, 1);
  await settle();
  assertEquals(calls, ["freeze", "failed"]);
  scripted.takeLog();
  await bus.restore(device);
  assertEquals(calls, ["freeze", "failed", "restore", "configChanged"]);
  assertEquals(steps(scripted.log).slice(0, 10), [
    "w Status 0x0",
    "r Status 0x0",
    "r Status 0x0",
    "w Status 0x1",
    "r Status 0x1",
    "w Status 0x3",
    "w DriverFeaturesSel 0x1",
    "w DriverFeatures 0x1",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x10000020",
  ]);
  assertEquals([scripted.status, validated], [0xf, 1]);
});

Deno.test("freeze that throws lets the device go on", async () => {
  const { bus, scripted, device, calls } = await bound({
    freeze() {
      throw new Error("busy");
    },
  });
  await using _ = bus;
  await assertRejects(() => bus.freeze(device), Error, "busy");
  assertEquals(scripted.status, 0xf);
  scripted.changeConfig(0, 1);
  await settle();
  assertEquals(calls, ["freeze", "configChanged"]);
});

Deno.test("restore that fails leaves FAILED", async () => {
  const { bus, scripted, device } = await bound({
    restore() {
      throw new Error("gone");
    },
  });
  await using _ = bus;
  await bus.freeze();
  await assertRejects(() => bus.restore(), Error, "gone");
  assertEquals([scripted.status & 0x80, device.error?.message], [0x80, "gone"]);
});

Deno.test("restore keeps FAILED from before the freeze, and stops without a driver", async () => {
  const { bus, scripted, transport } = board({ features: FeatureSet.NONE });
  await using _ = bus;
  await bus.registerDriver(recorder().driver);
  await bus.addDevice(transport);
  assertEquals(scripted.status, 0x83);
  await bus.freeze();
  await bus.restore();
  assertEquals(scripted.status, 0x81);
});

Deno.test("shutdown breaks all queues and resets, and leaves devices without a driver alone", async () => {
  const { bus, scripted, device, calls } = await bound();
  await bus.shutdown();
  assertEquals([scripted.status, calls], [0, ["failed"]]);
  assertEquals(device.queues[0]!.broken?.code, "DEVICE_STATE");
  await bus[Symbol.asyncDispose]();
  const idle = board();
  await using _ = idle.bus;
  await idle.bus.addDevice(idle.transport);
  await idle.bus.shutdown();
  assertEquals(idle.scripted.status, 1);
});

Deno.test("shutdown is left to a driver that has its own, which hears of no change from then on", async () => {
  const { bus, scripted, device, calls } = await bound();
  await using _ = bus;
  Object.assign(device.instance!, { shutdown: () => calls.push("shutdown") });
  await bus.shutdown();
  scripted.changeConfig(0, 1);
  await settle();
  assertEquals([scripted.status, calls], [0xf, ["shutdown"]]);
});

Deno.test("restore of a device that came while the others were frozen sets no FAILED", async () => {
  const { bus, scripted, transport } = board();
  await using _ = bus;
  await bus.addDevice(transport);
  scripted.takeLog();
  await bus.restore();
  assertEquals(scripted.takeLog().filter((access) => access.startsWith("w ")), [
    "w Status 0x0",
    "w Status 0x1",
  ]);
});
