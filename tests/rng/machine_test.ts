import { assert, assertEquals, assertRejects } from "@std/assert";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";
import { EmulatedMachine, RngDevice, seededRandom, systemRandom } from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import { rngDriver } from "../../drivers/rng/mod.ts";

const SOON = { deadline: 20_000 };

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`machine: seeded bytes arrive exactly (version ${version} without [${without}])`, async () => {
      const model = new RngDevice({ random: seededRandom(9), maxBytes: 100 });
      await using machine = EmulatedMachine.create({ devices: [{ model, version }] });
      await using bus = new Bus({ filter: FeatureSet.of(...without) });
      await bus.registerDriver(rngDriver);
      await bus.addPlatform(machine);
      const expected = new Uint8Array(3000);
      seededRandom(9)(expected);
      assertEquals(await bus.get(rngDriver)!.read(3000, SOON), expected);
      assertEquals(machine.violations(), []);
    });
  }
}

Deno.test("machine: 1 MiB of system randomness has even bits, and reads outnumber the ring", async () => {
  const model = new RngDevice({ random: systemRandom(), queueSize: 4 });
  await using machine = EmulatedMachine.create({ devices: [model] });
  await using bus = new Bus();
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  const rng = bus.get(rngDriver)!;
  const parts = await Promise.all(Array.from({ length: 16 }, () => rng.read(65536, SOON)));
  let ones = 0;
  for (const part of parts) {
    for (const byte of part) for (let bits = byte; bits > 0; bits >>= 1) ones += bits & 1;
  }
  // 2^23 bits: the standard deviation is 1448; this is 20 of them.
  assert(Math.abs(ones - 2 ** 22) < 29_000, `${ones} ones`);
});

Deno.test("machine: a device that needs a reset rejects the read and serves the next", async () => {
  const model = new RngDevice({ random: seededRandom(9) });
  await using machine = EmulatedMachine.create({ devices: [model] });
  await using bus = new Bus();
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  const rng = bus.get(rngDriver)!;
  const recovered = bus.devices[0]!.recovered(SOON);
  machine.device(0).fault("as the test wants");
  const error = await assertRejects(() => rng.read(10, SOON), VireoError);
  assertEquals(error.code, "DEVICE_NEEDS_RESET");
  await recovered;
  assertEquals((await rng.read(10, SOON)).length, 10);
});
