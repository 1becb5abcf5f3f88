import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BLK_CONFIG, BlkFeature as F, VireoError, type VireoErrorCode } from "@vireo/hal";
import { code, turn } from "../async_test_util.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Blk } from "./driver.ts";
import type { BlkDriverOptions } from "./types.ts";

/** A disk of 1000 sectors whose requests wait for an answer. */
function rig(
  features: readonly number[] = [],
  set: (fake: FakeDevice) => void = () => {},
  options: BlkDriverOptions = {},
) {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(0, 1000, true);
  set(fake);
  return { fake, blk: new Blk(fake.device, options) };
}

const failure = (code: VireoErrorCode) => new VireoError(code, "As the test wants");

Deno.test("blk: only the reset of a suspend leaves requests waiting: every other failure ends them", async () => {
  for (
    const [life, reason, ends] of [
      ["new", "DEVICE_STATE", true],
      ["new", "QUEUE_BROKEN", true],
      ["frozen", "DEVICE_STATE", false],
      ["frozen", "DEVICE_REMOVED", true],
      ["restored", "DEVICE_STATE", true],
    ] as const
  ) {
    const { blk } = rig();
    if (life !== "new") await blk.freeze();
    if (life === "restored") blk.restore();
    const stop = new AbortController();
    const error = failure(reason);
    const read = assertRejects(() => blk.read(0, 512, { signal: stop.signal }));
    blk.failed(error);
    const enough = new Error("it waits on");
    stop.abort(enough);
    assertEquals(await read, ends ? error : enough, `${life} ${reason}`);
  }
});

Deno.test("blk: a restored disk has its cache as it was set, and its size as it is now", async () => {
  const { fake, blk } = rig([F.FLUSH, F.CONFIG_WCE]);
  blk.writeCache = false;
  await blk.freeze();
  // The reset.
  fake.config.setUint8(BLK_CONFIG.writeback.offset, 1);
  fake.config.setUint32(0, 2000, true);
  const seen: number[] = [];
  blk.onCapacityChange = (sectors) => seen.push(sectors);
  blk.restore();
  assertEquals([blk.writeCache, blk.sectors, seen], [false, 2000, [2000]]);
});

Deno.test("blk: requests that waited end if the disk cannot be restored", async () => {
  const { blk } = rig();
  await blk.freeze();
  const waiting = code(() => blk.read(0, 512));
  blk.device.findQueues = () => {
    throw failure("OUT_OF_MEMORY");
  };
  assertThrows(() => blk.restore(), VireoError, "As the test wants");
  assertEquals(await waiting, "OUT_OF_MEMORY");
});

Deno.test("blk: a disk that was removed resets no queue", async () => {
  const { blk } = rig();
  let resets = 0;
  blk.device.resetQueue = () => Promise.resolve([resets++]);
  await blk.remove();
  assertEquals([await code(() => blk.resetQueue()), resets], ["DEVICE_STATE", 0]);
});

Deno.test("blk: a queue that is reset loses what the device had, and goes on with what waited", async () => {
  const { fake, blk } = rig();
  const had = code(() => blk.read(0, 512));
  await turn();
  const { device } = blk;
  device.resetQueue = () => {
    const { request } = fake.queues[0]!;
    fake.pending.length = 0;
    Object.assign(device, { queues: device.findQueues([request]) });
    return Promise.resolve([]);
  };
  const reset = blk.resetQueue();
  const later = blk.read(7, 512);
  await reset;
  assertEquals(await had, "DEVICE_STATE");
  await turn();
  assertEquals(fake.pending.map(({ sector }) => sector), [7]);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await later;
});

Deno.test("blk: a queue whose reset fails goes on, unless it is broken", async () => {
  for (const broken of [false, true]) {
    const { fake, blk } = rig();
    const stop = new AbortController();
    const read = assertRejects(() => blk.read(0, 512, { signal: stop.signal }));
    const error = failure("RESET_TIMEOUT");
    blk.device.resetQueue = (queue) => {
      if (broken) queue.break(error);
      return Promise.reject(error);
    };
    await turn();
    assertEquals(await assertRejects(() => blk.resetQueue()), error);
    const enough = new Error("it waits on");
    stop.abort(enough);
    assertEquals([await read, fake.pending.length], [broken ? error : enough, 1]);
  }
});

