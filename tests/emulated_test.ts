import { assert, assertEquals, assertRejects } from "@std/assert";
import { EmulatedMachine, type MachineDevice, RngDevice } from "@vireo/emu";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";
import { Bus, type BusOptions } from "../drivers/bus/bus.ts";
import { rngDriver } from "../drivers/rng/mod.ts";

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
