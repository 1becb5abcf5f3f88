import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { TestDma } from "../testing/dma.ts";
import { Payloads } from "./_payloads.ts";

const GONE = new VireoError("DEVICE_STATE", "As the test wants");

Deno.test("9p memory: a few regions serve all, first come, first served", async () => {
  const dma = new TestDma({ size: 1024 });
  const payloads = new Payloads(dma, 64, 2);
  assertEquals(payloads.takeFree(), undefined);
  const [first, second] = [await payloads.take({}), await payloads.take({})];
  const waiting = payloads.take({});
  assertEquals(dma.live, 2);
  payloads.give(second);
  assert(await waiting === second);
  payloads.give(first);
  assert(payloads.takeFree() === first);
  payloads.fail(GONE);
});

Deno.test("9p memory: where the machine has none left, that which there is comes back", async () => {
  const dma = new TestDma({ size: 1024 });
  const payloads = new Payloads(dma, 64, 2);
  const { alloc } = dma;
  dma.alloc = () => {
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  assertEquals((await assertRejects(() => payloads.take({}), VireoError)).code, "OUT_OF_MEMORY");
  dma.alloc = (...args) => alloc.apply(dma, args);
  const only = await payloads.take({});
  dma.alloc = () => {
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  const waiting = payloads.take({});
  payloads.give(only);
  assert(await waiting === only);
  payloads.fail(GONE);
});

Deno.test("9p memory: a failure ends the waits, frees what is not in use, and the rest when it comes back", async () => {
  const dma = new TestDma({ size: 1024 });
  const payloads = new Payloads(dma, 64, 2);
  const [used, free] = [await payloads.take({}), await payloads.take({})];
  const waiting = assertRejects(() => payloads.take({ deadline: 60_000 }), VireoError);
  payloads.fail(GONE);
  assertEquals(await waiting, GONE);
  payloads.give(free);
  assertEquals([dma.live, payloads.takeFree()], [1, undefined]);
  assertEquals(await assertRejects(() => payloads.take({}), VireoError), GONE);
  payloads.give(used);
  assertEquals(dma.live, 0);
});
