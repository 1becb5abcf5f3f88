// SUSPEND (virtio 1.4 §3.4): our bus and drivers on emulated devices, and the device by its registers.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { blkDriver } from "@vireo/drivers/blk";
import { Bus } from "@vireo/drivers/bus";
import { consoleDriver } from "@vireo/drivers/console";
import {
  BlkDevice,
  ConsoleDevice,
  type DeviceModel,
  EmulatedMachine,
  type HostedDevice,
  loopbackPort,
  MemoryDisk,
  type RingOptions,
} from "@vireo/emu";
import { Feature, VireoError } from "@vireo/hal";

const SOON = { deadline: 5000 };
// Typed from virtio 1.4 §2.1.
const [DRIVER_OK, SUSPEND, NEEDS_RESET] = [4, 16, 64] as const;
const RUNNING = 0xf;
const ASLEEP = RUNNING & ~DRIVER_OK | SUSPEND;

interface Rig extends AsyncDisposable {
  readonly machine: EmulatedMachine;
  readonly bus: Bus;
}

async function boot(
  model: DeviceModel,
  ring: RingOptions = {},
  bus: "mmio" | "pci" = "mmio",
): Promise<Rig> {
  const stack = new AsyncDisposableStack();
  const machine = stack.use(
    EmulatedMachine.create({ bus, devices: [model], ring: { suspend: true, ...ring } }),
  );
  const drivers = stack.use(new Bus());
  await drivers.registerDriver(blkDriver);
  await drivers.registerDriver(consoleDriver);
  await drivers.addPlatform(machine);
  return { machine, bus: drivers, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const disk = (): BlkDevice => new BlkDevice({ disk: new MemoryDisk(1 << 20), writeCache: true });

const VARIANTS: readonly (readonly [string, RingOptions, "mmio" | "pci"])[] = [
  ["split", {}, "mmio"],
  ["packed", { packed: true }, "mmio"],
  ["without EVENT_IDX", { eventIdx: false }, "mmio"],
  ["notification data", { notificationData: true }, "mmio"],
  ["in order on PCI", { inOrder: true, packed: true }, "pci"],
];

for (const [name, ring, transport] of VARIANTS) {
  Deno.test(`suspend: a device keeps its queues and answers what was asked meanwhile, ${name} (drv.basic.suspend.2-4, drv.basic.suspend.6)`, async () => {
    await using rig = await boot(disk(), ring, transport);
    const { bus, machine } = rig;
    const blk = bus.get(blkDriver)!;
    const device = bus.devices[0]!;
    assert(device.has(Feature.SUSPEND));
    await blk.write(0, new Uint8Array(512).fill(7), SOON);
    for (let i = 0; i < 3; i++) {
      await bus.suspend(device, SOON);
      assertEquals([device.suspended, machine.device(0).status], [true, ASLEEP]);
      const read = blk.read(0, 512, SOON);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assertEquals(
        device.queues[0]!.inFlight,
        1,
        "it is in the ring, and the device does not see it",
      );
      await bus.resume(device, SOON);
      assertEquals([device.suspended, machine.device(0).status], [false, RUNNING]);
      assertEquals(await read, new Uint8Array(512).fill(7));
    }
    // Twice is once.
    await bus.suspend(device, SOON);
    await bus.suspend(device, SOON);
    await bus.resume(device, SOON);
    await bus.resume(device, SOON);
    assertEquals(await blk.read(0, 512, SOON), new Uint8Array(512).fill(7));
    assertEquals(machine.violations(), []);
  });
}

Deno.test("suspend: the configuration is left alone, and a change is told afterwards (drv.basic.suspend.5, dev.basic.suspend.3-5)", async () => {
  const model = disk();
  await using rig = await boot(model);
  const { bus, machine } = rig;
  const device = bus.devices[0]!;
  const blk = bus.get(blkDriver)!;
  await bus.suspend(device, SOON);
  const interrupts = machine.device(0).interruptStatus;
  model.resize((2 << 20) / 512);
  assertEquals(machine.device(0).interruptStatus, interrupts, "no interrupt");
  assertThrows(
    () => device.config.read32(0),
    VireoError,
    "Cannot access the configuration: the device is suspended",
  );
  // What the device shows is what was, though nobody may look.
  assertEquals(device.transport.readConfig(0, 4), (1 << 20) / 512);
  assertEquals(machine.violations().map(({ rule }) => rule), ["drv.basic.suspend.5"]);
  await bus.resume(device, SOON);
  const end = performance.now() + SOON.deadline;
  while (blk.capacity === 1 << 20 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  assertEquals(blk.capacity, 2 << 20);
});

Deno.test("suspend: received data waits, and what a console holds is taken again", async () => {
  const port = loopbackPort();
  await using rig = await boot(new ConsoleDevice({ ports: [{ backend: port }] }));
  const { bus, machine } = rig;
  const terminal = await bus.get(consoleDriver)!.port();
  await terminal.open();
  await terminal.write(new TextEncoder().encode("before"));
  assertEquals(new TextDecoder().decode((await terminal.read(SOON))!), "before");
  await bus.suspend(undefined, SOON);
  assertEquals(machine.device(0).status, ASLEEP);
  const sent = terminal.write(new TextEncoder().encode("after"));
  await bus.resume(undefined, SOON);
  await sent;
  assertEquals(new TextDecoder().decode((await terminal.read(SOON))!), "after");
  assertEquals(machine.violations(), []);
});

Deno.test("suspend: a request that the device has is answered first (dev.basic.suspend.8)", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20), order: "held" });
  await using rig = await boot(model);
  const { bus, machine } = rig;
  const read = bus.get(blkDriver)!.read(0, 512, SOON);
  while (model.held === 0) await new Promise((resolve) => setTimeout(resolve));
  const suspended = bus.suspend(bus.devices[0]!, SOON);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals(machine.device(0).status, RUNNING, "it is not suspended yet");
  model.release();
  await suspended;
  assertEquals(machine.device(0).status, ASLEEP);
  assertEquals((await read).length, 512);
});

