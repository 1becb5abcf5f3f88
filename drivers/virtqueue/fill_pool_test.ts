// Requests that fill arrays, on a machine whose memory bounces.
import { assertEquals, assertRejects } from "@std/assert";
import { type DmaRegion, VireoError } from "@vireo/hal";
import { POISON } from "../testing/mod.ts";
import { checkOver, type Rig, rig } from "./exchange_test_util.ts";
import { FillPool } from "./fill_pool.ts";

/** Requests of 4 bytes, two at a time for one array; the memory of two is kept. */
function poolOf({ dma }: Rig, failure: () => Error | undefined = () => undefined): FillPool {
  return new FillPool({ dma, failure, tooShort: () => new Error("too short") }, {
    size: 4,
    most: 2,
  });
}

/** Bytes that differ from their neighbours. */
function bytes(length: number, first = 1): number[] {
  return Array.from({ length }, (_, i) => first + i);
}

Deno.test("fill pool: an array is filled by requests of its size, two at a time", async () => {
  const cases = [[0, []], [1, [1]], [4, [4]], [5, [4, 1]], [8, [4, 4]], [9, [4, 4, 1]]] as const;
  for (const [length, sizes] of cases) {
    using r = rig();
    using pool = poolOf(r);
    const into = new Uint8Array(length);
    const filled = pool.fill(r.requests, into, {});
    const asked: number[] = [];
    let most = 0;
    for (let at = 0; at < length; at += asked.at(-1)!) {
      r.requests.flush();
      most = Math.max(most, r.queue.inFlight);
      asked.push(r.answer(bytes(Math.min(4, length - at), at))[0]!.length);
      await Promise.resolve().then().then();
    }
    assertEquals(await filled, into);
    assertEquals([asked, most], [[...sizes], Math.min(2, sizes.length)]);
    assertEquals([...into], bytes(length, 0));
  }
});

Deno.test("fill pool: what a short answer left out is asked for, of the queue that gave it", async () => {
  using first = rig();
  using pool = poolOf(first);
  const whole = pool.fill(first.requests, new Uint8Array(4), {});
  first.answer(bytes(4));
  await whole;
  // The same memory goes to the next queue, as after a reset.
  using next = rig(first.dma);
  const filled = pool.fill(next.requests, new Uint8Array(4), {});
  assertEquals(next.answer(bytes(3)), [[POISON, POISON, POISON, POISON]]);
  assertEquals(next.answer([9]), [[POISON]]);
  assertEquals([...await filled], [1, 2, 3, 9]);
  assertEquals(first.dma.mistakes, []);
});

Deno.test("fill pool: eight answers in a row without a byte are the last", async () => {
  using r = rig();
  using pool = poolOf(r);
  const filled = pool.fill(r.requests, new Uint8Array(2), {});
  for (let i = 0; i < 7; i++) r.answer([]);
  // A byte begins the row again.
  r.answer([5]);
  for (let i = 0; i < 7; i++) r.answer([]);
  assertEquals(r.queue.inFlight + r.requests.waiting, 1);
  const rejected = assertRejects(() => filled, Error, "too short");
  r.answer([]);
  await rejected;
  assertEquals(r.queue.inFlight, 0);
});

Deno.test("fill pool: the deadline ends a fill between two answers, in one turn", async () => {
  using r = rig();
  using pool = poolOf(r);
  const filled = pool.fill(r.requests, new Uint8Array(2), { until: 0, deadline: 7 });
  const message = "Timed out after 7 ms waiting for the device to fill the buffer";
  const rejected = assertRejects(() => filled, VireoError, message);
  r.answer([1]);
  await rejected;
});

Deno.test("fill pool: the memory of two is kept, wiped, and what is with the device comes back", async () => {
  using r = rig();
  const pool = poolOf(r);
  const regions: DmaRegion[] = [];
  const alloc = r.dma.alloc.bind(r.dma);
  r.dma.alloc = (...request) => regions[regions.length] = alloc(...request);
  const fills = [1, 2, 3].map((first) => {
    const filled = pool.fill(r.requests, new Uint8Array(4), {});
    return { filled, expected: bytes(4, first * 10) };
  });
  assertEquals(r.dma.live, 1 + 3);
  for (const { filled, expected } of fills) {
    r.answer(expected);
    assertEquals([...await filled], expected);
  }
  assertEquals(r.dma.live, 1 + 2);
  for (const region of regions.slice(0, 2)) assertEquals([...region.bytes], [0, 0, 0, 0]);
  const abort = new AbortController();
  const given = assertRejects(
    () => pool.fill(r.requests, new Uint8Array(4), { signal: abort.signal }),
    Error,
    "enough",
  );
  abort.abort(new Error("enough"));
  await given;
  // The memory that waits for the device is no one else's.
  const filled = pool.fill(r.requests, new Uint8Array(4), {});
  r.answer(bytes(4, 7));
  pool[Symbol.dispose]();
  assertEquals(r.dma.live, 1 + 1);
  r.answer(bytes(4));
  assertEquals([...await filled], bytes(4));
  checkOver(r);
});

Deno.test("fill pool: one failure ends the whole array, and nothing is written to it later", async () => {
  using r = rig();
  const pool = poolOf(r);
  const into = new Uint8Array(12);
  const failing = assertRejects(() => pool.fill(r.requests, into, {}), Error, "too short");
  // The two that are in flight are answered in turn.
  for (let i = 0; i < 7; i++) r.answer([]), r.answer([]);
  r.answer([]);
  await failing;
  r.answer(bytes(4));
  assertEquals([...into], Array(12).fill(0));
  pool[Symbol.dispose]();
  checkOver(r);
});

Deno.test("fill pool: a device that failed is not asked", async () => {
  using r = rig();
  using pool = poolOf(r, () => new Error("gone"));
  await assertRejects(() => pool.fill(r.requests, new Uint8Array(1), {}), Error, "gone");
  assertEquals(r.dma.live, 1);
});
