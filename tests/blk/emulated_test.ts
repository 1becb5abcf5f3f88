import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BlkDevice,
  type BlkDeviceOptions,
  type DiskBackend,
  EmulatedMachine,
  FileDisk,
  GuestMemory,
  MemoryDisk,
} from "@vireo/emu";
import { BlkFeature, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import { BouncingDma, TestDma } from "../../drivers/testing/dma.ts";
import { type Blk, blkDriver, createBlkDriver } from "../../drivers/blk/driver.ts";
import { bytesBy } from "../noise.ts";

const SIZE = 1024 * 1024;

interface Setup extends AsyncDisposable {
  readonly machine: EmulatedMachine;
  readonly bus: Bus;
  readonly model: BlkDevice;
  readonly disk: MemoryDisk;
  readonly blk: Blk;
}

async function setUp(
  options: Partial<BlkDeviceOptions> = {},
  version: 1 | 2 = 2,
  ...filter: number[]
): Promise<Setup> {
  const disk = new MemoryDisk(bytesBy(SIZE, (i) => i * 31 >> 3));
  const model = new BlkDevice({ disk, serial: "S1", ...options });
  const machine = EmulatedMachine.create({ devices: [{ model, version }] });
  const bus = new Bus({ filter: FeatureSet.of(...filter) });
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver);
  if (blk === undefined) throw bus.devices[0]?.error ?? new Error("no disk");
  const dispose = async (): Promise<void> => {
    await bus[Symbol.asyncDispose]();
    assertEquals(machine.violations(), [], "the driver broke a rule");
    await machine[Symbol.asyncDispose]();
  };
  return { machine, bus, model, disk, blk, [Symbol.asyncDispose]: dispose };
}

async function code(promise: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => promise, VireoError)).code;
}

for (const version of [1, 2] as const) {
  for (
    const [name, filter] of [
      ["indirect and event index", []],
      ["neither", [Feature.INDIRECT_DESC, Feature.EVENT_IDX]],
      ["indirect", [Feature.EVENT_IDX]],
      ["event index", [Feature.INDIRECT_DESC]],
    ] as const
  ) {
    Deno.test(`version ${version} with ${name}: every request type`, async () => {
      await using t = await setUp(
        { queues: 2, lifetime: { preEolInfo: 1, estTypA: 4, estTypB: 5 } },
        version,
        ...filter,
      );
      const { blk, disk } = t;
      assertEquals([blk.capacity, blk.sectors, blk.queues], [SIZE, SIZE / 512, 2]);
      assertEquals(blk.device.has(Feature.VERSION_1), version === 2);
      assertEquals(await blk.read(0, SIZE), disk.memory);
      const data = crypto.getRandomValues(new Uint8Array(65536));
      await blk.write(100, data);
      assertEquals(disk.memory.subarray(51200, 51200 + 65536), data);
      assertEquals(await blk.getId(), "S1");
      assertEquals(await blk.lifetime(), { preEolInfo: 1, estTypA: 4, estTypB: 5 });
      await blk.flush();
      assertEquals(t.model.stats.flushes, 1);
      await blk.writeZeroes([{ sector: 100, sectors: 2 }]);
      await blk.discard([{ sector: 104, sectors: 1 }]);
      await blk.secureErase([{ sector: 106, sectors: 1 }]);
      assertEquals(
        [100, 101, 104, 106].map((sector) =>
          disk.memory.subarray(sector * 512, sector * 512 + 512).every((byte) => byte === 0)
        ),
        [true, true, true, true],
      );
      assertEquals(disk.memory.subarray(102 * 512, 104 * 512), data.subarray(1024, 2048));
      assertEquals(blk.writeCache, true);
      blk.writeCache = false;
      assertEquals([t.model.writeback, blk.writeCache], [false, false]);
    });
  }
}

for (const order of ["reverse", "random", "deferred"] as const) {
  Deno.test(`many requests in flight come back right when completed ${order}`, async () => {
    await using t = await setUp({ order, queueSize: 16, queues: 3 });
    const reads = Array.from({ length: 300 }, (_, i) => t.blk.read(i * 5, 512));
    const all = await Promise.all(reads);
    all.forEach((bytes, i) =>
      assertEquals(bytes, t.disk.memory.subarray(i * 2560, i * 2560 + 512))
    );
  });
}

