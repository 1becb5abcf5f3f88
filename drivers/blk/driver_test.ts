import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BLK_CONFIG, BlkFeature, VireoError, type VireoErrorCode } from "@vireo/hal";
import { Blk, blkDriver } from "./driver.ts";
import type { BlkDriverOptions } from "./types.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";

const F = BlkFeature;

function make(
  features: number[] = [],
  set: (fake: FakeDevice, config: DataView) => void = () => {},
  options: BlkDriverOptions = {},
): { fake: FakeDevice; blk: Blk } {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(0, 1000, true);
  fake.config.setUint32(BLK_CONFIG.seg_max.offset, 8, true);
  set(fake, fake.config);
  return { fake, blk: new Blk(fake.device, options) };
}

/** One turn, so that the kick of this turn happened. */
const turn = (): Promise<void> => Promise.resolve();

async function rejects(promise: Promise<unknown>, code: VireoErrorCode): Promise<VireoError> {
  const error = await assertRejects(() => promise, VireoError);
  assertEquals(error.code, code);
  return error;
}

Deno.test("a read has a 16-byte header, its data and a status byte preset to 0xff", async () => {
  const { fake, blk } = make();
  const read = blk.read(3, 1024);
  await turn();
  const [request] = fake.pending;
  assert(request !== undefined);
  assertEquals([request.type, request.sector, request.readable.length], [0, 3, 16]);
  assertEquals(request.elements.map(({ length, writable }) => [length, writable]), [
    [16, false],
    [1024, true],
    [1, true],
  ]);
  assertEquals(fake.memory(request.elements[2]!.address, 1)[0], 0xff);
  request.fill(new Uint8Array(1024).fill(7));
  request.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals(await read, new Uint8Array(1024).fill(7));
  await blk.remove();
  assertEquals(fake.regions.size, 0);
});

Deno.test("a write sends its data and a read fills the caller's array", async () => {
  const { fake, blk } = make();
  let disk: Uint8Array = new Uint8Array(512);
  fake.script = (request: FakeRequest) => {
    if (request.type === 1) disk = request.readable.slice(16);
    else request.fill(disk);
    request.complete(0, request.type === 1 ? 1 : undefined);
  };
  const data = crypto.getRandomValues(new Uint8Array(512));
  await blk.write(9, data);
  assertEquals(disk, data);
  const into = new Uint8Array(512);
  assert(await blk.read(9, into) === into);
  assertEquals(into, data);
  await blk.remove();
});

Deno.test("a device that answers while it is notified need not interrupt, one that answers later must", async () => {
  const { fake, blk } = make();
  const [queue] = fake.queues;
  const seen: boolean[] = [];
  fake.script = (request) => {
    seen.push(queue!.callbacks);
    if (request.sector === 0) request.complete(0);
  };
  const [first, second] = [blk.read(0, 512), blk.read(1, 512)];
  await first;
  assertEquals([seen, queue!.callbacks], [[false, false], true]);
  fake.pending[0]!.complete(0);
  queue!.interrupt();
  await second;
  await blk.remove();
});

Deno.test("requests of one turn are told in one kick", async () => {
  const { fake, blk } = make();
  const reads = [blk.read(0, 512), blk.read(1, 512), blk.read(2, 512)];
  await turn();
  assertEquals([fake.kicks, fake.pending.length], [1, 3]);
  // Out of order.
  for (const request of fake.pending.toReversed()) {
    request.fill(new Uint8Array(512).fill(request.sector + 1));
    request.complete(0);
  }
  fake.queues[0]!.interrupt();
  assertEquals((await Promise.all(reads)).map((bytes) => bytes[0]), [1, 2, 3]);
  await blk.remove();
});

Deno.test("a size_max of 0 sets no bound, as Linux reads it", async () => {
  const { fake, blk } = make([F.SIZE_MAX, F.SEG_MAX], (_, config) => {
    config.setUint32(BLK_CONFIG.size_max.offset, 0, true);
    config.setUint32(BLK_CONFIG.seg_max.offset, 4, true);
  });
  const unbound = make([F.SEG_MAX], (_, config) => {
    config.setUint32(BLK_CONFIG.seg_max.offset, 4, true);
  }).blk;
  assertEquals(blk.limits, unbound.limits);
  await unbound.remove();
  const shapes: number[][] = [];
  fake.script = (request) => {
    shapes.push(request.elements.map(({ length }) => length));
    request.complete(0);
  };
  await blk.write(0, new Uint8Array(8192));
  assertEquals(shapes, [[16, 8192, 1]]);
  await blk.remove();
});

