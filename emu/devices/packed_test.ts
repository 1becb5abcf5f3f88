import { assert, assertEquals } from "@std/assert";
import { Feature, FeatureSet } from "@vireo/hal";
import { Hub } from "../backends/hub.ts";
import { MemoryDisk } from "../backends/memory_disk.ts";
import { seededRandom } from "../backends/random.ts";
import { loopbackPort } from "../backends/stream_port.ts";
import { HostPeer } from "../backends/wire.ts";
import type { DeviceModel } from "../device.ts";
import { EmulatedMachine } from "../machine.ts";
import { MockDriver } from "../testing/mod.ts";
import { BlkDevice } from "./blk/mod.ts";
import { ConsoleDevice } from "./console/mod.ts";
import { NetDevice } from "./net/mod.ts";
import { RngDevice } from "./rng/mod.ts";

/** What packed rings are tried with: size, and features that are left out. */
const CASES = [
  { queueSize: 64, without: [] },
  { queueSize: 7, without: [Feature.EVENT_IDX, Feature.IN_ORDER] },
  { queueSize: 33, without: [Feature.NOTIFICATION_DATA] },
] as const;

/** A machine with one device of packed rings, set up by a mock driver. */
function setUp(model: DeviceModel, { queueSize, without }: typeof CASES[number]) {
  const machine = EmulatedMachine.create({
    devices: [model],
    ring: { packed: true, inOrder: true, batchUsed: true, notificationData: true },
    memorySize: 1 << 20,
  });
  const driver = new MockDriver(machine);
  assertEquals(driver.init(driver.offered().minus(FeatureSet.of(...without)), { queueSize }), 15);
  assert(driver.packed.length > 0 && driver.queues.length === 0);
  return { machine, driver };
}

const blkHeader = (type: number, sector: number): Uint8Array => {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(8, sector, true);
  return bytes;
};

for (const options of CASES) {
  const name = `packed ring of ${options.queueSize} without [${options.without}]`;

  Deno.test(`${name}: the entropy device fills buffers past many wraps`, async () => {
    const { machine, driver } = setUp(new RngDevice({ random: seededRandom(5) }), options);
    const got: number[] = [];
    for (let i = 0; i < 150; i++) {
      const used = await driver.request(0, [{ write: 5 }, { write: 3 }]);
      assertEquals(used.written, 8);
      for (const part of used.bytes) got.push(...part);
    }
    const expected = new Uint8Array(1200);
    seededRandom(5)(expected);
    assertEquals(Uint8Array.from(got), expected);
    assertEquals(machine.violations(), []);
  });

  Deno.test(`${name}: the disk takes requests in lists and tables, completed in any order`, async () => {
    const disk = new MemoryDisk(new Uint8Array(64 * 512));
    const { machine, driver } = setUp(new BlkDevice({ disk, order: "reverse" }), options);
    const ring = driver.packed[0]!;
    for (let round = 0; round < 20; round++) {
      const data = new Uint8Array(512).fill(round + 1);
      const write = ring.add([{ read: blkHeader(1, round) }, { read: data }, { write: 1 }]);
      // One descriptor in the ring: it fits at every size.
      const read = ring.add(
        [{ read: blkHeader(0, (round + 1) % 20) }, { write: 512 }, { write: 1 }],
        { indirect: true },
      );
      ring.kick();
      const [wrote, got] = await driver.until(Promise.all([write, read]));
      assertEquals([wrote.written, wrote.bytes[0]![0]], [1, 0]);
      assertEquals([got.written, got.bytes[1]![0]], [513, 0]);
      assertEquals(disk.memory[round * 512], round + 1);
    }
    assertEquals(machine.violations(), []);
  });

  Deno.test(`${name}: the network device answers by merged buffers`, async () => {
    const hub = new Hub();
    using _peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
    const { machine, driver } = setUp(new NetDevice({ backend: hub.port() }), options);
    const arp = Uint8Array.from(
      "ffffffffffff525400123456080600010800060400015254001234560a00020f0000000000000a000202"
        .match(/../g)!,
      (pair) => parseInt(pair, 16),
    );
    for (let round = 0; round < 12; round++) {
      // 12 bytes of header and 42 of frame go into three buffers.
      const received = [20, 20, 20].map((write) => driver.packed[0]!.add([{ write }]));
      driver.packed[0]!.kick();
      const sent = await driver.request(1, [{ read: new Uint8Array(12) }, { read: arp }]);
      assertEquals(sent.written, 0);
      const used = await driver.until(Promise.all(received));
      assertEquals(used.map(({ written }) => written), [20, 20, 14]);
      assertEquals(used[0]!.bytes[0]![10], 3);
      assertEquals([...used[0]!.bytes[0]!.subarray(12, 18)], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    }
    assertEquals(machine.violations(), []);
  });

  Deno.test(`${name}: the console gives back what was written`, async () => {
    const model = new ConsoleDevice({ ports: [{ backend: loopbackPort() }] });
    const { machine, driver } = setUp(model, options);
    for (let round = 0; round < 25; round++) {
      const received = driver.packed[0]!.add([{ write: 16 }]);
      driver.packed[0]!.kick();
      await driver.request(1, [{ read: Uint8Array.of(round, 1) }, { read: Uint8Array.of(2) }]);
      const used = await driver.until(received);
      assertEquals([...used.bytes[0]!.subarray(0, used.written)], [round, 1, 2]);
    }
    assertEquals(machine.violations(), []);
  });
}
