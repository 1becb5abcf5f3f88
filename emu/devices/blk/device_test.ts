import { assert, assertEquals, assertThrows } from "@std/assert";
import { BlkFeature, FeatureSet } from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";
import { MemoryDisk } from "../../backends/memory_disk.ts";
import type { BlkDeviceOptions } from "./config.ts";
import { BlkDevice } from "./device.ts";
import { FakeChain, FakeHost, header } from "../../testing/fake_host.ts";

const NONE = new Uint8Array(0);
const OK = 0;
const IOERR = 1;
const UNSUPP = 2;

/** A disk of 64 sectors, each filled with its number plus one. */
function disk(): MemoryDisk {
  return new MemoryDisk(Uint8Array.from({ length: 64 * 512 }, (_, i) => 1 + (i >> 9)));
}

function make(
  options?: Partial<BlkDeviceOptions>,
  features?: FeatureSet,
): { device: BlkDevice; host: FakeHost } {
  const device = new BlkDevice({ disk: disk(), ...options });
  return { device, host: new FakeHost(device, features ?? device.features) };
}

function ranges(...list: [sector: number, sectors: number, flags: number][]): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  list.forEach(([sector, sectors, flags], i) => {
    view.setBigUint64(16 * i, BigInt(sector), true);
    view.setUint32(16 * i + 8, sectors, true);
    view.setUint32(16 * i + 12, flags, true);
  });
  return bytes;
}

Deno.test("IN reads sectors and its used length covers the status byte", () => {
  const { device, host } = make();
  const chain = host.request(0, 5, NONE, 1025);
  assertEquals([chain.status, chain.used, host.signals], [OK, 1025, 1]);
  assertEquals(chain.data, new Uint8Array(1024).fill(6).fill(7, 512));
  assertEquals([device.stats.reads, device.stats.bytesRead], [1, 1024]);
});

Deno.test("OUT writes sectors", () => {
  const { device, host } = make();
  const chain = host.request(1, 63, new Uint8Array(512).fill(0xab), 1);
  assertEquals([chain.status, chain.used], [OK, 1]);
  assertEquals((device.disk as MemoryDisk).memory[63 * 512], 0xab);
  assertEquals((device.disk as MemoryDisk).memory[62 * 512], 63);
});

Deno.test("dev.blk.operation: a transfer outside the disk or of part of a block is IOERR", () => {
  const { device, host } = make();
  for (const [sector, bytes] of [[64, 512], [63, 1024], [2 ** 52, 512], [0, 100], [0, 511]]) {
    const chain = host.request(0, sector!, NONE, bytes! + 1);
    assertEquals(chain.status, IOERR);
    // What precedes a status that is covered by the used length was written: no stale memory.
    assertEquals([chain.used, chain.data.every((byte) => byte === 0)], [bytes! + 1, true]);
    assertEquals(host.request(1, sector!, new Uint8Array(bytes!), 1).status, IOERR);
  }
  assertEquals([device.stats.ioErrors, device.stats.reads, device.stats.writes], [10, 0, 0]);
  const large = make({ blockSize: 4096 }).host;
  assertEquals(large.request(0, 1, NONE, 4097).status, IOERR);
  assertEquals(large.request(0, 8, NONE, 513).status, IOERR);
  assertEquals(large.request(0, 8, NONE, 4097).status, OK);
});

Deno.test("dev.blk.operation.2 and .3: a read-only device fails writes and writes nothing", () => {
  const { device, host } = make({ readOnly: true });
  assert(device.features.has(BlkFeature.RO));
  const before = (device.disk as MemoryDisk).snapshot();
  assertEquals(host.request(1, 0, new Uint8Array(512), 1).status, IOERR);
  for (const type of [11, 13, 14]) {
    assertEquals(host.request(type, 0, ranges([0, 8, 0]), 1).status, IOERR);
  }
  assertEquals((device.disk as MemoryDisk).memory, before);
  assertEquals(host.request(0, 0, NONE, 513).status, OK);
  assertThrows(
    () => new BlkDevice({ disk: new MemoryDisk(512, { readOnly: true }), readOnly: false }),
    RangeError,
  );
});