Deno.test("a long transfer is split by size_max, seg_max and whole blocks", async () => {
  const { fake, blk } = make([F.SIZE_MAX, F.SEG_MAX], (_, config) => {
    config.setUint32(BLK_CONFIG.size_max.offset, 700, true);
    config.setUint32(BLK_CONFIG.seg_max.offset, 2, true);
  });
  assertEquals(blk.limits.maxRequestBytes, 1024);
  const data = Uint8Array.from({ length: 2560 }, (_, i) => i % 251);
  const got = new Uint8Array(2560);
  const shapes: number[][] = [];
  fake.script = (request) => {
    got.set(request.readable.subarray(16), request.sector * 512);
    shapes.push(request.elements.map(({ length }) => length));
    request.complete(0);
  };
  await blk.write(0, data);
  assertEquals(shapes, [[16, 700, 324, 1], [16, 700, 324, 1], [16, 512, 1]]);
  assertEquals(got, data);
  await blk.remove();
});

Deno.test("a long transfer takes free slots in a row as one request", async () => {
  const { fake, blk } = make([], () => {}, { depth: 4, bytesPerRequest: 512 });
  const shapes: number[][] = [];
  fake.script = (request) => void shapes.push(request.elements.map(({ length }) => length));
  const complete = (i: number): void => {
    const { sector, readable } = fake.pending[i]!;
    got.set(readable.subarray(16), sector * 512);
    fake.pending[i]!.complete(0);
    fake.queues[0]!.interrupt();
  };
  const data = Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
  const got = new Uint8Array(4096);
  // The short one has the first slot; three are left, then its slot alone, then three again.
  const short = blk.write(0, data.subarray(0, 512));
  const long = blk.write(1, data.subarray(512));
  await turn();
  assertEquals(shapes, [[16, 512, 1], [16, 1536, 1]]);
  complete(0);
  assertEquals(shapes.slice(2), [[16, 512, 1]]);
  complete(0);
  assertEquals(shapes.slice(3), [[16, 1536, 1]]);
  complete(0);
  complete(0);
  await Promise.all([short, long]);
  assertEquals(got, data);
  // All slots came back.
  const whole = blk.read(0, 2048);
  await turn();
  assertEquals(shapes.slice(4), [[16, 2048, 1]]);
  fake.pending[0]!.fill(data.subarray(0, 2048));
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals(await whole, data.subarray(0, 2048));
  await blk.remove();
});

Deno.test("without SEG_MAX a request has one data buffer", async () => {
  const { fake, blk } = make([F.SIZE_MAX], (_, config) => {
    config.setUint32(BLK_CONFIG.size_max.offset, 1500, true);
  });
  assertEquals(blk.limits.maxRequestBytes, 1024);
  fake.script = (request) => request.complete(0);
  await blk.read(0, 4096);
  assertEquals(fake.queues[0]!.inFlight, 0);
  await blk.remove();
});

Deno.test("more requests than slots wait their turn, in order", async () => {
  const { fake, blk } = make([], () => {}, { depth: 2 });
  const order: number[] = [];
  const reads = Array.from(
    { length: 6 },
    (_, i) => blk.read(i, 512).then(() => order.push(i)),
  );
  await turn();
  assertEquals(fake.pending.length, 2);
  for (let i = 0; i < 6; i++) {
    fake.pending[0]!.complete(0);
    fake.queues[0]!.interrupt();
  }
  await Promise.all(reads);
  assertEquals(order, [0, 1, 2, 3, 4, 5]);
  await blk.remove();
});

for (
  const [status, code] of [[1, "IO_ERROR"], [2, "UNSUPPORTED"], [9, "BAD_STATUS"]] as const
) {
  Deno.test(`status ${status} rejects with ${code} and its fields`, async () => {
    const { fake, blk } = make();
    fake.script = (request) => request.complete(status);
    const error = await rejects(blk.read(5, 512), code);
    assertEquals([error.device, error.queue, error.seen], ["virtio0", 0, status]);
    await blk.remove();
  });
}

