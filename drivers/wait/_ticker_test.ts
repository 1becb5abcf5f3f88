import { assert, assertEquals } from "@std/assert";
import { Ticker } from "./_ticker.ts";

/** A ticker, and the times at which it looked. */
function rig(next: number[], longest?: number) {
  const looks: number[] = [];
  let looked = Promise.withResolvers<void>();
  const ticker = new Ticker((now) => {
    looks.push(now);
    looked.resolve();
    looked = Promise.withResolvers();
    return next.shift() ?? Infinity;
  }, longest);
  return { ticker, looks, look: () => looked.promise };
}

Deno.test("Ticker: looks once, when the earliest time is over", async () => {
  const { ticker, looks, look } = rig([]);
  const now = performance.now();
  ticker.arm(now + 60_000);
  ticker.arm(now + 8);
  ticker.arm(now + 30_000);
  await look();
  assert(looks[0]! >= now + 8);
  // It is armed no more: a later end is a time of its own.
  const later = performance.now() + 4;
  ticker.arm(later);
  await look();
  assert(looks[1]! >= later);
  assertEquals(looks.length, 2);
});

Deno.test("Ticker: goes on with the next end that a look finds", async () => {
  const now = performance.now();
  const { ticker, looks, look } = rig([now + 12]);
  ticker.arm(now + 2);
  await look();
  await look();
  assertEquals(looks.length, 2);
  assert(looks[1]! >= now + 12);
});

Deno.test("Ticker: a look that finds nothing over comes no later than its longest time", async () => {
  const { ticker, look } = rig([], 3);
  ticker.arm(performance.now() + 60_000);
  await look();
});

Deno.test("Ticker: can be armed again after a stop, and one that is stopped does not look", async () => {
  const { ticker, looks, look } = rig([]);
  const now = performance.now();
  ticker.arm(now + 2);
  ticker.stop();
  ticker.arm(now + 12);
  await look();
  assertEquals(looks.length, 1);
  assert(looks[0]! >= now + 12);
});