Deno.test("a chain without a whole header or a status byte is a guest fault", () => {
  const { host } = make();
  host.send(0, new FakeChain(new Uint8Array(15), NONE, 513));
  host.send(0, new FakeChain(header(0, 0), NONE, 0));
  assertEquals(host.faults.length, 2);
  assert(host.faults[0]!.includes("header of 15 bytes"));
  assert(host.faults[1]!.includes("status"));
  assertEquals([host.done, host.signals], [[], 0]);
});

Deno.test("GET_ID gives exactly 20 bytes", () => {
  const { host } = make({ serial: "0123456789abcdefghijKLM" });
  const chain = host.request(8, 0, NONE, 21);
  assertEquals([chain.status, new TextDecoder().decode(chain.data)], [OK, "0123456789abcdefghij"]);
  const short = make({ serial: "ab" }).host.request(8, 0, NONE, 21);
  assertEquals([...short.data], [97, 98, ...new Array(18).fill(0)]);
  for (const length of [1, 20, 22, 41]) {
    assertEquals(host.request(8, 0, NONE, length).status, IOERR);
  }
});

Deno.test("FLUSH reaches the disk; without the feature it is UNSUPP; FLUSH_OUT is the same on legacy disks (drv.blk.legacy-operation.3)", () => {
  let flushes = 0;
  const storage = disk();
  storage.flush = () => void flushes++;
  const { device, host } = make({ disk: storage });
  assertEquals([host.request(4, 0, NONE, 1).status, flushes], [OK, 1]);
  assertEquals(host.request(5, 0, NONE, 1).status, UNSUPP);
  const without = new FakeHost(device, device.features.without(BlkFeature.FLUSH));
  assertEquals(without.request(4, 0, NONE, 1).status, UNSUPP);
  const legacy = new FakeHost(device, device.features, true);
  assertEquals([legacy.request(5, 0, NONE, 1).status, flushes], [OK, 2]);
});

Deno.test("dev.blk.operation.9: without a write cache a write is flushed before it completes", () => {
  let flushes = 0;
  const storage = disk();
  storage.flush = () => void flushes++;
  const { device, host } = make({ disk: storage });
  const write = (on: FakeHost): number => {
    flushes = 0;
    on.request(1, 0, new Uint8Array(512), 1);
    return flushes;
  };
  assertEquals([device.writeback, write(host)], [true, 0]);
  device.writeConfig(32, 1, 0);
  assertEquals([device.readConfig(32, 1), device.writeback, write(host)], [0, false, 1]);
  device.writeConfig(32, 1, 7);
  assertEquals([device.readConfig(32, 1), write(host)], [1, 0]);
  const { FLUSH, CONFIG_WCE } = BlkFeature;
  device.writeConfig(32, 1, 0);
  const flush = new FakeHost(device, device.features.without(CONFIG_WCE));
  assertEquals(write(flush), 0);
  const neither = new FakeHost(device, device.features.without(CONFIG_WCE, FLUSH));
  assertEquals(write(neither), 1);
  // dev.blk.init.3
  device.writeConfig(32, 1, 1);
  const noFlush = new FakeHost(device, device.features.without(FLUSH));
  assertEquals([device.readConfig(32, 1), write(noFlush)], [0, 1]);
  device.reset();
  assertEquals(device.readConfig(32, 1), 1);
});

Deno.test("only writeback can be written", () => {
  const { device } = make();
  const before = Array.from({ length: 72 }, (_, i) => device.readConfig(i, 1));
  for (let i = 0; i < 72; i++) if (i !== 32) device.writeConfig(i, 1, 0xff);
  device.writeConfig(32, 4, 0);
  assertEquals(Array.from({ length: 72 }, (_, i) => device.readConfig(i, 1)), before);
});

Deno.test("dev.blk.init.2: CONFIG_WCE is not offered without FLUSH", () => {
  const { device } = make({ withhold: [BlkFeature.FLUSH] });
  assert(!device.features.has(BlkFeature.CONFIG_WCE));
  device.writeConfig(32, 1, 0);
  assertEquals(device.readConfig(32, 1), 1);
});

Deno.test("dev.blk.operation.6: write zeroes reads back as zeroes, unmap or not", () => {
  for (const flags of [0, 1]) {
    const { device, host } = make();
    assertEquals(host.request(13, 0, ranges([2, 1, flags], [4, 2, flags]), 1).status, OK);
    const { memory } = device.disk as MemoryDisk;
    assertEquals([1, 2, 3, 4, 5, 6].map((sector) => memory[sector * 512]), [2, 0, 4, 0, 0, 7]);
    assertEquals(device.stats.ranges, 1);
  }
});

