import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Bus, rngDriver } from "@vireo/drivers";
import { MmioRegister, VireoError } from "@vireo/hal";
import { seededRandom } from "../../emu/backends/random.ts";
import type { TestDevices } from "../../emu/worker/test_devices.ts";
import { WorkerMachine } from "../../emu/worker/machine.ts";

const module = new URL("../../emu/worker/test_devices.ts", import.meta.url);
const create = (options: TestDevices, deadline = 60_000): Promise<WorkerMachine> =>
  WorkerMachine.create({ module, options, deadline });

for (const version of [1, 2] as const) {
  Deno.test(`worker machine: the bus drives a device on another thread, version ${version}`, async () => {
    await using machine = await create({ kind: "rng", version });
    assertEquals(machine.nodes().length, 8);
    await using bus = new Bus();
    await bus.registerDriver(rngDriver);
    await bus.addPlatform(machine);
    assertEquals(bus.slotErrors, []);
    const rng = bus.get(rngDriver);
    assert(rng !== undefined);
    const expected = new Uint8Array(20_000);
    seededRandom(7)(expected);
    const parts: number[] = [];
    for (let i = 0; i < 200; i++) parts.push(...await rng.read(100, { deadline: 5000 }));
    assertEquals(Uint8Array.from(parts), expected);
  });
}

Deno.test("worker machine: a model that answers from a timer interrupts", async () => {
  await using machine = await create({ kind: "late" });
  await using bus = new Bus();
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  assertEquals(await bus.get(rngDriver)!.read(3, { deadline: 5000 }), new Uint8Array(3).fill(0x42));
});

Deno.test("worker machine: accesses of every width are answered in order", async () => {
  await using machine = await create({ kind: "late" });
  using lease = machine.nodes()[0]!.open();
  const { mmio } = lease;
  assertEquals(mmio.read32(MmioRegister.MagicValue), 0x74726976);
  for (let status = 1; status <= 3; status += 2) {
    mmio.write32(MmioRegister.Status, status);
    assertEquals(mmio.read32(MmioRegister.Status), status);
  }
  const config = MmioRegister.Config;
  assertEquals([mmio.read8(config), mmio.read16(config), mmio.read32(config)], [0x5a, 0x5a, 0x5a]);
  // A thousand posted notifications are more than fit, and all come before the read that follows.
  for (let i = 0; i < 1000; i++) mmio.write32(MmioRegister.QueueNotify, 0);
  assertEquals(mmio.read32(MmioRegister.InterruptStatus), 0);
});

Deno.test("worker machine: an error while devices are made is the start's", async () => {
  const error = await assertRejects(
    () => create({ kind: "throws" }),
    VireoError,
    "No devices today",
  );
  assertEquals(error.code, "HOST_ERROR");
  const missing = new URL("./no_such_module.ts", import.meta.url);
  await assertRejects(
    () => WorkerMachine.create({ module: missing }),
    VireoError,
    "no_such_module",
  );
  await assertRejects(
    () => WorkerMachine.create({ module, slots: 65 }),
    RangeError,
    "Cannot make 65 slots: expected at most 64",
  );
});

Deno.test("worker machine: a thread that does not answer is a typed error, not a hang", async () => {
  const machine = await create({ kind: "stuck" }, 2000);
  const { mmio } = machine.nodes()[0]!.open();
  const error = assertThrows(() => mmio.read32(MmioRegister.Config), VireoError);
  assertEquals([error.code, error.register], ["TIMEOUT", "Config+0"]);
  assertEquals(assertThrows(() => mmio.read32(0), VireoError).code, "HOST_ERROR");
  await machine[Symbol.asyncDispose]();
});

Deno.test("worker machine: waits for interrupts end with their signal and with the machine", async () => {
  const machine = await create({ kind: "late" });
  const { interrupt } = machine.nodes()[0]!.open();
  const stop = new AbortController();
  const aborted = interrupt.wait({ signal: stop.signal, ready: () => false });
  stop.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  const cut = interrupt.wait({ signal: new AbortController().signal, ready: () => false });
  const check = assertRejects(() => cut, VireoError, "The machine was disposed");
  await machine[Symbol.asyncDispose]();
  await check;
});

Deno.test("worker machine: guest RAM is shared, and other memory refused", async () => {
  await using machine = await create({ kind: "late" });
  using region = machine.dma.alloc(64);
  region.bytes[5] = 9;
  assertEquals(machine.openMemory(region.address + 5, 1).bytes[0], 9);
  assert(region.bytes.buffer instanceof SharedArrayBuffer);
  assertEquals(assertThrows(() => machine.openMemory(0, 4), VireoError).code, "BAD_ACCESS");
});
