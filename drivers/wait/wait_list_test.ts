import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { WaitList } from "./wait_list.ts";

Deno.test("wait list: many waits in a row share a timer, which rejectAll takes away", async () => {
  const list = new WaitList<undefined, number>("a number");
  const own = globalThis.setTimeout;
  let timers = 0;
  globalThis.setTimeout = ((...args: Parameters<typeof own>) => {
    timers++;
    return own(...args);
  }) as typeof own;
  try {
    for (let i = 0; i < 100; i++) {
      const wait = list.wait(undefined, { deadline: 60_000 });
      list.resolveFirst(i);
      assertEquals(await wait, i);
    }
  } finally {
    globalThis.setTimeout = own;
  }
  assertEquals(timers, 1);
  list.rejectAll(new Error("over"));
});

Deno.test("wait list: a short deadline behind a long one is kept, and the long one waits on", async () => {
  const list = new WaitList<string, number>("a number");
  const long = list.wait("long", { deadline: 60_000 });
  const begin = performance.now();
  const error = await assertRejects(() => list.wait("short", { deadline: 5 }), VireoError);
  assertEquals(error.code, "TIMEOUT");
  assertEquals(performance.now() - begin >= 5, true);
  assertEquals([list.length, list.first], [1, "long"]);
  list.resolveFirst(1);
  assertEquals(await long, 1);
  list.rejectAll(new Error("over"));
});

Deno.test("wait list: waits are served from the first one on, and tell who they are", async () => {
  const list = new WaitList<string, number>("a number");
  assertEquals([list.length, list.first, list.resolveFirst(1)], [0, undefined, false]);
  list.rejectFirst(new Error("nobody"));
  const stop = new AbortController();
  const waits = ["a", "b", "c", "d"].map((item) =>
    list.wait(item, item === "b" ? { signal: stop.signal } : {})
  );
  const ends = Promise.allSettled(waits);
  stop.abort("enough");
  assertEquals([list.length, list.first, list.resolveFirst(5), list.first], [3, "a", true, "c"]);
  list.rejectFirst("no room");
  assertEquals([list.length, list.first], [1, "d"]);
  list.rejectAll("over");
  assertEquals([list.length, list.resolveFirst(1)], [0, false]);
  assertEquals((await ends).map((end) => end.status === "fulfilled" ? end.value : end.reason), [
    5,
    "enough",
    "no room",
    "over",
  ]);
  // One that is over before it begins has no place.
  await list.wait("e", { signal: stop.signal }).catch((reason) => assertEquals(reason, "enough"));
  assertEquals(list.length, 0);
});

Deno.test("wait list: before waits give up they look once more, those whose time is over alone", async () => {
  let looks = 0;
  const list: WaitList<string, number> = new WaitList("a number", {
    look: () => {
      if (looks++ === 0) list.resolveFirst(7);
    },
    details: () => ({ queue: 3 }),
  });
  const waits = [list.wait("a", { deadline: 1 }), list.wait("b", { deadline: 1 })];
  const long = list.wait("c", { deadline: 60_000 });
  assertEquals(await waits[0], 7);
  const error = await assertRejects(() => waits[1]!, VireoError);
  assertEquals([error.code, error.queue, looks, list.first], ["TIMEOUT", 3, 2, "c"]);
  list.resolveFirst(1);
  assertEquals(await long, 1);
  list.rejectAll(new Error("over"));
});
