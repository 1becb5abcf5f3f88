import { assertEquals } from "@std/assert";
import { QueueConfig } from "./queue_config.ts";

Deno.test("queue: a reset takes back all that the driver chose", () => {
  const queue = new QueueConfig(256);
  const fresh = queue.snapshot();
  queue.size = 8;
  queue.align = 64;
  queue.pfn = 7;
  for (const part of [queue.desc, queue.avail, queue.used]) part[0] = part[1] = 1;
  queue.reset();
  assertEquals(queue.snapshot(), fresh);
  assertEquals([queue.size, queue.align, queue.pfn], [256, 4096, 0]);
});