Deno.test("a status that the device never wrote is BAD_STATUS", async () => {
  const { fake, blk } = make();
  fake.script = (request) => request.complete(undefined);
  assertEquals((await rejects(blk.read(0, 512), "BAD_STATUS")).seen, 0xff);
  await rejects(blk.write(0, new Uint8Array(512)), "BAD_STATUS");
  await blk.remove();
});

Deno.test("a read whose used length does not cover data and status is BAD_LENGTH", async () => {
  const { fake, blk } = make();
  fake.script = (request) => request.complete(0, 512);
  const error = await rejects(blk.read(0, 512), "BAD_LENGTH");
  assertEquals([error.seen, error.expected], [512, 513]);
  await blk.remove();
});

Deno.test("a legacy device's used length is disregarded", async () => {
  const { fake, blk } = make([], (fake) => fake.legacy = true);
  fake.script = (request) => request.complete(0, 0);
  assertEquals((await blk.read(0, 512)).length, 512);
  await blk.remove();
});

Deno.test("a part's error ends the whole, after what is in flight came back", async () => {
  // One buffer of a block a request, so that each slot is a request of its own.
  const { fake, blk } = make([F.SIZE_MAX], (_, config) => {
    config.setUint32(BLK_CONFIG.size_max.offset, 512, true);
  }, { depth: 2 });
  const seen: number[] = [];
  fake.script = (request) => void seen.push(request.sector);
  const write = blk.write(0, new Uint8Array(512 * 5));
  await turn();
  let settled = false;
  write.catch(() => settled = true);
  fake.pending[0]!.complete(1);
  fake.queues[0]!.interrupt();
  await turn();
  assertEquals(settled, false);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await rejects(write, "IO_ERROR");
  assertEquals(seen, [0, 1]);
  await blk.remove();
});

Deno.test("an abort rejects at once, and the slot is used again only when it came back", async () => {
  const { fake, blk } = make([], () => {}, { depth: 1 });
  const abort = new AbortController();
  const into = new Uint8Array(512);
  const read = blk.read(0, into, { signal: abort.signal });
  await turn();
  const reason = new Error("changed my mind");
  abort.abort(reason);
  assertEquals(await assertRejects(() => read), reason);
  const second = blk.read(1, 512);
  await turn();
  assertEquals(fake.pending.map((request) => request.sector), [0]);
  const [late] = fake.pending;
  late!.fill(new Uint8Array(512).fill(1));
  late!.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals(into, new Uint8Array(512), "an aborted read must not write to its array");
  assertEquals(fake.pending.map((request) => request.sector), [1]);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await second;
  await blk.remove();
});

Deno.test("an abort of a request that still waits never reaches the device", async () => {
  const { fake, blk } = make([], () => {}, { depth: 1 });
  const abort = new AbortController();
  const first = blk.read(0, 512);
  const second = blk.read(1, 512, { signal: abort.signal });
  const third = blk.read(2, 512);
  await turn();
  abort.abort();
  await assertRejects(() => second);
  const sectors: number[] = [];
  fake.script = (request) => (sectors.push(request.sector), request.complete(0));
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await Promise.all([first, third]);
  assertEquals(sectors, [2]);
  await assertRejects(() => blk.read(0, 512, { signal: abort.signal }));
  await blk.remove();
});

Deno.test("a deadline rejects with TIMEOUT", async () => {
  const { blk } = make();
  const error = await rejects(blk.read(4, 512, { deadline: 1 }), "TIMEOUT");
  assertEquals(error.queue, 0);
  assertEquals(
    error.message,
    "Timed out after 1 ms waiting for the device to answer the request at sector 4 (virtio0, queue 0): saw nothing in the used ring, even after another notification",
  );
  await assertRejects(() => blk.read(4, 512, { deadline: -1 }), RangeError);
  await blk.remove();
});

Deno.test("the last look takes answers whose interrupt or notification was lost", async () => {
  const { fake, blk } = make();
  const unheard = blk.read(4, 512, { deadline: 5 });
  await turn();
  fake.pending[0]!.complete(0);
  assertEquals((await unheard).length, 512);
  fake.pending.length = 0;
  fake.onKickAgain = () => fake.pending[0]!.complete(0);
  assertEquals((await blk.read(5, 512, { deadline: 1 })).length, 512);
  using batch = blk.batch(1, 512);
  batch.prepareRead(0, 3);
  batch.submit(0);
  fake.pending.length = 0;
  batch.kick();
  await batch.wait({ deadline: 1 });
  assertEquals([batch.poll(), batch.ok(0)], [0, true]);
  await blk.remove();
});

