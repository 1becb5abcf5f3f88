import { assertEquals, assertThrows } from "@std/assert";
import { seededRandom } from "../../backends/random.ts";
import { FakeDriver } from "../../testing/fake_driver.ts";
import { RngDevice } from "./device.ts";

function expected(seed: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  seededRandom(seed)(bytes);
  return [...bytes];
}

Deno.test("every buffer is filled from the source, in order (dev.rng.operation.1)", () => {
  const driver = new FakeDriver(new RngDevice({ random: seededRandom(3) }));
  for (const length of [1, 10, 5000]) driver.post(0, [], length);
  assertEquals(driver.taken(0).flat(), expected(3, 5011));
});

Deno.test("a limit bounds what a request gets, whatever the guest asks", () => {
  const driver = new FakeDriver(new RngDevice({ random: seededRandom(3), maxBytes: 7 }));
  for (const length of [1, 7, 8, 100_000]) driver.post(0, [], length);
  assertEquals(driver.taken(0).map((bytes) => bytes.length), [1, 7, 7, 7]);
  const plain = new FakeDriver(new RngDevice({ random: seededRandom(3) }));
  plain.post(0, [], 1_000_000);
  assertEquals(plain.taken(0)[0]?.length, 65536);
  assertThrows(() => new RngDevice({ random: seededRandom(1), maxBytes: 0 }), RangeError);
});

Deno.test("buffers that the device could only read, or with no room, are guest faults (drv.rng.operation.1)", () => {
  for (const [input, writable] of [[[1], 4], [[1], 0], [[], 0]] as const) {
    const driver = new FakeDriver(new RngDevice({ random: seededRandom(3) }));
    driver.post(0, input, writable);
    assertEquals([driver.faults.length, driver.taken(0)], [1, []]);
  }
});

Deno.test("lies: any used length, and requests held until released or reset", () => {
  const lying = new FakeDriver(
    new RngDevice({ random: seededRandom(3), lies: { usedLength: (written) => written - 1 } }),
  );
  lying.post(0, [], 4);
  assertEquals(lying.taken(0), [expected(3, 3)]);
  const device = new RngDevice({ random: seededRandom(3), lies: { hold: true } });
  const driver = new FakeDriver(device);
  driver.post(0, [], 4);
  driver.post(0, [], 2);
  assertEquals([device.held, driver.taken(0)], [2, []]);
  device.release();
  assertEquals(driver.taken(0), [expected(3, 6).slice(0, 4), expected(3, 6).slice(4)]);
  driver.post(0, [], 2);
  device.reset();
  device.release();
  assertEquals([device.held, driver.taken(0)], [0, []]);
});
