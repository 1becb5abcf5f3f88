import { assertEquals } from "@std/assert";
import { turn } from "../async_test_util.ts";
import { type Limit, Limits } from "./limit.ts";

Deno.test("Limits: an item that another one's last look ends takes no deadline of others away", async () => {
  const late: string[] = [];
  const last = Promise.withResolvers<void>();
  const limits = new Limits<string>({
    aborted: () => {},
    late: (item) => {
      late.push(item);
      // The look at the first finds the answer of the second, too.
      second.end();
      if (item === "third") last.resolve();
    },
  });
  const begin = (item: string, time: number): Limit<string> => {
    const limit = limits.make(item);
    limit.begin({}, time);
    return limit;
  };
  begin("first", 1);
  const second = begin("second", 1);
  begin("third", 30);
  const timer = setTimeout(last.resolve, 1000);
  // Both are late at the same look.
  for (const end = performance.now() + 5; performance.now() < end;);
  await last.promise;
  clearTimeout(timer);
  assertEquals(late, ["first", "third"]);
});

Deno.test("Limits: no timer is left when nobody counts, however often, and each that is late is told once", async () => {
  const late: string[] = [];
  let told = Promise.withResolvers<void>();
  const limits = new Limits<string>({
    aborted: () => {},
    late: (item) => {
      late.push(item);
      told.resolve();
    },
  });
  const limit = limits.make("only");
  for (let i = 0; i < 3; i++) {
    limit.begin({}, 60_000);
    limit.end();
    limit.end();
    await turn();
  }
  for (const count of [1, 2]) {
    told = Promise.withResolvers<void>();
    limit.begin({}, 1);
    await told.promise;
    limit.end();
    await turn();
    assertEquals(late.length, count);
  }
});

Deno.test("Limits: of two that are late at once the second has a turn of its own, in which it can end", async () => {
  for (const ends of [false, true]) {
    const late: string[] = [];
    const first = Promise.withResolvers<void>();
    const limits = new Limits<string>({
      aborted: () => {},
      late: (item) => {
        late.push(item);
        first.resolve();
      },
    });
    const all = ["first", "second"].map((item) => limits.make(item));
    for (const limit of all) limit.begin({}, 1);
    for (const end = performance.now() + 4; performance.now() < end;);
    await first.promise;
    assertEquals(late, ["first"]);
    if (ends) all[1]!.end();
    await turn();
    await turn();
    assertEquals(late, ends ? ["first"] : ["first", "second"]);
  }
});