Deno.test("bad ranges are refused before the device sees them", async () => {
  const { fake, blk } = make();
  const error = await rejects(blk.read(999, 1024), "OUT_OF_RANGE");
  assertEquals([error.seen, error.device], [1001, "virtio0"]);
  await assertRejects(() => blk.read(0, 100), RangeError);
  await assertRejects(() => blk.read(-1, 512), RangeError);
  await assertRejects(() => blk.read(0.5, 512), RangeError);
  await assertRejects(() => blk.write(0, new Uint8Array(513)), RangeError);
  assertEquals((await blk.read(0, 0)).length, 0);
  await assertRejects(() => blk.read(0, 512, { queue: 3 }), RangeError);
  assertEquals(fake.kicks, 0);
  await blk.remove();
});

Deno.test("a read-only disk refuses every change locally", async () => {
  const all = [F.RO, F.DISCARD, F.WRITE_ZEROES, F.SECURE_ERASE];
  const { fake, blk } = make(all, (_, config) => {
    for (const at of [60, 64, 68]) config.setUint32(at, 1, true);
  });
  assert(blk.readOnly);
  const range = [{ sector: 0, sectors: 1 }];
  assertEquals((await rejects(blk.write(0, new Uint8Array(512)), "READ_ONLY")).device, "virtio0");
  await rejects(blk.discard(range), "READ_ONLY");
  await rejects(blk.writeZeroes(range), "READ_ONLY");
  await rejects(blk.secureErase(range), "READ_ONLY");
  using batch = blk.batch(1, 512);
  assertThrows(() => batch.prepareWrite(0, 0), VireoError, "read-only");
  assertEquals(fake.kicks, 0);
  await blk.remove();
});

Deno.test("blocks have a power of two of bytes, from a sector's to 64 KiB", () => {
  for (let size = 512; size <= 65_536; size *= 2) {
    const { blk } = make([F.BLK_SIZE], (_, config) => config.setUint32(20, size, true));
    assertEquals(blk.blockSize, size);
  }
});

Deno.test("blocks larger than a sector are the unit of requests", async () => {
  const { fake, blk } = make([F.BLK_SIZE], (_, config) => config.setUint32(20, 4096, true));
  assertEquals(blk.blockSize, 4096);
  await assertRejects(() => blk.read(0, 512), RangeError, "expected whole blocks of 4096 bytes");
  await assertRejects(() => blk.read(1, 4096), RangeError);
  fake.script = (request) => request.complete(0);
  await blk.read(8, 4096);
  await blk.remove();
});

Deno.test("the configuration is read as the features make it valid", async () => {
  const { blk } = make([F.GEOMETRY, F.TOPOLOGY, F.BLK_SIZE, F.CONFIG_WCE, F.FLUSH], (_, config) => {
    config.setUint32(4, 1, true);
    config.setUint16(16, 1024, true);
    config.setUint8(18, 16);
    config.setUint8(19, 63);
    config.setUint32(20, 512, true);
    config.setUint8(24, 3);
    config.setUint8(25, 1);
    config.setUint16(26, 8, true);
    config.setUint32(28, 64, true);
    config.setUint8(32, 1);
  });
  assertEquals(blk.sectors, 0x1_0000_0000 + 1000);
  assertEquals(blk.capacity, (0x1_0000_0000 + 1000) * 512);
  assertEquals(blk.geometry, { cylinders: 1024, heads: 16, sectors: 63 });
  assertEquals(blk.topology, {
    physicalBlockSize: 4096,
    alignmentOffset: 1,
    minIoSize: 8,
    optIoSize: 64,
  });
  assertEquals(blk.writeCache, true);
  blk.writeCache = false;
  assertEquals(blk.writeCache, false);
  await blk.remove();
  const bare = make().blk;
  assertEquals([bare.geometry, bare.topology, bare.writeCache, bare.queues], [
    undefined,
    undefined,
    false,
    1,
  ]);
  assertThrows(() => bare.writeCache = true, VireoError, "CONFIG_WCE");
  await bare.remove();
});

