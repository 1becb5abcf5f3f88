import { assertEquals } from "@std/assert";
import { tickRate } from "./_ticks.ts";

Deno.test("tickRate() is right where the processor is taken away between counter and clock", () => {
  // 2600 ticks a microsecond; each look takes one, and three of seven take 7 ms more.
  let microseconds = 0;
  let looks = 0;
  const look = (): number => microseconds += ++looks % 7 < 3 ? 7001 : 1;
  assertEquals(tickRate(() => BigInt(look() * 2600), () => look() / 1000), 2_600_000);
});