Deno.test("dev.blk.operation.4 and .5: unknown flags, and unmap in discard, are UNSUPP", () => {
  const { device, host } = make();
  const before = (device.disk as MemoryDisk).snapshot();
  for (const [type, flags] of [[11, 1], [11, 2], [13, 2], [13, 3], [14, 1], [14, 0x80000000]]) {
    const payload = ranges([0, 8, 0], [8, 8, flags!]);
    assertEquals(host.request(type!, 0, payload, 1).status, UNSUPP);
  }
  assertEquals((device.disk as MemoryDisk).memory, before, "a refused request changes nothing");
  assertEquals(device.stats.unsupported, 6);
});

Deno.test("range requests beyond their bounds are IOERR and change nothing", () => {
  const limits = { maxSectors: 8, maxSegments: 2, alignment: 4 };
  const { device, host } = make({ discard: limits, writeZeroes: limits, secureErase: limits });
  const before = (device.disk as MemoryDisk).snapshot();
  for (const type of [11, 13, 14]) {
    for (
      const payload of [
        NONE,
        new Uint8Array(15),
        new Uint8Array(24),
        ranges([0, 9, 0]),
        ranges([60, 8, 0]),
        ranges([64, 4, 0]),
        ranges([0, 4, 0], [2 ** 40, 4, 0]),
        ranges([0, 4, 0], [4, 4, 0], [8, 4, 0]),
      ]
    ) {
      assertEquals(host.request(type, 0, payload, 1).status, IOERR);
    }
    assertEquals(host.request(type, 0, ranges([1, 4, 0]), 1).status, type === 14 ? IOERR : OK);
    (device.disk as MemoryDisk).restore(before);
    assertEquals(host.request(type, 0, ranges([60, 4, 0]), 1).status, OK);
    (device.disk as MemoryDisk).restore(before);
  }
});

Deno.test("requests that were not negotiated, or are not known, are UNSUPP", () => {
  const { host } = make({}, FeatureSet.of(32));
  for (const type of [10, 11, 13, 14]) {
    assertEquals(host.request(type, 0, ranges([0, 1, 0]), 7).status, UNSUPP);
  }
  // dev.blk.operation.13: zone requests, and the legacy SCSI and barrier ones.
  for (const type of [2, 3, 15, 16, 18, 20, 22, 24, 26, 99, 0x80000000, 0xffffffff]) {
    assertEquals(host.request(type, 0, NONE, 513).status, UNSUPP);
  }
});

Deno.test("LIFETIME is offered with figures only, none of them reserved (dev.blk.operation.10-12)", () => {
  const lifetime = { preEolInfo: 3, estTypA: 2, estTypB: 11 };
  for (
    const [name, most] of [["preEolInfo", 3], ["estTypA", 11], ["estTypB", 11]] as const
  ) {
    for (const value of [-1, most + 1, 1.5]) {
      assertThrows(() => make({ lifetime: { ...lifetime, [name]: value } }), RangeError, name);
    }
  }
  const { host } = make({ lifetime });
  const chain = host.request(10, 0, NONE, 7);
  assertEquals([chain.status, ...chain.data], [OK, 3, 0, 2, 0, 11, 0]);
  assertEquals(host.request(10, 0, NONE, 6).status, IOERR);
  assert(!make().device.features.has(BlkFeature.LIFETIME));
});

