import { assertEquals, assertThrows } from "@std/assert";
import type { NetStats, RxFrame } from "./frame.ts";
import { Inbox } from "./_inbox.ts";

Deno.test("net inbox: it keeps one frame at least, and a whole number of them", () => {
  const frame = { copy: () => ({}) } as unknown as RxFrame;
  const inbox = (max: number) => new Inbox(max, "newest", {} as NetStats, {});
  assertEquals([inbox(1), inbox(2)].map((box) => [box.put(frame), box.put(frame)]), [
    [true, false],
    [true, true],
  ]);
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => inbox(max), RangeError, `Cannot keep ${max} received frames`);
  }
});
