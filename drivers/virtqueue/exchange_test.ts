// Memory that goes to a device and comes back, on a machine whose memory bounces.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { POISON } from "../testing/mod.ts";
import { type Answer, exchange, lend, NOT_WRITTEN } from "./exchange.ts";
import { checkOver, rig } from "./exchange_test_util.ts";

Deno.test("exchange: exactly the written bytes are the answer, whatever was there before", async () => {
  using r = rig();
  const cases = [[[], 0, []], [[7], 1, [7]], [[1, 2, 3, 4, 5], 5, [1, 2, 3, 4, 5]]] as const;
  for (const [bytes, used, expected] of cases) {
    const asked = exchange(r.dma, r.requests, [Uint8Array.of(1, 2), Uint8Array.of(3)], [2, 3]);
    const seen = r.answer(bytes, used);
    assertEquals(seen.slice(0, 2), [[1, 2], [3]]);
    assertEquals(seen.slice(2), [[POISON, POISON], [POISON, POISON, POISON]]);
    const { bytes: answer, length, trailer } = await asked;
    assertEquals([[...answer], length, trailer.length], [[...expected], used, 0]);
  }
  checkOver(r);
});

Deno.test("exchange: a device that claims more than the room gets the room", async () => {
  using r = rig();
  const asked = exchange(r.dma, r.requests, [], 3);
  r.answer([1, 2, 3], 4_000_000_000);
  assertEquals([...(await asked).bytes], [1, 2, 3]);
  checkOver(r);
});

Deno.test("exchange: an empty part makes no element, and a message needs no answer", async () => {
  using r = rig();
  const asked = exchange(r.dma, r.requests, [new Uint8Array(0), Uint8Array.of(9)], 0);
  assertEquals(r.answer([], 0), [[9]]);
  assertEquals(await asked, { bytes: new Uint8Array(0), trailer: new Uint8Array(0), length: 0 });
  checkOver(r);
});

Deno.test("exchange: a trailer has its place, is counted behind a short answer, and shows that it was written", async () => {
  using r = rig();
  const asked = exchange(r.dma, r.requests, [], 4, { trailer: 1 });
  assertEquals(r.answer([1, 2], 3, 0), [[POISON, POISON, POISON, POISON], [NOT_WRITTEN]]);
  assertEquals(await asked, { bytes: Uint8Array.of(1, 2), trailer: Uint8Array.of(0), length: 3 });
  const silent = exchange(r.dma, r.requests, [], 4, { trailer: 1 });
  r.answer([1, 2, 3, 4], 5);
  assertEquals([...(await silent).trailer], [NOT_WRITTEN]);
  checkOver(r);
});

Deno.test("exchange: lent memory goes with a request, and its bytes are not the answer's", async () => {
  using r = rig();
  const lent = r.dma.alloc(8);
  lent.bytes.set([1, 2, 3, 4]);
  const asked = exchange(
    r.dma,
    r.requests,
    [Uint8Array.of(5), { region: lent, length: 4, direction: "to-device" }],
    [2, { region: lent, offset: 4, direction: "from-device" }],
  );
  assertEquals(r.answer([6, 7, 8, 9], 4).slice(0, 2), [[5], [1, 2, 3, 4]]);
  const { bytes, length } = await asked;
  assertEquals([[...bytes], length], [[6, 7], 4]);
  assertEquals([...lent.bytes.subarray(4, 6)], [8, 9]);
  lent[Symbol.dispose]();
  checkOver(r);
});

Deno.test("exchange: one that was given up keeps its memory, reports its return once, and hands on a late answer", async () => {
  using r = rig();
  const abort = new AbortController();
  let returns = 0;
  const late: (Answer | undefined)[] = [];
  const asked = exchange(r.dma, r.requests, [Uint8Array.of(1)], 2, {
    signal: abort.signal,
    onReturned: () => returns++,
    onFailed: (answer) => late.push(answer),
  });
  abort.abort(new Error("enough"));
  await assertRejects(() => asked, Error, "enough");
  assertEquals([returns, r.dma.live], [0, 2]);
  r.answer([3, 4]);
  assertEquals([returns, late.map((answer) => [...answer!.bytes])], [1, [[3, 4]]]);
  checkOver(r);
});

Deno.test("exchange: an answer between the end of the wait and its rejection is late too", async () => {
  using r = rig();
  const abort = new AbortController();
  const late: (Answer | undefined)[] = [];
  const asked = exchange(r.dma, r.requests, [], 1, {
    signal: abort.signal,
    onFailed: (answer) => late.push(answer),
  });
  const rejected = assertRejects(() => asked, Error, "enough");
  r.requests.flush();
  abort.abort(new Error("enough"));
  r.answer([5]);
  await rejected;
  assertEquals(late.map((answer) => [...answer!.bytes]), [[5]]);
});