Deno.test("the configuration space shows the options", () => {
  const { device } = make({
    queues: 3,
    blockSize: 1024,
    sizeMax: 4096,
    segMax: 9,
    geometry: { cylinders: 7, heads: 5, sectors: 3 },
    topology: { physicalBlockExp: 2, alignmentOffset: 1, minIoSize: 4, optIoSize: 8 },
    discard: { maxSectors: 1, maxSegments: 2, alignment: 3 },
    writeZeroes: { maxSectors: 4, maxSegments: 5, mayUnmap: false },
    secureErase: { maxSectors: 6, maxSegments: 7, alignment: 8 },
    writeCache: false,
  });
  const u32 = (at: number): number => device.readConfig(at, 4);
  assertEquals([u32(0), u32(4), u32(8), u32(12)], [64, 0, 4096, 9]);
  assertEquals([device.readConfig(16, 2), device.readConfig(18, 1), device.readConfig(19, 1)], [
    7,
    5,
    3,
  ]);
  assertEquals([u32(20), device.readConfig(24, 1), device.readConfig(25, 1)], [1024, 2, 1]);
  assertEquals([device.readConfig(26, 2), u32(28), device.readConfig(32, 1)], [4, 8, 0]);
  assertEquals(device.readConfig(34, 2), 3);
  assertEquals([36, 40, 44, 48, 52].map(u32), [1, 2, 3, 4, 5]);
  assertEquals(device.readConfig(56, 1), 0);
  assertEquals([60, 64, 68].map(u32), [6, 7, 8]);
  assertEquals(device.queues.map((queue) => queue.name), ["requestq1", "requestq2", "requestq3"]);
  assertEquals(
    [...device.features],
    [1, 2, 4, 6, 9, 10, 11, 12, 13, 14, 16],
  );
  for (const bad of [{ blockSize: 100 }, { blockSize: 1 << 17 }, { queues: 0 }]) {
    assertThrows(() => make(bad), RangeError);
  }
});

Deno.test("dev.blk.operation.1: resize changes the capacity and says so", () => {
  const { device, host } = make();
  device.resize(100);
  assertEquals([device.readConfig(0, 4), device.capacity, host.configChanges], [100, 100, 1]);
  const chain = host.request(0, 63, NONE, 1025);
  assertEquals([chain.status, chain.data[0], chain.data[512]], [OK, 64, 0]);
  device.resize(1);
  assertEquals(host.request(0, 1, NONE, 513).status, IOERR);
});

Deno.test("orders of completion: reverse, random, deferred and held", async () => {
  const sectors = (host: FakeHost): number[] => host.done.map((chain) => chain.readable[8]!);
  const chains = (): FakeChain[] =>
    Array.from({ length: 8 }, (_, i) => new FakeChain(header(0, i), NONE, 513));
  const all = [0, 1, 2, 3, 4, 5, 6, 7];
  const reverse = make({ order: "reverse" }).host;
  reverse.send(0, ...chains());
  assertEquals(sectors(reverse), all.toReversed());
  const random = make({ order: "random", seed: 42 }).host;
  random.send(0, ...chains());
  assertEquals(sectors(random).toSorted(), all);
  assertEquals(sectors(random), [4, 6, 5, 7, 1, 3, 2, 0], "a seed makes one order");
  const deferred = make({ order: "deferred" }).host;
  deferred.send(0, ...chains());
  assertEquals(sectors(deferred), []);
  for (let turn = 0; turn < 3; turn++) await Promise.resolve();
  const some = sectors(deferred).length;
  assert(some > 0 && some < 8, "a part at a time");
  for (let turn = 0; turn < 40; turn++) await Promise.resolve();
  assertEquals(sectors(deferred).toSorted(), all);
  const { device, host } = make({ order: "held" });
  host.send(0, ...chains());
  assertEquals([device.held, sectors(host)], [8, []]);
  device.release(2);
  assertEquals([device.held, sectors(host)], [6, [0, 1]]);
  device.reset();
  device.release();
  assertEquals([device.held, sectors(host)], [0, [0, 1]]);
});

/** A disk that answers when told. */
class SlowDisk implements DiskBackend {
  readonly size = 64 * 512;
  readonly readOnly = false;
  readonly asynchronous = true;
  readonly store: MemoryDisk = disk();
  readonly waiting: PromiseWithResolvers<void>[] = [];
  async read(offset: number, into: Uint8Array, start: number, length: number): Promise<void> {
    await this.#wait();
    this.store.read(offset, into, start, length);
  }
  async write(offset: number, from: Uint8Array, start: number, length: number): Promise<void> {
    await this.#wait();
    this.store.write(offset, from, start, length);
  }
  flush(): Promise<void> {
    return this.#wait();
  }
  async zero(offset: number, length: number): Promise<void> {
    await this.#wait();
    this.store.zero(offset, length);
  }
  resize(): void {}
  /** Lets everything that waits go on, until nothing does. */
  async go(): Promise<void> {
    for (let turn = 0; turn < 50; turn++) {
      for (const { resolve } of this.waiting.splice(0)) resolve();
      await Promise.resolve();
    }
  }
  #wait(): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.waiting.push(waiter);
    return waiter.promise;
  }
  [Symbol.dispose](): void {}
}