const lies: [string, number[], (config: DataView) => void, number][] = [
  ["size_max", [F.SIZE_MAX], (c) => c.setUint32(8, 100, true), 100],
  ["seg_max", [F.SEG_MAX], (c) => c.setUint32(12, 0, true), 0],
  ["blk_size", [F.BLK_SIZE], (c) => c.setUint32(20, 0, true), 0],
  ["blk_size", [F.BLK_SIZE], (c) => c.setUint32(20, 256, true), 256],
  ["blk_size", [F.BLK_SIZE], (c) => c.setUint32(20, 131_072, true), 131_072],
  ["blk_size", [F.BLK_SIZE], (c) => c.setUint32(20, 0x80000000, true), 0x80000000],
  ["blk_size", [F.BLK_SIZE], (c) => c.setUint32(20, 1000, true), 1000],
  ["capacity", [], (c) => c.setUint32(4, 0x100000, true), 0x100000 * 2 ** 32 + 1000],
  ["num_queues", [F.MQ], (c) => c.setUint16(34, 0, true), 0],
  ["physical_block_exp", [F.TOPOLOGY], (c) => c.setUint8(24, 200), 200],
  ["max_secure_erase_sectors", [F.SECURE_ERASE], () => {}, 0],
];
for (const [field, features, set, seen] of lies) {
  Deno.test(`a configuration whose ${field} is ${seen} is CONFIG_INVALID`, () => {
    const error = assertThrows(() => make(features, (_, config) => set(config)), VireoError);
    assertEquals([error.code, error.register, error.seen, error.device], [
      "CONFIG_INVALID",
      field,
      seen,
      "virtio0",
    ]);
  });
}

Deno.test("a ring of fewer than 3 descriptors is QUEUE_SIZE", () => {
  const error = assertThrows(() => make([], (fake) => fake.ringSize = 2), VireoError);
  assertEquals([error.code, error.seen], ["QUEUE_SIZE", 2]);
});

Deno.test("flush is a request without data, and nothing without FLUSH", async () => {
  const { fake, blk } = make([F.FLUSH]);
  const shapes: unknown[] = [];
  fake.script = (request) => {
    shapes.push([request.type, request.sector, request.elements.map((e) => e.length)]);
    request.complete(0);
  };
  await blk.flush();
  assertEquals(shapes, [[4, 0, [16, 1]]]);
  await blk.remove();
  const without = make();
  await without.blk.flush();
  assertEquals(without.fake.kicks, 0);
  await without.blk.remove();
});

Deno.test("discard, write zeroes and secure erase are cut by their bounds", async () => {
  const features = [F.DISCARD, F.WRITE_ZEROES, F.SECURE_ERASE];
  const { fake, blk } = make(features, (_, config) => {
    [10, 2, 1].forEach((value, i) => config.setUint32(36 + 4 * i, value, true));
    [0, 4].forEach((value, i) => config.setUint32(48 + 4 * i, value, true));
    [8, 1, 4].forEach((value, i) => config.setUint32(60 + 4 * i, value, true));
  });
  const sent: unknown[] = [];
  fake.script = (request) => {
    const view = new DataView(request.readable.buffer, 16);
    const ranges: number[][] = [];
    for (let at = 0; at < view.byteLength; at += 16) {
      ranges.push([
        Number(view.getBigUint64(at, true)),
        view.getUint32(at + 8, true),
        view.getUint32(at + 12, true),
      ]);
    }
    sent.push([request.type, request.sector, ranges, request.writableLength]);
    request.complete(0);
  };
  await blk.discard([{ sector: 100, sectors: 25 }]);
  await blk.writeZeroes([{ sector: 1, sectors: 2 }, { sector: 7, sectors: 900 }], { unmap: true });
  await blk.writeZeroes([{ sector: 1, sectors: 1 }]);
  await blk.secureErase([{ sector: 4, sectors: 12 }]);
  assertEquals(sent, [
    [11, 0, [[100, 10, 0], [110, 10, 0]], 1],
    [11, 0, [[120, 5, 0]], 1],
    [13, 0, [[1, 2, 1], [7, 900, 1]], 1],
    [13, 0, [[1, 1, 0]], 1],
    [14, 0, [[4, 8, 0]], 1],
    [14, 0, [[12, 4, 0]], 1],
  ]);
  await assertRejects(() => blk.secureErase([{ sector: 1, sectors: 4 }]), RangeError);
  await rejects(blk.discard([{ sector: 999, sectors: 2 }]), "OUT_OF_RANGE");
  fake.script = (request) => request.complete(1);
  await rejects(blk.discard([{ sector: 0, sectors: 800 }]), "IO_ERROR");
  await blk.remove();
});