Deno.test("exchange: a reset, a failure and a lack of memory give everything back, once, and no answer", async () => {
  using r = rig();
  let returns = 0;
  const late: (Answer | undefined)[] = [];
  const options = {
    onReturned: () => returns++,
    onFailed: (answer: Answer | undefined) => late.push(answer),
  };
  const reset = assertRejects(() => exchange(r.dma, r.requests, [], 2, options), VireoError);
  r.queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
  r.requests.detachAll();
  assertEquals([(await reset).code, returns], ["DEVICE_STATE", 1]);
  const after = assertRejects(() => exchange(r.dma, r.requests, [], 2, options), VireoError);
  assertEquals([(await after).code, returns], ["DEVICE_STATE", 2]);
  const large = await assertRejects(
    () => exchange(r.dma, r.requests, [], 1 << 20, options),
    VireoError,
  );
  assertEquals([large.code, returns], ["OUT_OF_MEMORY", 3]);
  assertEquals(late, [undefined, undefined, undefined]);
  checkOver(r);
});

Deno.test("exchange: nothing of a request stays in memory that devices reach", async () => {
  using r = rig();
  const asked = exchange(r.dma, r.requests, [Uint8Array.of(11, 22, 33)], 3);
  r.answer([44, 55, 66]);
  assertEquals([...(await asked).bytes], [44, 55, 66]);
  const memory = r.dma.memory;
  assert(!memory.some((_, i) => memory[i] === 11 && memory[i + 1] === 22));
  assert(!memory.some((_, i) => memory[i] === 44 && memory[i + 1] === 55));
});

Deno.test("exchange: what was copied is told, and the memory is wiped before it is freed", async () => {
  using r = rig();
  const copied: number[] = [];
  const { alloc } = r.dma;
  const freed: number[] = [];
  r.dma.alloc = (...args) => {
    const region = alloc.apply(r.dma, args);
    const free = region[Symbol.dispose];
    return Object.assign(region, {
      copied: (length: number) => copied.push(length),
      [Symbol.dispose]() {
        freed.push(...region.bytes);
        free.call(region);
      },
    });
  };
  const asked = exchange(r.dma, r.requests, [Uint8Array.of(1, 2, 3)], 4, { trailer: 1 });
  r.answer([4, 5], 3, 0);
  assertEquals([...(await asked).bytes], [4, 5]);
  assertEquals([copied.splice(0), freed], [[3, 3], Array(8).fill(0)]);
  const silent = exchange(r.dma, r.requests, [], 4);
  r.answer([4, 5, 6, 7]);
  await silent;
  assertEquals(copied, [4]);
});

Deno.test("exchange: it ends with its caller's time", async () => {
  using r = rig();
  for (const options of [{ deadline: 2 }, { deadline: 60_000, until: performance.now() + 2 }]) {
    const message = `Timed out after ${options.deadline} ms`;
    await assertRejects(() => exchange(r.dma, r.requests, [], 1, options), VireoError, message);
    r.answer([5]);
  }
  r.requests.failAll(new VireoError("DEVICE_STATE", "As the test wants"));
  checkOver(r);
});

Deno.test("exchange: requests that wait for room have their own elements", async () => {
  using r = rig();
  const send = (...bytes: number[]) =>
    exchange(r.dma, r.requests, bytes.map((byte) => Uint8Array.of(byte)), 0);
  const first = send(1, 2, 3, 4, 5, 6, 7, 8);
  // The ring is full.
  const others = [send(11, 12), send(21, 22), send(31)];
  assertEquals(r.answer([]), [1, 2, 3, 4, 5, 6, 7, 8].map((byte) => [byte]));
  assertEquals([r.answer([]), r.answer([]), r.answer([])], [[[11], [12]], [[21], [22]], [[31]]]);
  await Promise.all([first, ...others]);
  checkOver(r);
});

Deno.test("exchange: parts that follow each other share an element if there are too many for the ring", async () => {
  using r = rig();
  const parts = (count: number) => Array.from({ length: count }, (_, i) => Uint8Array.of(i));
  const fits = exchange(r.dma, r.requests, parts(6), [1, 1]);
  assertEquals(r.answer([8, 9]).length, 8);
  await fits;
  const region = r.dma.alloc(8);
  region.bytes.set([21, 22, 23, 24, 25, 26, 27, 28]);
  const lent = (offset: number) => ({ region, offset, length: 2, direction: "to-device" as const });
  const asked = exchange(
    r.dma,
    r.requests,
    // The lent ones are apart, and then they are not.
    [...parts(3), lent(4), lent(0), lent(2), Uint8Array.of(4), Uint8Array.of(5)],
    [1, 2, 3],
  );
  const X = POISON;
  assertEquals(r.answer([1, 2, 3, 4, 5, 6]), [
    [0, 1, 2],
    [25, 26],
    [21, 22, 23, 24],
    [4, 5],
    [X, X, X, X, X, X],
  ]);
  assertEquals([...(await asked).bytes], [1, 2, 3, 4, 5, 6]);
  region[Symbol.dispose]();
  checkOver(r);
});

Deno.test("lend: ranges are the device's until it returns them", async () => {
  using r = rig();
  const region = r.dma.alloc(16);
  region.bytes.fill(1);
  const used: number[] = [];
  const lent = lend(r.requests, [
    { region, offset: 0, length: 4, direction: "to-device" },
    { region, offset: 8, direction: "both" },
  ], { onReturned: (length) => used.push(length) });
  assertEquals(r.answer([7], 1), [[1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]]);
  assertEquals([await lent, used], [1, [1]]);
  assertEquals([...region.bytes.subarray(8, 10)], [7, 1]);
  assertEquals(r.dma.mistakes, []);
});
