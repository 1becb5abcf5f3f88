import { assertEquals, assertRejects } from "@std/assert";
import { BlkRequestType, type DmaRegion, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import type { WaitOptions } from "../wait/options.ts";
import { BlkQueue } from "./_queue.ts";
import { Slots } from "./_slots.ts";

const { IN, OUT, FLUSH, ZONE_APPEND } = BlkRequestType;
const GONE = new VireoError("DEVICE_STATE", "As the test wants");

/** A queue with slots of some bytes, and a device that answers when it is told. */
function rig({ count = 4, bytes = 512, span = 1, lazy = false, ringSize = 64 } = {}) {
  const fake = new FakeDevice();
  fake.ringSize = ringSize;
  const { device } = fake;
  const copied: number[] = [];
  const regions: DmaRegion[] = [];
  const dma = {
    alloc(...args: Parameters<typeof device.dma.alloc>): DmaRegion {
      const region = device.dma.alloc(...args);
      regions.push(region);
      return Object.assign(region, { copied: (length: number) => copied.push(length) });
    },
  };
  device.findQueues([{ name: "req.0", callback: () => it.drain() }]);
  const ring = fake.queues[0]!;
  const slots = new Slots(dma, count, bytes, bytes * span, bytes * span, lazy);
  const it = new BlkQueue(0, slots, "virtio0", true, false);
  it.start(ring);
  return {
    it,
    fake,
    ring,
    dma,
    copied,
    submit: (sector: number, length = bytes, type: number = IN, options: WaitOptions = {}) =>
      it.submit(type, sector, new Uint8Array(length), options),
    /** The first slot and the number of slots of each request that the device has. */
    places: () =>
      fake.pending.map(({ elements: [, data] }) => [
        (data!.address - regions.at(-1)!.address) / bytes,
        data!.length / bytes,
      ]),
    /** Answers the oldest request. */
    answer({ status = 0, used }: { readonly status?: number; readonly used?: number } = {}): void {
      const request = fake.pending[0]!;
      const { address, length } = request.elements.at(-1)!;
      fake.memory(address, length)[length - 1] = status;
      request.complete(undefined, used);
      ring.interrupt();
    },
  };
}

/** The kick of this turn happened, and promises that are settled told their owners. */
async function turn(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

Deno.test("blk queue: it is idle when the device has returned the last slot", async () => {
  const { it, submit, answer } = rig();
  await it.whenIdle();
  const reads = [submit(0), submit(1), submit(2)];
  await turn();
  let idle = false;
  const waiting = it.whenIdle().then(() => idle = true);
  for (const left of [2, 1, 0]) {
    answer();
    await turn();
    assertEquals([it.inFlight, idle], [left, left === 0]);
  }
  await Promise.all([waiting, ...reads]);
});

Deno.test("blk queue: one that is stopped keeps its requests, says why they wait, and takes no answers", async () => {
  const { it, ring, fake, submit, answer } = rig();
  const first = submit(0);
  await turn();
  it.stop();
  answer();
  const late = await assertRejects(() => submit(1, 512, IN, { deadline: 1 }), VireoError);
  assertEquals([late.code, late.seen, it.inFlight], ["TIMEOUT", "a device that is being reset", 1]);
  const second = submit(2);
  it.start(ring);
  await turn();
  assertEquals([it.inFlight, fake.pending.map(({ sector }) => sector)], [1, [2]]);
  answer();
  await Promise.all([first, second]);
});

Deno.test("blk queue: interrupts are off while answers are taken, and when nobody waits for one", async () => {
  const { it, ring, submit, answer } = rig();
  const { pop } = ring;
  const taking: boolean[] = [];
  ring.pop = () => {
    taking.push(ring.callbacks);
    return pop.call(ring);
  };
  const reads = [submit(0), submit(1)];
  await turn();
  // One look at the ring for both.
  assertEquals(taking, [false]);
  for (const wanted of [true, false]) {
    answer();
    assertEquals([ring.callbacks, new Set(taking)], [wanted, new Set([false])]);
  }
  it.waitChanged(1);
  assertEquals(ring.callbacks, true);
  it.waitChanged(-1);
  it.drain();
  assertEquals(ring.callbacks, false);
  await Promise.all(reads);
});

Deno.test("blk queue: a late request says whether the device has it", async () => {
  for (
    const [type, length, busy, what] of [
      [IN, 512, false, "the device to answer the request"],
      [FLUSH, 0, false, "the device to answer the request"],
      [IN, 512, true, "room for the request"],
    ] as const
  ) {
    const { it, submit } = rig({ count: 1 });
    const before = busy ? submit(0) : undefined;
    const sent = () => submit(7, length, type, { deadline: 1 });
    await assertRejects(sent, VireoError, `${what} at sector 7`);
    it.failAll(GONE);
    if (before !== undefined) await assertRejects(() => before, VireoError);
  }
});

Deno.test("blk queue: long requests take the lowest slots that are free in a row", async () => {
  const { fake, submit, places, answer } = rig({ span: 2 });
  const reads = [submit(0, 1024), submit(2, 512)];
  await turn();
  assertEquals(places(), [[0, 2], [2, 1]]);
  answer();
  reads.push(submit(3, 512), submit(4, 1024));
  await turn();
  assertEquals(places(), [[2, 1], [0, 1], [1, 1], [3, 1]]);
  answer();
  answer();
  // Slots 0 and 2 are free, and not in a row.
  reads.push(submit(6, 1024));
  await turn();
  assertEquals(places(), [[1, 1], [3, 1], [0, 1], [2, 1]]);
  while (fake.pending.length > 0) answer();
  reads.push(submit(8, 2048));
  await turn();
  assertEquals(places(), [[0, 2], [2, 2]]);
  while (fake.pending.length > 0) answer();
  await Promise.all(reads);
});

Deno.test("blk queue: a slot in the middle of a long request is not free", async () => {
  const { fake, submit, places, answer } = rig({ span: 2 });
  const reads = [submit(0, 512), submit(1, 1024)];
  await turn();
  answer();
  reads.push(submit(3, 512), submit(4, 512));
  await turn();
  assertEquals(places(), [[1, 2], [0, 1], [3, 1]]);
  while (fake.pending.length > 0) answer();
  await Promise.all(reads);
});

Deno.test("blk queue: it takes memory for all slots when the first ones have no room, if there is any", async () => {
  const KIB = 1024;
  for (const room of [true, false]) {
    const { it, fake, dma, submit, answer } = rig({ bytes: 32 * KIB, span: 2, lazy: true });
    const memory = () => [...fake.regions].reduce((sum, { bytes }) => sum + bytes.length, 0);
    const first = memory();
    const reads = [submit(0, 64 * KIB)];
    await turn();
    assertEquals(memory(), first);
    if (!room) {
      dma.alloc = () => {
        throw new VireoError("OUT_OF_MEMORY", "As the test wants");
      };
    }
    reads.push(submit(128, 32 * KIB));
    await turn();
    assertEquals([memory() - first, it.inFlight], room ? [128 * KIB, 2] : [0, 1]);
    answer();
    await turn();
    assertEquals(fake.pending.map(({ sector }) => sector), [128]);
    answer();
    await Promise.all(reads);
  }
});

Deno.test("blk queue: a ring with room for one request takes one", async () => {
  const { it, submit, answer } = rig({ ringSize: 1 });
  const reads = [submit(0), submit(1)];
  for (const left of [1, 0]) {
    await turn();
    assertEquals(it.inFlight, 1);
    answer();
    assertEquals(it.inFlight, left);
  }
  await Promise.all(reads);
});

Deno.test("blk queue: a request that the ring refuses is rejected, and the next one has its slot", async () => {
  const { it, ring, submit, places, answer } = rig({ count: 1 });
  const { add } = ring;
  ring.add = () => {
    ring.add = add;
    throw new Error("refused");
  };
  const refused = assertRejects(() => submit(0), Error, "refused");
  const next = submit(1);
  await turn();
  await refused;
  assertEquals([places(), it.inFlight], [[[0, 1]], 1]);
  answer();
  await next;
});

Deno.test("blk queue: a device that cannot be notified fails what it has", async () => {
  const { it, ring, submit } = rig();
  ring.kick = () => {
    throw GONE;
  };
  await assertRejects(() => submit(0), VireoError, "As the test wants");
  assertEquals(it.failure, GONE);
  await assertRejects(() => submit(1), VireoError, "As the test wants");
});

Deno.test("blk queue: the failure of a part names the sector at which the part begins", async () => {
  for (
    const [said, code, seen] of [
      [{ status: 1 }, "IO_ERROR", "0x1"],
      [{ used: 512 }, "BAD_LENGTH", "512"],
    ] as const
  ) {
    const { it, submit, answer } = rig();
    const read = assertRejects(() => submit(10, 1536), VireoError, "at sector 12");
    await turn();
    answer();
    answer();
    answer(said);
    const error = await read;
    assertEquals([error.code, error.message.includes(seen), it.inFlight], [code, true, 0]);
  }
});

Deno.test("blk queue: an append is answered with where its data are, in 8 bytes and a status", async () => {
  for (const used of [9, 8]) {
    const { fake, submit, answer } = rig();
    const append = submit(16, 512, ZONE_APPEND);
    await turn();
    fake.pending[0]!.fill(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    answer({ used });
    if (used === 9) assertEquals(await append, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    else {
      const error = await assertRejects(() => append, VireoError);
      assertEquals([error.code, error.seen, error.expected], ["BAD_LENGTH", 8, 9]);
    }
  }
});

Deno.test("blk queue: it reports what it copies, and nothing where there are no data", async () => {
  const { copied, submit, answer } = rig({ span: 2 });
  for (
    const [type, length, sent, got] of [
      [IN, 512, [], [512]],
      [OUT, 512, [512], []],
      [OUT, 1024, [1024], []],
      [FLUSH, 0, [], []],
    ] as const
  ) {
    const request = submit(0, length, type);
    await turn();
    assertEquals(copied.splice(0), [...sent]);
    answer();
    assertEquals(copied.splice(0), [...got]);
    await request;
  }
});

Deno.test("blk queue: nothing of a request is left to the next one", async () => {
  const { it, fake, submit, answer } = rig({ count: 1 });
  const before = new AbortController();
  const first = submit(0, 1024, OUT, { signal: before.signal });
  await turn();
  answer({ status: 1 });
  await assertRejects(() => first, VireoError);
  let done = false;
  const second = submit(4, 1024).then(() => done = true);
  before.abort(GONE);
  for (const sector of [4, 5]) {
    await turn();
    assertEquals([fake.pending.map(({ sector }) => sector), done], [[sector], false]);
    answer();
  }
  await second;
  assertEquals(it.inFlight, 0);
});