Deno.test("a read-only device, and one whose disk is smaller than it said", async () => {
  await using t = await setUp({ readOnly: true });
  assert(t.blk.readOnly);
  assertEquals(await code(t.blk.write(0, new Uint8Array(512))), "READ_ONLY");
  await using u = await setUp();
  u.disk.resize(512);
  const error = await assertRejects(() => u.blk.read(1, 512), VireoError);
  assertEquals([error.code, error.queue, error.seen, error.device], ["IO_ERROR", 0, 1, "virtio0"]);
});

Deno.test("what the host's disk says of a request is the cause of its error, also in a batch, until a reset", async () => {
  const full = new Error("No space left on device (os error 28)");
  const disk: DiskBackend = {
    size: SIZE,
    readOnly: false,
    read: () => {},
    write: () => {
      throw full;
    },
    flush: () => Promise.reject(full),
    zero: () => {},
    resize: () => {},
    [Symbol.dispose]: () => {},
  };
  await using t = await setUp({ disk });
  const node = t.machine.nodes()[0]!.name;
  const error = await assertRejects(() => t.blk.write(0, new Uint8Array(512)), VireoError);
  assertEquals(error.code, "IO_ERROR");
  const { cause } = error as { cause?: Error };
  assertEquals([cause?.message, cause?.cause], [
    `The host failed the emulated device (${node})`,
    full,
  ]);
  await t.bus.freeze();
  await t.bus.restore();
  const { blk } = t;
  assertEquals(t.machine.diagnose(node), undefined);
  using batch = blk.batch(1, 512);
  batch.prepareWrite(0, 0);
  batch.submit(0);
  batch.kick();
  await batch.wait();
  const slot = batch.poll();
  assertEquals((batch.error(slot)?.cause as Error | undefined)?.cause, full);
  await t.bus.freeze();
  await t.bus.restore();
  const late = await assertRejects(() => blk.flush(), VireoError);
  assertEquals((late.cause as Error | undefined)?.cause, full, "a disk that answers later");
});

Deno.test("a capacity change reaches the driver", async () => {
  await using t = await setUp();
  const changed = Promise.withResolvers<number>();
  t.blk.onCapacityChange = changed.resolve;
  t.model.resize(8192);
  assertEquals(await changed.promise, 8192);
  assertEquals((await t.blk.read(8191, 512)).every((byte) => byte === 0), true);
  assertEquals(await code(t.blk.read(8192, 512)), "OUT_OF_RANGE");
});

Deno.test("an abort in flight leaves the disk usable", async () => {
  await using t = await setUp({ order: "held" });
  const abort = new AbortController();
  const read = t.blk.read(0, 512, { signal: abort.signal });
  const other = t.blk.read(1, 512);
  await Promise.resolve();
  assertEquals([t.model.held, t.blk.inFlight], [2, 2]);
  abort.abort(new Error("enough"));
  await assertRejects(() => read, Error, "enough");
  assertEquals(t.blk.inFlight, 2, "the memory stays the device's");
  t.model.release();
  assertEquals(await other, t.disk.memory.subarray(512, 1024));
  assertEquals(t.blk.inFlight, 0);
});

Deno.test("a reset in flight rejects, and the device is bound again", async () => {
  await using t = await setUp({ order: "held" });
  const read = t.blk.read(0, 512);
  await Promise.resolve();
  const refused = code(read);
  await t.bus.unbind(t.blk.device);
  assertEquals(await refused, "DEVICE_REMOVED");
  assertEquals(t.model.held, 0);
  assert(await t.bus.bind(t.bus.devices[0]!));
  const again = t.bus.get(blkDriver)!;
  const second = again.read(3, 512);
  await Promise.resolve();
  t.model.release();
  assertEquals(await second, t.disk.memory.subarray(1536, 2048));
});

Deno.test("freeze and restore keep requests that waited", async () => {
  await using t = await setUp();
  await t.bus.freeze(t.blk.device);
  const read = t.blk.read(3, 512);
  await t.bus.restore(t.blk.device);
  assertEquals(await read, t.disk.memory.subarray(1536, 2048));
});

