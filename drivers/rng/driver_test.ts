import { assertEquals } from "@std/assert";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Rng } from "./driver.ts";

Deno.test("rng: a request is one buffer, so its queue has no memory for tables of several", () => {
  const fake = new FakeDevice();
  new Rng(fake.device);
  assertEquals(fake.queues.map(({ request }) => request.indirect), [false]);
});