Deno.test("a disk that answers later completes each request when it does", async () => {
  const slow = new SlowDisk();
  const { host } = make({ disk: slow });
  const read = host.request(0, 5, NONE, 513);
  const write = host.request(1, 6, new Uint8Array(512).fill(0xaa), 1);
  const flush = host.request(4, 0, NONE, 1);
  const zero = host.request(13, 0, ranges([7, 1, 0], [8, 1, 0]), 1);
  assertEquals(
    [read, write, flush, zero].map((chain) => chain.status),
    new Array(4).fill(undefined),
  );
  await slow.go();
  assertEquals([read, write, flush, zero].map((chain) => chain.status), [OK, OK, OK, OK]);
  assertEquals(read.data, new Uint8Array(512).fill(6));
  assertEquals([6, 7, 8, 9].map((sector) => slow.store.memory[sector * 512]), [0xaa, 0, 0, 10]);
});

Deno.test("a reset voids what a slow disk still does", async () => {
  const slow = new SlowDisk();
  const { device, host } = make({ disk: slow, queues: 2 });
  const read = host.request(0, 5, NONE, 513);
  const other = new FakeChain(header(0, 1), NONE, 513);
  host.send(1, other);
  device.resetQueue(0);
  await slow.go();
  assertEquals([read.used, read.data[0], other.status], [undefined, 0xee, OK]);
  const late = host.request(0, 5, NONE, 513);
  device.reset();
  await slow.go();
  assertEquals([late.used, late.data.every((byte) => byte === 0xee)], [undefined, true]);
});

Deno.test("a disk that fails is IOERR, now or later", async () => {
  const bad = disk() as unknown as { memory: undefined } & DiskBackend;
  const broken: DiskBackend = {
    size: bad.size,
    readOnly: false,
    read: () => {
      throw new Error("bad sector");
    },
    write: () => {
      throw new Error("bad sector");
    },
    flush: () => Promise.reject(new Error("no medium")),
    zero: () => Promise.reject(new Error("no medium")),
    resize: () => {},
    [Symbol.dispose]: () => {},
  };
  const { device, host } = make({ disk: broken });
  const chains = [
    host.request(0, 0, NONE, 513),
    host.request(1, 0, new Uint8Array(512), 1),
    host.request(4, 0, NONE, 1),
    host.request(13, 0, ranges([0, 1, 0]), 1),
  ];
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  assertEquals(chains.map((chain) => chain.status), [IOERR, IOERR, IOERR, IOERR]);
  assertEquals(device.stats.ioErrors, 4);
});

Deno.test("a snapshot keeps the write cache's state", () => {
  const { device } = make();
  device.writeConfig(32, 1, 0);
  const state = structuredClone(device.snapshot());
  const { device: other } = make();
  other.restore(state);
  assertEquals(other.readConfig(32, 1), 0);
});

Deno.test("a slow disk is flushed behind a write without a cache, and not for a driver that is gone", async () => {
  for (const [writeback, gone, flushes] of [[1, false, 0], [0, false, 1], [0, true, 0]] as const) {
    const slow = new SlowDisk();
    const { device, host } = make({ disk: slow });
    device.writeConfig(32, 1, writeback);
    const chain = host.request(1, 0, new Uint8Array(512), 1);
    const [written] = slow.waiting;
    if (gone) device.reset();
    written!.resolve();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    // The flush waits, too.
    assertEquals([slow.waiting.length - 1, chain.used], [
      flushes,
      flushes === 0 && !gone ? 1 : undefined,
    ]);
    slow.waiting[1]?.resolve();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    assertEquals(chain.status, gone ? undefined : OK);
  }
});

Deno.test("a report of zones, and a reset of all, count as work by the zones", () => {
  const [REPORT, RESET_ALL] = [16, 26];
  const { host } = make({ zoned: { zoneSectors: 8 } });
  const counted = (type: number, sector: number, writable: number): number => {
    const { steps } = host.context.work.counters;
    assertEquals(host.request(type, sector, NONE, writable).status, OK);
    // Looks at the queue are two.
    return host.context.work.counters.steps - steps - 2;
  };
  assertEquals([0, 1, 3, 99].map((zones) => counted(REPORT, 0, 64 + 64 * zones + 1)), [0, 1, 3, 8]);
  assertEquals([counted(REPORT, 48, 64 + 64 * 8 + 1), counted(RESET_ALL, 0, 1)], [2, 8]);
});
