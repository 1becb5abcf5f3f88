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