Deno.test("suspend: a device without it, or one that does not run, is refused; a reset ends it", async () => {
  await using without = await boot(disk(), { suspend: false });
  const lacks = await assertRejects(
    () => without.bus.suspend(),
    VireoError,
    "it must offer SUSPEND",
  );
  assertEquals(lacks.code, "UNSUPPORTED");
  await using rig = await boot(disk());
  const { bus } = rig;
  await bus.suspend(undefined, SOON);
  await bus.recover(bus.devices[0]!);
  assertEquals(bus.devices[0]!.suspended, false);
  assertEquals((await bus.get(blkDriver)!.read(0, 512, SOON)).length, 512);
});

Deno.test("suspend: a device that fails instead is recovered (dev.basic.suspend.6)", async () => {
  await using rig = await boot(disk());
  const { bus, machine } = rig;
  const hosted = machine.device(0);
  const suspended = bus.suspend(undefined, SOON);
  hosted.fault("it cannot");
  let asleep: boolean | undefined;
  const error = await assertRejects(
    () => suspended.finally(() => asleep = bus.devices[0]!.suspended),
    VireoError,
  );
  assertEquals([error.code, asleep], ["DEVICE_NEEDS_RESET", false]);
  await bus.devices[0]!.recovered({ after: 0, ...SOON });
  assertEquals(hosted.status & NEEDS_RESET, 0);
  assertEquals((await bus.get(blkDriver)!.read(0, 512, SOON)).length, 512);
});

/** A device by its registers, brought up as far as DRIVER_OK. */
function raw(): { machine: EmulatedMachine; hosted: HostedDevice; run(): void } {
  const machine = EmulatedMachine.create({ devices: [{ model: disk(), ring: { suspend: true } }] });
  const hosted = machine.device(0);
  return {
    machine,
    hosted,
    run() {
      for (const status of [1, 3]) hosted.writeStatus(status);
      hosted.writeFeatures(1, 1 | 1 << (Feature.SUSPEND - 32));
      for (const status of [11, 15]) hosted.writeStatus(status);
      assertEquals(hosted.readStatus(), RUNNING);
    },
  };
}

