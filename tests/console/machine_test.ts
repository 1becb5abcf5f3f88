import { assertEquals, assertRejects } from "@std/assert";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";

import {
  ConsoleDevice,
  EmulatedMachine,
  loopbackPort,
  type StreamPipe,
  streamPipe,
} from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import { type Console, consoleDriver } from "../../drivers/console/mod.ts";

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
class Rig implements AsyncDisposable {
  readonly machine: EmulatedMachine;
  readonly bus: Bus;

  private constructor(model: ConsoleDevice, { version, without }: Variant) {
    this.machine = EmulatedMachine.create({ devices: [{ model, version }] });
    this.bus = new Bus({ filter: FeatureSet.of(...without) });
  }

  static async boot(model: ConsoleDevice, variant: Variant = VARIANTS[4]!): Promise<Rig> {
    const rig = new Rig(model, variant);
    await rig.bus.registerDriver(consoleDriver);
    await rig.bus.addPlatform(rig.machine);
    assertEquals(rig.bus.slotErrors, []);
    return rig;
  }

  get con(): Console {
    return this.bus.get(consoleDriver)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    await this.machine[Symbol.asyncDispose]();
  }
}

function pattern(length: number, seed: number): Uint8Array {
  let x = (seed + 1) * 0x9e3779b1 | 0;
  return Uint8Array.from({ length }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x & 0xff;
  });
}

async function collect(stream: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const reader = stream.getReader();
  let at = 0;
  while (at < length) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, at);
    at += value.length;
  }
  reader.releaseLock();
  return bytes.subarray(0, at);
}

function threePorts(): { device: ConsoleDevice; pipes: StreamPipe[] } {
  const pipes = [streamPipe(), streamPipe(), streamPipe()];
  const device = new ConsoleDevice({
    maxPorts: 6,
    size: { cols: 80, rows: 25 },
    ports: pipes.map((pipe, i) => ({ name: `port${i}`, console: i === 0, backend: pipe.device })),
  });
  return { device, pipes };
}

for (const variant of VARIANTS) {
  const name = `version ${variant.version} without [${variant.without}]`;

  Deno.test(`machine: three ports carry 300 kB both ways at once (${name})`, async () => {
    const { device, pipes } = threePorts();
    await using rig = await Rig.boot(device, variant);
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
    await using rig = await Rig.boot(device, variant);
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
  await using rig = await Rig.boot(device);
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
  await using rig = await Rig.boot(device);
  const port = (await rig.con.port(1, SOON)).open();
  const cut = assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError);
  await pipes[1]!.host.readable.getReader().read();
  await rig.bus.unregisterDriver(consoleDriver);
  assertEquals((await cut).code, "PORT_CLOSED");
  await rig.bus.registerDriver(consoleDriver);
  using again = (await rig.con.port(2, SOON)).open();
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
    await using rig = await Rig.boot(new ConsoleDevice({ ports, queueSize: 2, controlQueueSize }));
    const last = await rig.con.port("p510", SOON);
    assertEquals([last.id, rig.con.ports.length], [510, 511]);
    assertEquals(rig.con.ports.map(({ name }) => name), ports.map(({ name }) => name));
  }
});
