import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { EmulatedMachine, type MachineDevice, RngDevice } from "@vireo/emu";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";
import { Bus, type BusOptions } from "../../drivers/bus/bus.ts";
import type { VirtioDriver } from "../../drivers/driver.ts";
import { SgList } from "../../drivers/virtqueue/virtqueue.ts";
import { rngDriver } from "../../drivers/rng/mod.ts";

/** A machine with one entropy device and its bus, with the driver registered. */
async function machine(
  device: Partial<MachineDevice> & { readonly hold?: boolean } = {},
  options: BusOptions = {},
) {
  const reports: Error[] = [];
  const model = new RngDevice({
    random: (into) => void into.fill(0xa5),
    lies: { hold: device.hold ?? false },
  });
  const machine = EmulatedMachine.create({ devices: [{ ...device, model }] });
  const bus = new Bus({ onError: (error) => reports.push(error), ...options });
  await bus.registerDriver(rngDriver);
  const [found] = await bus.addPlatform(machine);
  assert(found !== undefined);
  return { machine, model, bus, device: found, rng: bus.get(rngDriver)!, reports };
}

for (const version of [1, 2] as const) {
  Deno.test(`emulated: version ${version} device is probed, driven and removed without a violation`, async () => {
    const { machine: emu, bus, device, rng, reports } = await machine({ version });
    assertEquals(bus.slotErrors, []);
    assertEquals(device.error, undefined);
    assertEquals(device.transport.kind, `mmio-${version}`);
    assertEquals(
      [...device.features],
      version === 1 ? [27, 28, 29] : [28, 29, 32, ...device.has(33) ? [33] : [], 40],
    );
    assertEquals(await rng.read(10_000), new Uint8Array(10_000).fill(0xa5));
    assertEquals(bus.attributes(device).status, version === 1 ? "0x00000007\n" : "0x0000000f\n");
    await bus[Symbol.asyncDispose]();
    assertEquals([emu.violations(), reports], [[], []]);
    await emu[Symbol.asyncDispose]();
  });
}

Deno.test("emulated: filter, queue size and re-bind", async () => {
  const { machine: emu, bus, device } = await machine({}, {
    queueSize: 16,
    filter: FeatureSet.of(Feature.INDIRECT_DESC, Feature.EVENT_IDX),
  });
  assertEquals([device.has(28), device.has(29), device.queues[0]!.size], [false, false, 16]);
  bus.filter = FeatureSet.NONE;
  await bus.unbind(device);
  assertEquals(bus.attributes(device).status, "0x00000001\n");
  assert(await bus.bind(device));
  assertEquals([device.has(28), device.has(29)], [true, true]);
  assertEquals((await bus.get(rngDriver)!.read(8)).length, 8);
  await bus[Symbol.asyncDispose]();
  assertEquals(emu.violations(), []);
  await emu[Symbol.asyncDispose]();
});

for (const version of [1, 2] as const) {
  Deno.test(`emulated: version ${version} freeze and restore`, async () => {
    const { machine: emu, bus, device, rng } = await machine({ version });
    await bus.freeze();
    assertEquals(bus.attributes(device).status, "0x00000000\n");
    await bus.restore();
    assertEquals((await rng.read(100)).length, 100);
    await bus[Symbol.asyncDispose]();
    assertEquals(emu.violations(), []);
    await emu[Symbol.asyncDispose]();
  });
}

Deno.test("emulated: NEEDS_RESET rejects what is in flight, and the device is usable again", async () => {
  const { machine: emu, bus, device, rng } = await machine();
  for (let count = 1; count <= 3; count++) {
    const recovered = device.recovered();
    emu.device(0).fault("test");
    assertEquals(await recovered, count);
    assertEquals((await rng.read(100)).length, 100);
  }
  await bus[Symbol.asyncDispose]();
  await emu[Symbol.asyncDispose]();
});

/** A driver of one's own that lends memory that is none. */
const wrong = (restores: boolean): VirtioDriver => ({
  name: "wrong",
  ids: rngDriver.ids,
  features: FeatureSet.NONE,
  probe(device) {
    const [queue] = device.findQueues([{ name: "input", callback() {} }]);
    device.ready();
    queue!.add(new SgList(1).addWritable(0x10, 64), 0);
    queue!.kick();
    const remove = async () => {
      await device.reset();
      device.deleteQueues();
    };
    return restores ? { remove, restore: () => {} } : { remove };
  },
});

Deno.test("emulated: what the device holds against a driver is the cause of the driver's errors", async () => {
  for (const packed of [false, true]) {
    const failed = Promise.withResolvers<Error>();
    const { machine: emu, bus } = await machine({ offer: { packed } }, {
      onError: (error) => failed.resolve(error),
    });
    await bus.registerDriver(wrong(false), { replace: true });
    const error = await failed.promise;
    const codes: string[] = [];
    let last: unknown = error;
    for (; last instanceof VireoError; last = last.cause) codes.push(last.code);
    assertEquals(codes, ["UNSUPPORTED", "DEVICE_NEEDS_RESET", "VIOLATION"]);
    const [violation] = emu.violations();
    assertEquals(violation, {
      slot: "virtio-mmio@a000000",
      register: "ring",
      value: undefined,
      reason: "queue 0: element at 0x10, 64 bytes, is outside guest memory",
      queue: 0,
      descriptor: 0,
      address: 0x10,
      clause: packed ? "2.8.17" : "2.7.5",
    });
    await bus[Symbol.asyncDispose]();
    await emu[Symbol.asyncDispose]();
  }
});

Deno.test("emulated: a time-out has what the device holds against the driver as its cause", async () => {
  const { machine: emu, bus, device, rng } = await machine({ hold: true });
  const reading = rng.read(8, { deadline: 50 });
  // As a driver with a wrong length does.
  device.transport.writeStatus(0x10 | device.transport.readStatus());
  const error = await assertRejects(() => reading, VireoError);
  assertEquals(error.code, "TIMEOUT");
  assertEquals((error.cause as VireoError).code, "VIOLATION");
  assertMatch(
    (error.cause as VireoError).message,
    /^The driver erred: Status 0x1f: sets bits 0x10/,
  );
  await bus[Symbol.asyncDispose]();
  await emu[Symbol.asyncDispose]();
});

Deno.test("emulated: NEEDS_RESET and removal reject what the device holds", async () => {
  const { machine: emu, bus, device, rng } = await machine({ hold: true });
  const cut = rng.read(100, { deadline: 60_000 });
  const recovered = device.recovered();
  emu.device(0).fault("test");
  const error = await assertRejects(() => cut, VireoError);
  assertEquals([error.code, error.device], ["DEVICE_NEEDS_RESET", "virtio0"]);
  await recovered;
  const left = rng.read(100, { deadline: 60_000 });
  const rejected = assertRejects(() => left, VireoError);
  await bus.removeDevice(device);
  assertEquals((await rejected).code, "DEVICE_REMOVED");
  await bus[Symbol.asyncDispose]();
  await emu[Symbol.asyncDispose]();
});
