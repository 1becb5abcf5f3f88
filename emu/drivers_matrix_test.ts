import { assert, assertEquals } from "@std/assert";
import { blkDriver, Bus, consoleDriver, createNetDriver, ping, rngDriver } from "@vireo/drivers";
import { Feature, FeatureSet } from "@vireo/hal";
import { Hub } from "./backends/hub.ts";
import { MemoryDisk } from "./backends/memory_disk.ts";
import { seededRandom } from "./backends/random.ts";
import { loopbackPort } from "./backends/stream_port.ts";
import { HostPeer } from "./backends/wire.ts";
import { BlkDevice } from "./devices/blk/mod.ts";
import { ConsoleDevice } from "./devices/console/mod.ts";
import { NetDevice } from "./devices/net/mod.ts";
import { RngDevice } from "./devices/rng/mod.ts";
import { EmulatedMachine } from "./machine.ts";
import type { RingOptions } from "./offer.ts";

const SOON = { deadline: 20_000 };
const netDriver = createNetDriver();

const NAMES: Readonly<Record<string, number>> = {
  packed: Feature.RING_PACKED,
  indirect: Feature.INDIRECT_DESC,
  eventIdx: Feature.EVENT_IDX,
  inOrder: Feature.IN_ORDER,
  notificationData: Feature.NOTIFICATION_DATA,
};

/** Everything that is on or off, with every combination of it. */
const COMBINATIONS = Object.keys(NAMES).reduce<RingOptions[]>(
  (all, name) => [...all, ...all.map((options) => ({ ...options, [name]: true }))],
  [{ indirect: false, eventIdx: false }],
);

/** Runs four drivers against their devices, and gives the ring features that were agreed on. */
async function drive(ring: RingOptions): Promise<number[]> {
  const disk = new MemoryDisk(new Uint8Array(512 * 1024));
  const hub = new Hub();
  using _peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
  await using machine = EmulatedMachine.create({
    devices: [
      new RngDevice({ random: seededRandom(9), maxBytes: 100 }),
      new BlkDevice({ disk, order: "reverse" }),
      new NetDevice({ backend: hub.port() }),
      new ConsoleDevice({ ports: [{ backend: loopbackPort() }] }),
    ],
    ring,
    memorySize: 8 << 20,
  });
  const reports: Error[] = [];
  const agreed: number[] = [];
  {
    await using bus = new Bus({ onError: (error) => reports.push(error) });
    for (const driver of [rngDriver, blkDriver, netDriver, consoleDriver]) {
      await bus.registerDriver(driver);
    }
    for (const device of await bus.addPlatform(machine)) {
      assertEquals(device.error, undefined);
      agreed.push(...Object.values(NAMES).filter((bit) => device.has(bit)));
    }
    const expected = new Uint8Array(3000);
    seededRandom(9)(expected);
    assertEquals(await bus.get(rngDriver)!.read(3000, SOON), expected);

    const blk = bus.get(blkDriver)!;
    const data = Uint8Array.from({ length: 65536 }, (_, i) => i * 31 >> 3);
    const pieces = Array.from({ length: 16 }, (_, i) => data.subarray(i * 4096, (i + 1) * 4096));
    await Promise.all(pieces.map((piece, i) => blk.write(8 * i, piece)));
    assertEquals(await blk.read(0, data.length), data);
    assertEquals(disk.memory.subarray(0, data.length), data);

    const net = bus.get(netDriver)!;
    const options = { source: "10.0.2.15", target: "10.0.2.2", count: 10, size: 1000, ...SOON };
    assertEquals((await ping(net, options)).replies.length, 10);

    using port = (await bus.get(consoleDriver)!.port(undefined, SOON)).open();
    const text = data.subarray(0, 20_000);
    const sent = port.write(text, SOON);
    for (let at = 0; at < text.length;) {
      const part = await port.read(SOON);
      assert(part !== null);
      assertEquals(part, text.subarray(at, at + part.length));
      at += part.length;
    }
    await sent;
  }
  assertEquals([machine.violations(), reports], [[], []]);
  return [...FeatureSet.of(...agreed)];
}

const everything = COMBINATIONS.at(-1)!;
/** What the drivers know at least. */
const KNOWN = Object.values(NAMES);
let known: number[] | undefined;

const batches = COMBINATIONS.filter(({ inOrder }) => inOrder)
  .map((ring) => ({ ...ring, batchUsed: true }));

for (const ring of [...COMBINATIONS, ...batches]) {
  const on = Object.keys(NAMES).filter((name) => ring[name as keyof RingOptions]);
  Deno.test(
    `four drivers where rings offer [${on.join(", ")}]${
      ring.batchUsed ? " in batches" : ""
    }: they agree on all that they know, and work`,
    async () => {
      const bits = on.map((name) => NAMES[name]!);
      // What the drivers do not know they leave; what they agree to when all is offered, they know.
      known ??= await drive(everything);
      for (const bit of KNOWN) assert(known.includes(bit));
      assertEquals(await drive(ring), known.filter((bit) => bits.includes(bit)));
    },
  );
}