Deno.test("NEEDS_RESET rejects what is in flight, and the device is usable again", async () => {
  // A device that faults on demand, as if the driver had sent nonsense.
  class Faulty extends BlkDevice {
    fail: (() => void) | undefined;
    override activate(context: Parameters<BlkDevice["activate"]>[0]): void {
      this.fail = () => context.fault("on demand");
      super.activate(context);
    }
  }
  const disk = new MemoryDisk(SIZE);
  disk.memory.fill(0x5a);
  const model = new Faulty({ disk, order: "held" });
  await using machine = EmulatedMachine.create({ devices: [{ model, version: 2 }] });
  await using bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver)!;
  const reads = [blk.read(0, 512), blk.read(1, 512)];
  await Promise.resolve();
  const codes = Promise.all(reads.map(code));
  const recovered = blk.device.recovered({ deadline: 5000 });
  model.fail!();
  assertEquals(await codes, ["DEVICE_NEEDS_RESET", "DEVICE_NEEDS_RESET"]);
  assertEquals(await recovered, 1);
  const read = blk.read(2, 512);
  await Promise.resolve();
  model.release();
  assertEquals(await read, new Uint8Array(512).fill(0x5a));
});

Deno.test("the batch API moves data without promises", async () => {
  await using t = await setUp();
  using batch = t.blk.batch(4, 4096);
  for (let slot = 0; slot < 4; slot++) {
    batch.bytes(slot).fill(slot + 1);
    batch.prepareWrite(slot, slot * 8);
    assert(batch.submit(slot));
  }
  batch.kick();
  const seen: number[] = [];
  for (let slot = batch.poll(); slot >= 0; slot = batch.poll()) {
    assert(batch.ok(slot));
    seen.push(slot);
  }
  assertEquals(seen.toSorted(), [0, 1, 2, 3]);
  assertEquals([0, 1, 2, 3].map((slot) => t.disk.memory[slot * 4096 + 4095]), [1, 2, 3, 4]);
  batch.prepareRead(2, 24);
  batch.prepareFlush(3);
  batch.submit(2);
  batch.submit(3);
  batch.kick();
  assertEquals([batch.poll(), batch.poll(), batch.bytes(2)[0]], [2, 3, 4]);
});

Deno.test("a batch's slot may be a megabyte, one request of the device and one copy less", async () => {
  const disk = new MemoryDisk(4 << 20);
  const model = new BlkDevice({ disk });
  await using machine = EmulatedMachine.create({ devices: [model] });
  await using bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver)!;
  assertEquals(blk.limits.maxBatchBytes, 1280 * 1024);
  using batch = blk.batch(2, 1 << 20);
  for (let i = 0; i < batch.bytes(1).length; i++) batch.bytes(1)[i] = i * 7 >> 4;
  batch.prepareWrite(1, 2048);
  assert(batch.submit(1));
  batch.kick();
  assertEquals([batch.poll(), batch.ok(1), model.stats.writes], [1, true, 1]);
  assertEquals(disk.memory.subarray(1 << 20, 2 << 20), batch.bytes(1));
  batch.prepareRead(0, 2048);
  assert(batch.submit(0));
  batch.kick();
  assertEquals([batch.poll(), batch.ok(0), model.stats.reads], [0, true, 1]);
  assertEquals(batch.bytes(0), batch.bytes(1));
  assertThrows(
    () => blk.batch(1, 1281 * 1024),
    RangeError,
    "expected a multiple of 512, at most 1310720",
  );
});