Deno.test("blk: a queue's reset that a reset of the device overtakes changes nothing more", async () => {
  const { fake, blk } = rig();
  const reset = Promise.withResolvers<readonly number[]>();
  blk.device.resetQueue = () => reset.promise;
  const done = blk.resetQueue();
  await blk.freeze();
  fake.pending.length = 0;
  blk.restore();
  const read = blk.read(7, 512);
  await turn();
  reset.resolve([]);
  await done;
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals((await read).length, 512);
});

Deno.test("blk: an id that begins with its end is empty, and one without an end has 20 bytes", async () => {
  const { fake, blk } = rig();
  for (const [id, expected] of [["\0disk", ""], ["d".repeat(20), "d".repeat(20)]] as const) {
    fake.script = (request) => {
      request.fill(new TextEncoder().encode(id));
      request.complete(0);
    };
    assertEquals(await blk.getId(), expected);
  }
});

Deno.test("blk: a batch has 1 to 65536 slots, each of whole blocks and as long as a request may be", () => {
  const { blk } = rig();
  const { maxBatchBytes } = blk.limits;
  blk.device.dma.alloc = () => {
    throw failure("OUT_OF_MEMORY");
  };
  for (
    const [depth, bytes, fits] of [
      [1, 512, true],
      [65_536, maxBatchBytes, true],
      [0, 512, false],
      [65_537, 512, false],
      [1.5, 512, false],
      [1, 0, false],
      [1, 100, false],
      [1, maxBatchBytes + 512, false],
    ] as const
  ) {
    const make = () => blk.batch(depth, bytes);
    if (fits) assertThrows(make, VireoError, "As the test wants");
    else assertThrows(make, RangeError, "Cannot make");
  }
});

Deno.test("blk: a batch's requests have no more bytes in a buffer than the device takes", async () => {
  const { fake, blk } = rig([F.SIZE_MAX, F.SEG_MAX], ({ config }) => {
    config.setUint32(BLK_CONFIG.size_max.offset, 700, true);
    config.setUint32(BLK_CONFIG.seg_max.offset, 2, true);
  });
  using batch = blk.batch(1, 1024);
  batch.prepareRead(0, 0);
  batch.submit(0);
  batch.kick();
  assertEquals(fake.pending[0]!.elements.map(({ length }) => length), [16, 700, 324, 1]);
  await blk.remove();
});

Deno.test("blk: the smallest of the rings bounds the requests of all queues", () => {
  const sizes = [8, 4];
  const { blk } = rig([F.MQ], (fake) => {
    fake.config.setUint16(BLK_CONFIG.num_queues.offset, 2, true);
    Object.defineProperty(fake, "ringSize", { get: () => sizes.shift() });
  });
  assertEquals(blk.limits.depth, 4);
});

Deno.test("blk: an idle disk has memory for its first requests only", () => {
  const { fake } = rig();
  const sizes = [...fake.regions].map(({ bytes }) => bytes.length);
  // Headers of 64 requests, and two data buffers of 32 KiB.
  assertEquals(sizes, [64 * 32, 2 * 32768]);
});

Deno.test("blk: the memory of a long request is no other's while the device has it", async () => {
  const { fake, blk } = rig([], () => {}, { depth: 5, bytesPerRequest: 512 });
  const sectors = (from: number, count: number) =>
    Uint8Array.from({ length: 512 * count }, (_, i) => from + Math.floor(i / 512));
  const short = blk.write(0, sectors(1, 1));
  const long = blk.write(1, sectors(2, 3));
  await turn();
  const done = (at: number): void => {
    const { sector, readable } = fake.pending[at]!;
    const data = readable.subarray(16);
    assertEquals(data, sectors(1 + sector, data.length / 512));
    fake.pending[at]!.complete(0);
    fake.queues[0]!.interrupt();
  };
  done(0);
  await short;
  // Into the first slot, and the last.
  const other = blk.write(10, sectors(11, 2));
  await turn();
  while (fake.pending.length > 0) done(0);
  await Promise.all([long, other]);
});
