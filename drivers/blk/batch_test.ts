import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BLK_CONFIG, BlkFeature, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import type { BlkBatch } from "./batch.ts";
import { Blk } from "./driver.ts";

/** A disk of 1000 sectors whose requests wait for an answer, and a batch on it. */
function rig(depth: number, bytes: number, features: readonly number[] = []) {
  const fake = new FakeDevice(BlkFeature.FLUSH, ...features);
  fake.config.setUint32(0, 1000, true);
  fake.config.setUint32(BLK_CONFIG.seg_max.offset, 8, true);
  fake.config.setUint32(BLK_CONFIG.blk_size.offset, 1024, true);
  const blk = new Blk(fake.device);
  const batch = blk.batch(depth, bytes);
  const [queue] = fake.queues;
  return { fake, blk, batch, queue: queue! };
}

/** Sends reads of the sectors with the slots' numbers. */
function read(batch: BlkBatch, ...slots: number[]): void {
  for (const slot of slots) {
    batch.prepareRead(slot, slot);
    batch.submit(slot);
  }
  batch.kick();
}

function pollAll(batch: BlkBatch): number[] {
  const slots: number[] = [];
  for (let slot = batch.poll(); slot >= 0; slot = batch.poll()) slots.push(slot);
  return slots;
}

Deno.test("blk batch: a request is of whole blocks, inside the disk and the slot", () => {
  const place = "expected whole blocks";
  const cases = [
    [[0, 998, 1024], undefined],
    [[0, 999, 1024], "past the end of the disk"],
    [[0, 1000, 0], undefined],
    [[0, 999, 512], undefined],
    [[0, 0, 1536], place],
    [[0, 0, 100], place],
    [[0, 0, -512], place],
    [[0, -1, 512], place],
    [[0, 0.5, 512], place],
    [[0, NaN, 512], place],
    [[1, 0, 512], undefined],
    [[2, 0, 512], "Cannot prepare slot 2"],
    [[-1, 0, 512], "Cannot prepare slot -1"],
  ] as const;
  for (const [[slot, sector, length], refused] of cases) {
    const { batch } = rig(2, 1024);
    for (const call of ["prepareRead", "prepareWrite"] as const) {
      const prepare = () => batch[call](slot, sector, length);
      if (refused === undefined) prepare();
      else assertThrows(prepare, Error, refused);
    }
  }
  const { batch: short } = rig(1, 1024);
  const { seen } = assertThrows(() => short.prepareRead(0, 999), VireoError);
  assertEquals(seen, 1001);
  // Blocks of 1024 bytes, of which a request has whole ones.
  const { batch } = rig(1, 2048, [BlkFeature.BLK_SIZE]);
  batch.prepareRead(0, 2, 1024);
  assertThrows(() => batch.prepareRead(0, 1, 1024), RangeError, place);
  assertThrows(() => batch.prepareRead(0, 2, 512), RangeError, place);
});

Deno.test("blk batch: slots come back in the device's order, round after round, and one by one", () => {
  const { fake, batch, queue } = rig(3, 512);
  for (let round = 0; round < 4; round++) {
    read(batch, 0, 1, 2);
    assertEquals([batch.inFlight, batch.poll()], [3, -1]);
    for (const at of [1, 1, 0]) fake.pending[at]!.complete(0);
    // A poll takes what it needs from the ring, and no more.
    assertEquals([batch.poll(), queue.inFlight, batch.inFlight], [1, 2, 2]);
    assertEquals(pollAll(batch), [2, 0]);
    read(batch, 0, 1);
    fake.pending[1]!.complete(0);
    fake.pending[0]!.complete(0);
    queue.interrupt();
    assertEquals(pollAll(batch), [1, 0]);
    assertEquals([batch.inFlight, batch.poll()], [0, -1]);
  }
});

Deno.test("blk batch: a slot is used once at a time", () => {
  const { fake, batch, blk } = rig(1, 512);
  assertThrows(() => batch.submit(3), RangeError, "Cannot submit slot 3");
  read(batch, 0);
  assertThrows(() => batch.submit(0), RangeError, "Cannot submit slot 0");
  assertThrows(() => batch.prepareRead(0, 0), RangeError, "Cannot prepare slot 0");
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  // It is done, but its caller has not seen it.
  assertThrows(() => batch.prepareRead(0, 0), RangeError, "Cannot prepare slot 0");
  assertEquals([blk.inFlight, pollAll(batch)], [0, [0]]);
  batch.prepareFlush(0);
  assertEquals(batch.submit(0), true);
  batch.kick();
  assertEquals(fake.pending[0]!.type, 4);
  batch[Symbol.dispose]();
  assertThrows(() => batch.prepareRead(0, 0), RangeError, "Cannot prepare slot 0");
});