Deno.test("an image's SHA-256 through the driver equals the host's", async () => {
  const path = await Deno.makeTempFile();
  try {
    const image = new Uint8Array(3 * 1024 * 1024 + 512);
    for (let at = 0; at < image.length; at += 65536) {
      crypto.getRandomValues(image.subarray(at, Math.min(at + 65536, image.length)));
    }
    await Deno.writeFile(path, image);
    const model = new BlkDevice({ disk: new FileDisk(path), ownsDisk: true });
    await using machine = EmulatedMachine.create({ devices: [{ model, version: 2 }] });
    {
      await using bus = new Bus();
      await bus.registerDriver(blkDriver);
      await bus.addPlatform(machine);
      const blk = bus.get(blkDriver)!;
      const read = await blk.read(0, blk.capacity);
      const digest = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> =>
        new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      assertEquals(await digest(new Uint8Array(read)), await digest(await Deno.readFile(path)));
      image.fill(7, 512, 1024);
      await blk.write(1, image.subarray(512, 1024));
      await blk.flush();
      assertEquals(await digest(await Deno.readFile(path)), await digest(image));
    }
    model[Symbol.dispose]();
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("features that a device does not offer are lived without", async () => {
  const { SIZE_MAX, SEG_MAX, FLUSH, DISCARD, WRITE_ZEROES, SECURE_ERASE } = BlkFeature;
  await using t = await setUp({
    withhold: [SIZE_MAX, SEG_MAX, FLUSH, DISCARD, WRITE_ZEROES, SECURE_ERASE],
  });
  assertEquals(await t.blk.read(0, SIZE), t.disk.memory);
  await t.blk.flush();
  assertEquals(await code(t.blk.discard([{ sector: 0, sectors: 1 }])), "UNSUPPORTED");
  assertEquals(t.model.stats.flushes, 0);
});

for (const version of [1, 2] as const) {
  Deno.test(`version ${version} on memory that bounces: ownership is honoured`, async () => {
    const dma = new BouncingDma();
    const disk = new MemoryDisk(bytesBy(SIZE, (i) => i * 7 >> 2));
    const model = new BlkDevice({ disk, serial: "S1", order: "deferred", sizeMax: 3000 });
    const memory = new GuestMemory(dma.memory.buffer, dma.base);
    await using machine = EmulatedMachine.create({ devices: [{ model, version }], memory });
    {
      await using bus = new Bus();
      await bus.registerDriver(createBlkDriver({ depth: 8 }));
      await bus.addPlatform({ dma, nodes: () => machine.nodes() });
      const blk = bus.devices[0]!.instance as Blk;
      assertEquals(await blk.read(0, SIZE), disk.memory);
      const data = crypto.getRandomValues(new Uint8Array(65536));
      await Promise.all([blk.write(8, data), blk.read(1024, 4096), blk.flush(), blk.getId()]);
      assertEquals(disk.memory.subarray(4096, 4096 + 65536), data);
      await blk.writeZeroes([{ sector: 8, sectors: 128 }]);
      assertEquals(disk.memory.subarray(4096, 4096 + 65536), new Uint8Array(65536));
      const abort = new AbortController();
      const reads = [blk.read(0, 65536, { signal: abort.signal }), blk.read(5, 512)];
      await Promise.resolve();
      abort.abort();
      await assertRejects(() => reads[0]!);
      assertEquals(await reads[1], disk.memory.subarray(2560, 3072));
      using batch = blk.batch(2, 512);
      batch.bytes(0).fill(0x77);
      batch.prepareWrite(0, 9);
      batch.prepareRead(1, 5);
      assert(batch.submit(0) && batch.submit(1));
      batch.kick();
      for (let back = 0; back < 2;) {
        if (batch.poll() >= 0) back++;
        else await batch.wait({ deadline: 5000 });
      }
      assert(batch.ok(0) && batch.ok(1));
      assertEquals(batch.bytes(1), disk.memory.subarray(2560, 3072));
      assertEquals(disk.memory.subarray(4608, 5120), new Uint8Array(512).fill(0x77));
      // Removed with a request in flight.
      blk.read(0, 512).catch(() => {});
      await Promise.resolve();
    }
    assertEquals([dma.live, dma.mistakes, machine.violations()], [0, [], []]);
  });
}

Deno.test("a machine without room for the slots fails the probe and leaves nothing behind", async () => {
  const dma = new TestDma({ size: 65536 });
  const model = new BlkDevice({ disk: new MemoryDisk(SIZE) });
  const memory = new GuestMemory(dma.memory.buffer as ArrayBuffer, dma.base);
  await using machine = EmulatedMachine.create({ devices: [{ model, version: 2 }], memory });
  await using bus = new Bus({ queueSize: 64 });
  await bus.registerDriver(blkDriver);
  await bus.addPlatform({ dma, nodes: () => machine.nodes() });
  const { error } = bus.devices[0]!;
  assertEquals((error as VireoError).code, "OUT_OF_MEMORY");
  assertEquals(dma.live, 0);
});