Deno.test("what was not negotiated is UNSUPPORTED without a request", async () => {
  const { fake, blk } = make();
  for (
    const [name, call] of [
      ["DISCARD", () => blk.discard([])],
      ["WRITE_ZEROES", () => blk.writeZeroes([])],
      ["SECURE_ERASE", () => blk.secureErase([])],
      ["LIFETIME", () => blk.lifetime()],
    ] as const
  ) {
    assertEquals((await rejects(call(), "UNSUPPORTED")).expected, `feature ${name}`);
  }
  assertEquals(fake.kicks, 0);
  await blk.remove();
});

Deno.test("getId() and lifetime() read 20 and 6 bytes", async () => {
  const { fake, blk } = make([F.LIFETIME]);
  fake.script = (request) => {
    assertEquals(request.writableLength, request.type === 8 ? 21 : 7);
    request.fill(
      request.type === 8 ? new TextEncoder().encode("disk\0\0") : Uint8Array.of(1, 0, 2, 0, 3, 0),
    );
    if (request.type === 8) request.fill(new TextEncoder().encode("disk".padEnd(20, "\0")));
    request.complete(0);
  };
  assertEquals(await blk.getId(), "disk");
  assertEquals(await blk.lifetime(), { preEolInfo: 1, estTypA: 2, estTypB: 3 });
  await blk.remove();
});

Deno.test("requests go round the queues, or where they are told", async () => {
  const { fake, blk } = make([F.MQ], (_, config) => config.setUint16(34, 3, true));
  assertEquals(blk.queues, 3);
  assertEquals(fake.queues.map((queue) => queue.name), ["req.0", "req.1", "req.2"]);
  const used: number[] = [];
  fake.script = (request) => (used.push(request.queue.index), request.complete(0));
  for (let i = 0; i < 4; i++) await blk.read(i, 512);
  for (const queue of [2, 2]) await blk.read(0, 512, { queue });
  assertEquals(used, [0, 1, 2, 0, 2, 2]);
  await blk.remove();
});

Deno.test("a capacity change is told once, and a lie breaks the device", async () => {
  const { fake, blk } = make();
  const seen: number[] = [];
  blk.onCapacityChange = (sectors) => seen.push(sectors);
  blk.configChanged();
  fake.config.setUint32(0, 2000, true);
  blk.configChanged();
  assertEquals([seen, blk.sectors], [[2000], 2000]);
  fake.config.setUint32(4, 0xffffffff, true);
  blk.configChanged();
  assertEquals(fake.log, ["break CONFIG_INVALID"]);
  await rejects(blk.read(0, 512), "CONFIG_INVALID");
  await blk.remove();
});

Deno.test("failure rejects all, memory stays the device's, and restore goes on", async () => {
  const { fake, blk } = make([], () => {}, { depth: 1 });
  const pending = [blk.read(0, 512), blk.read(1, 512)];
  const batch = blk.batch(1, 512);
  batch.prepareRead(0, 5);
  batch.submit(0);
  await turn();
  blk.failed(new VireoError("DEVICE_NEEDS_RESET", "Device needs a reset"));
  for (const promise of pending) await rejects(promise, "DEVICE_NEEDS_RESET");
  assertEquals(batch.poll(), 0);
  assertEquals((batch.error(0) as VireoError).code, "DEVICE_NEEDS_RESET");
  assertThrows(() => batch.prepareRead(0, 0), RangeError, "Cannot prepare slot 0: it must be free");
  await rejects(blk.read(0, 512), "DEVICE_NEEDS_RESET");
  await blk.freeze();
  await fake.device.reset();
  blk.restore();
  fake.script = (request) => (request.fill(Uint8Array.of(9)), request.complete(0));
  assertEquals((await blk.read(0, 512))[0], 9);
  batch.prepareRead(0, 0);
  assert(batch.submit(0));
  batch.kick();
  assertEquals([batch.poll(), batch.ok(0), batch.bytes(0)[0]], [0, true, 9]);
  batch[Symbol.dispose]();
  await blk.remove();
  assertEquals(fake.regions.size, 0);
});

