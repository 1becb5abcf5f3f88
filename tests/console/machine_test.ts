import { assertEquals, assertRejects } from "@std/assert";
import { Feature, VireoError } from "@vireo/hal";
import { ConsoleDevice, loopbackPort } from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { type Console, consoleDriver } from "../../drivers/console/mod.ts";
import { collect, pattern, threePorts } from "./ports.ts";

const SOON = { deadline: 20_000 };

/** How the machine and the ring are set up. */
interface Variant {
  readonly version: 1 | 2;
  readonly without: readonly number[];
}

const VARIANTS: readonly Variant[] = ([1, 2] as const).flatMap((version) => [
  { version, without: [] },
  { version, without: [Feature.INDIRECT_DESC] },
  { version, without: [Feature.EVENT_IDX] },
  { version, without: [Feature.INDIRECT_DESC, Feature.EVENT_IDX] },
]);

/** A console on a bus, on a machine: everything that is real. */
const boot = (
  model: ConsoleDevice,
  variant: Variant = VARIANTS[4]!,
): Promise<MachineRig<"con", ConsoleDevice, Console>> =>
  bootMachine("con", model, consoleDriver, variant);

for (const variant of VARIANTS) {
  const name = `version ${variant.version} without [${variant.without}]`;

  Deno.test(`machine: three ports carry 300 kB both ways at once (${name})`, async () => {
    const { device, pipes } = threePorts();
    await using rig = await boot(device, variant);
    const ports = await Promise.all([0, 1, 2].map((id) => rig.con.port(id, SOON)));
    const length = 300_000;
    await Promise.all(ports.map(async (port, i) => {
      using _opened = port.open();
      const { host } = pipes[i]!;
      const up = pattern(length, i);
      const down = pattern(length, i + 10);
      const [gotUp, gotDown] = await Promise.all([
        collect(host.readable, length),
        collect(port.readable, length),
        host.writable.getWriter().write(down),
        port.write(up, SOON),
      ]);
      assertEquals(gotUp, up);
      assertEquals(gotDown, down);
    }));
    assertEquals(rig.machine.violations(), []);
  });

  Deno.test(`machine: one port carries data, size and emergency writes (${name})`, async () => {
    const out: number[] = [];
    const device = new ConsoleDevice({
      ports: [{ backend: loopbackPort() }],
      size: { cols: 132, rows: 43 },
      emergency: (byte) => out.push(byte),
    });
    await using rig = await boot(device, variant);
    using port = (await rig.con.port(undefined, SOON)).open();
    assertEquals(port.size, { cols: 132, rows: 43 });
    const data = pattern(100_000, 1);
    const [back] = await Promise.all([collect(port.readable, data.length), port.write(data, SOON)]);
    assertEquals(back, data);
    const resized = Promise.withResolvers<unknown>();
    port.onResize(resized.resolve);
    device.resize(100, 30);
    assertEquals(await resized.promise, { cols: 100, rows: 30 });
    rig.con.emergencyWrite("!?");
    assertEquals(out, [33, 63]);
    assertEquals(rig.machine.violations(), []);
  });
}

Deno.test("machine: the bus recovers a console that needs a reset", async () => {
  const { device, pipes } = threePorts();
  await using rig = await boot(device);
  const virtio = rig.bus.devices[0]!;
  using port = (await rig.con.port(1, SOON)).open();
  const ended = assertRejects(() => port.read(SOON), VireoError);
  const recovered = virtio.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  assertEquals((await ended).code, "DEVICE_NEEDS_RESET");
  assertEquals(await recovered, 1);
  await port.hostOpened(SOON);
  const data = pattern(100_000, 2);
  const [bytes] = await Promise.all([
    collect(port.readable, data.length),
    pipes[1]!.host.writable.getWriter().write(data),
  ]);
  assertEquals(bytes, data);
});

Deno.test("machine: unbinding while a write waits ends it, and the device can be bound again", async () => {
  const { device, pipes } = threePorts();
  await using rig = await boot(device);
  const port = (await rig.con.port(1, SOON)).open();
  const cut = assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError);
  await pipes[1]!.host.readable.getReader().read();
  await rig.bus.unregisterDriver(consoleDriver);
  assertEquals((await cut).code, "PORT_CLOSED");
  await rig.bus.registerDriver(consoleDriver);
  using again = (await rig.bus.get(consoleDriver)!.port(2, SOON)).open();
  await again.hostOpened(SOON);
  const data = pattern(20_000, 3);
  const [up] = await Promise.all([
    collect(pipes[2]!.host.readable, data.length),
    again.write(data, SOON),
  ]);
  assertEquals(up, data);
});

Deno.test("machine: 511 ports are there whole, with names, however few control buffers there are", async () => {
  for (const controlQueueSize of [4, 64]) {
    const ports = Array.from(
      { length: 511 },
      (_, i) => ({ name: `p${i}`, backend: loopbackPort() }),
    );
    await using rig = await boot(new ConsoleDevice({ ports, queueSize: 2, controlQueueSize }));
    const last = await rig.con.port("p510", SOON);
    assertEquals([last.id, rig.con.ports.length], [510, 511]);
    assertEquals(rig.con.ports.map(({ name }) => name), ports.map(({ name }) => name));
  }
});