Deno.test("suspend: SUSPEND is disregarded until all is initialized (dev.basic.suspend.1)", async () => {
  const { machine, hosted, run } = raw();
  await using _machine = machine;
  for (const status of [SUSPEND, SUSPEND | 1]) hosted.writeStatus(status);
  assertEquals(hosted.readStatus(), 1);
  hosted.reset();
  run();
  hosted.reset();
  for (const status of [1, 3]) hosted.writeStatus(status);
  hosted.writeFeatures(1, 1 | 1 << (Feature.SUSPEND - 32));
  hosted.writeStatus(11);
  hosted.writeStatus(11 | SUSPEND);
  assertEquals(hosted.readStatus(), 11);
  // All at once: the bit comes before the end of the initialization.
  hosted.writeStatus(RUNNING | SUSPEND);
  assertEquals(hosted.readStatus(), RUNNING);
  assertEquals(
    machine.violations().filter(({ rule }) => rule === "drv.basic.suspend.1").length,
    2,
  );
});

Deno.test("suspend: writes of the configuration are dropped, notifications noted (dev.basic.suspend.2, dev.basic.suspend.3)", async () => {
  const { machine, hosted, run } = raw();
  await using _machine = machine;
  run();
  hosted.writeStatus(RUNNING | SUSPEND);
  assertEquals(hosted.readStatus(), ASLEEP);
  const before = hosted.generation;
  hosted.writeConfig(32, 1, 0);
  hosted.notify(0);
  assertEquals(machine.violations().map(({ rule, register }) => [register, rule]), [
    ["Config+32", "drv.basic.suspend.5"],
    ["QueueNotify", undefined],
  ]);
  hosted.writeStatus(ASLEEP);
  assertEquals([hosted.readStatus(), hosted.generation], [ASLEEP, before]);
  hosted.writeStatus(ASLEEP | DRIVER_OK);
  assertEquals(hosted.readStatus(), RUNNING);
});

Deno.test("suspend: a device that failed meanwhile says so when it is to go on (dev.basic.suspend.7)", async () => {
  const { machine, hosted, run } = raw();
  await using _machine = machine;
  run();
  hosted.writeStatus(RUNNING | SUSPEND);
  assertEquals(hosted.readStatus(), ASLEEP);
  hosted.fault("its memory is gone");
  assertEquals([hosted.readStatus(), hosted.interruptStatus], [ASLEEP | NEEDS_RESET, 0]);
  hosted.writeStatus(ASLEEP | DRIVER_OK);
  assertEquals([hosted.readStatus(), hosted.interruptStatus], [RUNNING | NEEDS_RESET, 2]);
});

Deno.test("suspend: a snapshot of a device that is suspended is one", async () => {
  const { machine, hosted, run } = raw();
  await using _machine = machine;
  run();
  hosted.writeStatus(RUNNING | SUSPEND);
  assertEquals(hosted.readStatus(), ASLEEP);
  hosted.configChanged();
  const state = structuredClone(hosted.snapshot());
  hosted.reset();
  hosted.restore(state);
  assertEquals([hosted.readStatus(), hosted.interruptStatus], [ASLEEP, 0]);
  hosted.writeStatus(ASLEEP | DRIVER_OK);
  assertEquals([hosted.readStatus(), hosted.interruptStatus], [RUNNING, 2]);
  // One that says nothing of a change has none to tell.
  const { changeDue, ...silent } = state;
  assertEquals(changeDue, true);
  hosted.reset();
  hosted.restore(silent);
  hosted.writeStatus(ASLEEP | DRIVER_OK);
  assertEquals([hosted.readStatus(), hosted.interruptStatus], [RUNNING, 0]);
});
