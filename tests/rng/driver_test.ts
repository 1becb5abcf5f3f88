import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { RngDevice, type RngDeviceOptions, seededRandom, systemRandom } from "@vireo/emu";
import { DirectWire } from "../machine/direct_wire.ts";
import { type IntegerArray, type Rng, rngDriver } from "../../drivers/rng/mod.ts";

const SOON = { deadline: 5000 };

function boot(options: Partial<RngDeviceOptions> = {}): Promise<DirectWire<Rng>> {
  return DirectWire.boot(new RngDevice({ random: seededRandom(1), ...options }), rngDriver);
}

function expected(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  seededRandom(1)(bytes);
  return bytes;
}

/** The bytes in any order: requests in flight may be answered to any part of a read. */
function sorted(bytes: Uint8Array): Uint8Array {
  return bytes.slice().sort();
}

Deno.test("a read gives the device's bytes, exactly", async () => {
  await using booted = await boot();
  assertEquals(await booted.instance.read(100, SOON), expected(100));
  assertEquals(await booted.instance.read(0, SOON), new Uint8Array(0));
});

Deno.test("a read of no whole number of bytes is refused, not rounded", async () => {
  await using booted = await boot();
  for (const length of [-1, 1.5, NaN, Infinity]) {
    const message = `Cannot read ${length} bytes: expected an integer of at least 0`;
    await assertRejects(() => booted.instance.read(length, SOON), RangeError, message);
  }
  await assertRejects(
    () => booted.instance.read("x" as unknown as number, SOON),
    TypeError,
    "Cannot read into x: expected a number of bytes or a Uint8Array",
  );
});

Deno.test("a long read takes many requests and fills every byte", async () => {
  await using booted = await boot();
  assertEquals(sorted(await booted.instance.read(100_000, SOON)), sorted(expected(100_000)));
});

Deno.test("short answers are asked on until the read is full (drv.rng.operation.2)", async () => {
  await using booted = await boot({ maxBytes: 7 });
  assertEquals(await booted.instance.read(1000, SOON), expected(1000));
});

Deno.test("the deadline ends a read that the device fills a byte at a time, in one turn", async () => {
  await using booted = await boot({ maxBytes: 1 });
  const error = await assertRejects(
    () => booted.instance.read(10_000_000, { deadline: 20 }),
    VireoError,
  );
  assertEquals([error.code, error.message], [
    "TIMEOUT",
    "Timed out after 20 ms waiting for the device to fill the buffer",
  ]);
});

Deno.test("reads in flight together do not mix", async () => {
  await using booted = await boot({ maxBytes: 33 });
  const lengths = Array.from({ length: 50 }, (_, i) => i * 20);
  const reads = await Promise.all(lengths.map((length) => booted.instance.read(length, SOON)));
  assertEquals(reads.map((bytes) => bytes.length), lengths);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const all = Uint8Array.from(reads.flatMap((bytes) => [...bytes]));
  assertEquals(sorted(all), sorted(expected(total)));
});

Deno.test("fill takes any array of integers, and only those", async () => {
  await using booted = await boot({ random: systemRandom() });
  const arrays = [
    new Int8Array(64),
    new Uint8ClampedArray(64),
    new Uint16Array(64),
    new Int32Array(64),
    new BigUint64Array(64),
    new Uint8Array(new ArrayBuffer(100), 10, 64),
  ];
  for (const array of arrays) {
    assertEquals(await booted.instance.fill<IntegerArray>(array, SOON), array);
    assert(new Set<number | bigint>(array).size > 20);
  }
  const part = new Uint8Array(arrays[5]!.buffer);
  assert(
    part.subarray(0, 10).every((byte) => byte === 0) && part.subarray(74).every((b) => b === 0),
  );
  for (const wrong of [new Float64Array(1), new DataView(new ArrayBuffer(1)), [1]]) {
    await assertRejects(() => booted.instance.fill(wrong as never, SOON), TypeError);
  }
});

Deno.test("a used length beyond the buffer is clamped", async () => {
  await using booted = await boot({ lies: { usedLength: (_, capacity) => capacity * 1000 } });
  assertEquals(await booted.instance.read(10, SOON), expected(10));
});

Deno.test("length 0 is asked again, a few times", async () => {
  let empty = 5;
  await using booted = await boot({
    lies: { usedLength: (written) => empty-- > 0 ? 0 : written },
  });
  assertEquals((await booted.instance.read(10, SOON)).length, 10);
  empty = Infinity;
  const error = await assertRejects(() => booted.instance.read(10, SOON), VireoError);
  assertEquals([error.code, error.device], ["BAD_LENGTH", "virtio0"]);
});

Deno.test("a read that is given up leaves its memory to the device, and the array alone", async () => {
  const device = new RngDevice({ random: seededRandom(1), lies: { hold: true } });
  await using booted = await DirectWire.boot(device, rngDriver);
  const target = new Uint8Array(10_000);
  const abort = new AbortController();
  const aborted = booted.instance.read(target, { signal: abort.signal });
  const late = await assertRejects(() => booted.instance.read(5, { deadline: 1 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  abort.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  assert(booted.regions.size >= 4, "the device still has the buffers");
  device.release();
  const next = booted.instance.read(5, SOON);
  await new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
  device.release();
  await next;
  assert(target.every((byte) => byte === 0));
});

Deno.test("after a recovery and after a suspend the device reads on", async () => {
  await using booted = await boot();
  await booted.recover();
  assertEquals(await booted.instance.read(10, SOON), expected(10));
  await booted.suspend();
  assertEquals(await booted.instance.read(5, SOON), expected(15).subarray(10));
});

Deno.test("failure, suspend and removal reject the reads in flight", async () => {
  const device = new RngDevice({ random: seededRandom(1), lies: { hold: true } });
  const booted = await DirectWire.boot(device, rngDriver);
  const recovered = assertRejects(() => booted.instance.read(10, SOON), VireoError);
  await booted.recover();
  assertEquals((await recovered).code, "DEVICE_NEEDS_RESET");
  const suspended = assertRejects(() => booted.instance.read(10, SOON), VireoError);
  await booted.suspend();
  assertEquals((await suspended).code, "DEVICE_STATE");
  const removed = assertRejects(() => booted.instance.read(10, SOON), VireoError);
  await booted[Symbol.asyncDispose]();
  assertEquals((await removed).code, "DEVICE_REMOVED");
});