Deno.test("blk batch: a ring without room takes the slot later", () => {
  const { fake, batch, queue } = rig(3, 512);
  Object.defineProperty(queue, "size", { value: 2 });
  for (const slot of [0, 1, 2]) batch.prepareRead(slot, slot);
  assertEquals([0, 1, 2].map((slot) => batch.submit(slot)), [true, true, false]);
  batch.kick();
  fake.pending[0]!.complete(0);
  assertEquals([batch.inFlight, batch.poll(), batch.submit(2)], [2, 0, true]);
});

Deno.test("blk batch: interrupts are off while nobody but the poller waits", async () => {
  const { fake, blk, batch, queue } = rig(1, 512);
  read(batch, 0);
  assertEquals(queue.callbacks, false);
  fake.pending[0]!.complete(0);
  pollAll(batch);
  const promise = blk.read(3, 512);
  await Promise.resolve();
  assertEquals(queue.callbacks, true);
  read(batch, 0);
  assertEquals(queue.callbacks, true);
  for (const request of [...fake.pending]) request.complete(0);
  assertEquals(pollAll(batch), [0]);
  await promise;
});

Deno.test("blk batch: a wait ends when there is something to poll, and there is one at a time", async () => {
  const { fake, batch, queue } = rig(2, 512);
  const enough = AbortSignal.abort(new Error("enough"));
  await batch.wait();
  read(batch, 0, 1);
  await assertRejects(() => batch.wait({ signal: enough }), Error, "enough");
  const waited = batch.wait({ deadline: 1000 });
  assertThrows(() => batch.wait(), TypeError, "only one wait at a time");
  fake.pending[0]!.complete(0);
  queue.interrupt();
  await waited;
  // It is there already.
  await batch.wait();
  assertEquals(batch.poll(), 0);
  const late = await assertRejects(() => batch.wait({ deadline: 1 }), VireoError);
  assertEquals([late.code, late.queue, late.seen], [
    "TIMEOUT",
    0,
    "nothing in the used ring, even after another notification",
  ]);
});

Deno.test("blk batch: a read that is shorter than its answer must be fails, with what was written", () => {
  const { fake, batch } = rig(3, 512);
  read(batch, 0, 1);
  batch.prepareWrite(2, 2);
  batch.submit(2);
  batch.kick();
  for (const used of [512, 513, 0]) fake.pending[0]!.complete(0, used);
  assertEquals(pollAll(batch), [0, 1, 2]);
  assertEquals([0, 1, 2].map((slot) => batch.ok(slot)), [false, true, true]);
  const { code, seen, expected } = batch.error(0) as VireoError;
  assertEquals([code, seen, expected], ["BAD_LENGTH", 512, 513]);
});

Deno.test("blk batch: a failure reports each slot once; a reset gives the memory back", async () => {
  const { fake, batch, blk, queue } = rig(3, 512);
  read(batch, 0, 1);
  const failure = new VireoError("QUEUE_BROKEN", "As the test wants");
  queue.break(failure);
  assertEquals([pollAll(batch), batch.error(0), batch.ok(1)], [[0, 1], failure, false]);
  assertThrows(() => batch.submit(2), VireoError, "As the test wants");
  assertEquals(batch.inFlight, 0);
  // The device may still write to them.
  assertThrows(() => batch.prepareRead(0, 0), RangeError, "Cannot prepare slot 0");
  await blk.remove();
  batch[Symbol.dispose]();
  assertEquals(fake.regions.size, 0);
});

Deno.test("blk batch: memory goes when it is disposed of and the device has none of it", () => {
  for (const left of [0, 2]) {
    const { fake, batch, queue } = rig(2, 512);
    const before = fake.regions.size;
    if (left > 0) read(batch, 0, 1);
    batch[Symbol.dispose]();
    batch[Symbol.dispose]();
    for (let i = left; i > 0; i--) {
      assertEquals(fake.regions.size, before);
      fake.pending[0]!.complete(0);
      queue.interrupt();
    }
    assertEquals(fake.regions.size, before - 2);
  }
});

Deno.test("blk batch: a wait that was given up leaves the interrupts off", async () => {
  const { fake, batch, queue } = rig(1, 512);
  read(batch, 0);
  await assertRejects(() => batch.wait({ deadline: 1 }), VireoError);
  fake.pending[0]!.complete(0);
  queue.interrupt();
  assertEquals([batch.poll(), queue.callbacks], [0, false]);
});

Deno.test("blk batch: what the device did not answer before a suspend is lost, and can be sent again", async () => {
  const { fake, blk, batch } = rig(2, 512);
  read(batch, 1);
  await blk.freeze();
  await fake.device.reset();
  blk.restore();
  assertEquals([pollAll(batch), batch.ok(1), batch.inFlight], [[1], false, 0]);
  assertEquals((batch.error(1) as VireoError).code, "DEVICE_STATE");
  read(batch, 1);
  assertEquals(fake.pending.length, 1);
});
