import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import type { DeviceContext, DeviceModel } from "./device.ts";
import { EmulatedMachine } from "./machine.ts";
import { MockDriver } from "./testing/mod.ts";
import { WorkMeter } from "./work.ts";

/** Takes chains, and returns each. */
class Sink implements DeviceModel {
  readonly name = "sink";
  readonly deviceId = 0x3f;
  readonly features = FeatureSet.NONE;
  readonly queues = [{ name: "q", maxSize: 64 }];
  readonly configSize = 0;
  context: DeviceContext | undefined;
  readConfig(): number {
    return 0;
  }
  activate(context: DeviceContext): void {
    this.context = context;
  }
  notify(index: number): void {
    const { work } = this.context!;
    const ring = this.context!.queue(index)!;
    for (let chain = work.take(ring); chain !== undefined; chain = work.take(ring)) {
      chain.read(new Uint8Array(chain.readableLength));
      ring.push(chain);
    }
    ring.signal();
  }
  usage() {
    return { items: 3, bytes: 7 };
  }
  reset(): void {}
  [Symbol.dispose](): void {}
}

for (
  const [what, budget, size, turns] of [
    ["steps", { steps: 4 }, 1, 6],
    ["bytes", { bytes: 4000 }, 1000, 5],
  ] as const
) {
  Deno.test(`work: a turn takes no more ${what} than its budget, and the rest is served in later turns`, async () => {
    const model = new Sink();
    const machine = EmulatedMachine.create({ devices: [model], memorySize: 1 << 20, budget });
    const driver = new MockDriver(machine);
    driver.init();
    const before = machine.device(0).work.counters;
    const all = Array.from(
      { length: 20 },
      () => driver.queues[0]!.add([{ read: new Uint8Array(size) }]),
    );
    driver.queues[0]!.kick();
    assertEquals(driver.queues[0]!.usedIndex, 4, "in the first turn");
    await driver.until(Promise.all(all));
    const { counters } = machine.device(0).work;
    assertEquals(counters.bytes - before.bytes, 20 * size);
    assertEquals(counters.steps - before.steps, 20);
    assertEquals(counters.yields, 4);
    assertEquals(counters.turns - before.turns >= turns - 1, true);
    assertEquals([counters.mostSteps <= 5, counters.mostBytes], [true, 4 * size]);
    assertEquals(machine.device(0).mostKept, { items: 3, bytes: 7 });
  });
}

Deno.test("work: bytes that a model counts are part of a turn's budget, as those of chains are", () => {
  const work = new WorkMeter(() => {}, { bytes: 1000 });
  work.begin();
  assertEquals([work.spend(1, 999), work.bytesLeft], [true, 1]);
  assertEquals([work.spend(1, 1), work.bytesLeft], [false, 0]);
  assertEquals(work.counters.bytes, 1000);
});

Deno.test("work: what was put off is forgotten at a reset, and its waiters go on", async () => {
  const notified: number[] = [];
  const work = new WorkMeter((queue) => void notified.push(queue));
  work.later(() => notified.push(-1));
  work.again(2);
  const turn = work.turn();
  work.clear();
  await turn;
  await new WorkMeter(() => {}).turn();
  assertEquals(notified, []);
  work.again(2);
  work.again(2);
  await work.turn();
  await work.turn();
  assertEquals(notified, [2]);
  // From within a turn as well.
  work.later(() => work.clear());
  work.later(() => notified.push(-2));
  await new WorkMeter(() => {}).turn();
  await new WorkMeter(() => {}).turn();
  assertEquals(notified, [2]);
});

Deno.test("work: each of what was put off has its turn, one after the other when the budget is small", async () => {
  const order: number[] = [];
  const work = new WorkMeter(() => {}, { steps: 1 });
  for (const i of [1, 2, 3]) {
    work.later(() => {
      order.push(i);
      work.spend(1);
    });
  }
  await work.turn();
  assertEquals([order, work.counters.mostSteps, work.counters.turns], [[1, 2, 3], 1, 4]);
});