Deno.test("freeze waits for what is in flight and keeps what waits", async () => {
  const { fake, blk } = make([], () => {}, { depth: 1 });
  const first = blk.read(0, 512);
  const second = blk.read(1, 512);
  await turn();
  const frozen = blk.freeze();
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await frozen;
  await first;
  assertEquals(fake.pending.length, 0);
  // The bus reports its own reset.
  blk.failed(new VireoError("DEVICE_STATE", "Device was reset"));
  await fake.device.reset();
  fake.script = (request) => request.complete(0);
  blk.restore();
  await second;
  await blk.remove();
});

Deno.test("remove resets before it frees, and frees nothing if the reset fails", async () => {
  const { fake, blk } = make();
  const pending = blk.read(0, 512);
  await turn();
  const removal = blk.remove();
  assertEquals((await rejects(pending, "DEVICE_REMOVED")).device, "virtio0");
  await removal;
  assertEquals([fake.log, fake.regions.size], [["reset", "deleteQueues"], 0]);
  const stuck = make([], (fake) => fake.resetFails = true);
  await rejects(stuck.blk.remove(), "RESET_TIMEOUT");
  assertEquals(stuck.fake.regions.size, 2);
});

Deno.test("a broken queue rejects what is pending with its reason", async () => {
  const { fake, blk } = make();
  const pending = blk.read(0, 512);
  await turn();
  fake.queues[0]!.break(new VireoError("USED_ID_RANGE", "Device lies"));
  fake.queues[0]!.interrupt();
  await rejects(pending, "USED_ID_RANGE");
  await rejects(blk.read(0, 512), "USED_ID_RANGE");
  await blk.remove();
});

Deno.test("a batch polls its slots and shares the ring with promises", async () => {
  const { fake, blk } = make();
  using batch = blk.batch(2, 512);
  fake.script = (request) => {
    if (request.type === 0) request.fill(new Uint8Array(512).fill(request.sector));
    request.complete(request.sector === 13 ? 1 : 0);
  };
  batch.prepareRead(0, 12);
  batch.prepareRead(1, 13);
  assertEquals([batch.submit(0), batch.submit(1), batch.inFlight, batch.poll()], [
    true,
    true,
    2,
    -1,
  ]);
  const read = blk.read(14, 512);
  batch.kick();
  assertEquals([batch.poll(), batch.bytes(0)[511], batch.ok(0), batch.error(0)], [
    0,
    12,
    true,
    undefined,
  ]);
  assertEquals([batch.poll(), batch.ok(1), batch.poll()], [1, false, -1]);
  const error = batch.error(1) as VireoError;
  assertEquals([error.code, error.seen], ["IO_ERROR", 1]);
  assertEquals((await read)[0], 14);
  assertThrows(() => batch.prepareRead(5, 0), RangeError);
  assertThrows(() => batch.prepareRead(0, 0, 100), RangeError);
  assertEquals(
    assertThrows(() => batch.prepareRead(0, 1000), VireoError).code,
    "OUT_OF_RANGE",
  );
  assertThrows(() => blk.batch(0, 512), RangeError);
  assertThrows(() => blk.batch(1, 100), RangeError);
  await blk.remove();
});

Deno.test("a batch waits for a device that answers later", async () => {
  const { fake, blk } = make();
  const batch = blk.batch(1, 512);
  batch.prepareWrite(0, 3);
  batch.submit(0);
  batch.kick();
  assertEquals(fake.queues[0]!.callbacks, false, "a poller wants no interrupts");
  const waited = batch.wait({ deadline: 1000 });
  assertEquals(fake.queues[0]!.callbacks, true);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  await waited;
  assertEquals(batch.poll(), 0);
  batch.prepareWrite(0, 3);
  batch.submit(0);
  batch.kick();
  await rejects(batch.wait({ deadline: 1 }), "TIMEOUT");
  const abort = new AbortController();
  const aborted = batch.wait({ signal: abort.signal });
  abort.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  // Disposed with a slot at the device: its memory goes when the slot comes back.
  batch[Symbol.dispose]();
  assertEquals(fake.regions.size, 4);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals(fake.regions.size, 2);
  await blk.remove();
});

Deno.test("blkDriver matches block devices and knows the features of §5.2.3", () => {
  assertEquals(blkDriver.ids, [{ device: 2, vendor: 0xffffffff }]);
  assertEquals([...blkDriver.features], [1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
});
