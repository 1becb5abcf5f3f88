import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import { ConsoleDevice } from "../devices/console/device.ts";
import { FakeDriver } from "../testing/fake_driver.ts";
import type { TurnBudget } from "../work.ts";
import { type BytePort, loopbackBytes } from "./byte_port.ts";

/** A host whose room, bytes and end are the test's. */
class Host implements BytePort {
  room = 100;
  onChange: (() => void) | undefined;
  readonly got: number[] = [];
  next: Uint8Array | null | undefined;
  broken = false;
  closed = 0;

  write(bytes: Uint8Array): void {
    if (this.broken) throw new Error("broken");
    this.got.push(...bytes);
    this.room -= bytes.length;
    bytes.fill(0xee);
  }
  read(): Uint8Array | null | undefined {
    const { next } = this;
    if (next !== null) this.next = undefined;
    return next;
  }
  close(): void {
    this.closed++;
  }
}

function rig(
  backend: BytePort,
  budget: Partial<TurnBudget> = {},
): { device: ConsoleDevice; driver: FakeDriver } {
  const device = new ConsoleDevice({ ports: [{ backend }] });
  return { device, driver: new FakeDriver(device, FeatureSet.NONE, budget) };
}

Deno.test("a loopback by calls sends back within its capacity, and says when there is room again", () => {
  const port = loopbackBytes(4);
  const seen: number[] = [];
  port.onChange = () => seen.push(port.room);
  port.write(Uint8Array.of(1, 2));
  port.write(Uint8Array.of(3, 4));
  assertEquals([port.room, seen], [0, [2]]);
  assertEquals(port.read(), Uint8Array.of(1, 2, 3, 4));
  assertEquals([port.room, seen, port.read()], [4, [2, 4], undefined]);
});

Deno.test("a console's host by calls: a chain waits for room in the middle, and the host may keep no bytes", () => {
  const host = new Host();
  host.room = 2;
  const { driver } = rig(host);
  driver.post(1, [1, 2, 3, 4, 5], 0);
  assertEquals([host.got, driver.returned(1)], [[1, 2], 0]);
  host.room = 2;
  host.onChange?.();
  host.room = 9;
  host.onChange?.();
  assertEquals([host.got, driver.returned(1)], [[1, 2, 3, 4, 5], 1]);
});

Deno.test("a console's host by calls: bytes fill the guest's buffers, and the end closes the host's side", () => {
  const host = new Host();
  const { device, driver } = rig(host);
  host.next = Uint8Array.of(1, 2, 3);
  driver.post(0, [], 2);
  driver.post(0, [], 2);
  assertEquals(driver.taken(0), [[1, 2], [3]]);
  driver.post(0, [], 2);
  host.next = null;
  host.onChange?.();
  assertEquals([device.ports.get(0)?.hostOpen, driver.returned(0)], [false, 0]);
});

Deno.test("a console's host by calls: one that breaks is written to no more, and is closed once", () => {
  const host = new Host();
  const { device, driver } = rig(host);
  host.broken = true;
  driver.post(1, [1], 0);
  host.broken = false;
  driver.post(1, [2], 0);
  assertEquals([host.got, driver.returned(1)], [[], 2]);
  device[Symbol.dispose]();
  assertEquals([host.closed, host.onChange], [1, undefined]);
});

Deno.test("a console's host by calls: what it takes at once is divided into turns", async () => {
  const host = new Host();
  host.room = 0;
  const { driver } = rig(host, { steps: 4 });
  const count = 10;
  for (let i = 0; i < count; i++) driver.post(1, [i], 0);
  host.room = Infinity;
  host.onChange?.();
  assertEquals(driver.returned(1) < count, true);
  await driver.until("the rest", () => driver.returned(1) === count);
  assertEquals([host.got.length, host.got.at(-1)], [count, count - 1]);
});
