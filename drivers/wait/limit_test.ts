import { assertEquals } from "@std/assert";
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
