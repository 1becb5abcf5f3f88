import { assert, assertEquals } from "@std/assert";
import { Feature } from "@vireo/hal";
import { MemoryDisk } from "../../backends/memory_disk.ts";
import { EmulatedMachine } from "../../machine.ts";
import { MockDriver } from "../../testing/mock_driver.ts";
import type { MockSegment } from "../../testing/mock_segments.ts";
import { BlkDevice, type BlkStats } from "./device.ts";
import { header } from "../../testing/fake_host.ts";

function setUp(version: 1 | 2): {
  mock: MockDriver;
  disk: MemoryDisk;
  model: BlkDevice;
  stats: BlkStats;
} {
  const disk = new MemoryDisk(Uint8Array.from({ length: 64 * 512 }, (_, i) => 1 + (i >> 9)));
  const model = new BlkDevice({ disk });
  const machine = EmulatedMachine.create({ devices: [{ model, version }] });
  const mock = new MockDriver(machine);
  mock.init();
  return { mock, disk, model, stats: model.stats };
}

/** Cuts bytes into elements of so many bytes. */
function cut(bytes: Uint8Array, ...sizes: number[]): MockSegment[] {
  let at = 0;
  return sizes.map((size) => ({ read: bytes.slice(at, at += size) }));
}

for (const version of [1, 2] as const) {
  Deno.test(`version ${version}: header, data and status may be split anywhere`, async () => {
    const { mock, disk } = setUp(version);
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i % 253);
    const out = new Uint8Array([...header(1, 10), ...data]);
    for (const sizes of [[1040], [1, 7, 8, 1024], [16, 1024], [20, 1, 1019], [3, 500, 0, 537]]) {
      disk.memory.fill(0, 5120, 6144);
      const used = await mock.request(0, [...cut(out, ...sizes), { write: 1 }]);
      assertEquals([used.written, used.bytes[0]![0]], [1, 0], `cut as ${sizes}`);
      assertEquals(disk.memory.subarray(5120, 6144), data, `cut as ${sizes}`);
    }
    for (const sizes of [[1025], [1024, 1], [1, 1023, 1], [512, 513], [1000, 0, 24, 1]]) {
      const writes = sizes.map((write) => ({ write }));
      const used = await mock.request(0, [...cut(header(0, 10), 5, 11), ...writes]);
      const got = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
      let at = 0;
      sizes.forEach((size, i) => {
        got.set(used.bytes[i]!.subarray(0, size), at);
        at += size;
      });
      assertEquals([used.written, got[1024]], [1025, 0], `cut as ${sizes}`);
      assertEquals(got.subarray(0, 1024), data, `cut as ${sizes}`);
    }
  });

  Deno.test(`version ${version}: a chain without header or status needs a reset`, async () => {
    const { mock, stats } = setUp(version);
    for (const chain of [[{ read: new Uint8Array(15) }, { write: 1 }], [{ read: header(0, 0) }]]) {
      mock.init();
      void mock.queues[0]!.add(chain);
      mock.queues[0]!.kick();
      assert(mock.needsReset);
      mock.interrupt();
      mock.init();
      assert(!mock.needsReset);
      const used = await mock.request(0, [{ read: header(0, 1) }, { write: 513 }]);
      assertEquals([used.bytes[0]![0], used.bytes[0]![512]], [2, 0]);
    }
    assertEquals(stats.reads, 2);
  });

  Deno.test(`version ${version}: a resize moves the capacity with a config interrupt`, () => {
    const { mock, model } = setUp(version);
    assertEquals([...mock.config(0, 8)], [64, 0, 0, 0, 0, 0, 0, 0]);
    model.resize(300);
    mock.interrupt();
    assertEquals([mock.configChanges, ...mock.config(0, 8)], [1, 44, 1, 0, 0, 0, 0, 0, 0]);
  });
}

Deno.test("the device offers every block feature that its options allow", () => {
  const { mock } = setUp(2);
  assert(mock.offered().has(Feature.VERSION_1));
  assertEquals([...mock.offered()].filter((bit) => bit < 24), [1, 2, 4, 6, 9, 10, 11, 13, 14, 16]);
});
