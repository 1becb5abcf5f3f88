import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Feature, FeatureSet } from "@vireo/hal";
import fc from "fast-check";
import { EmulatedMachine, type MachineDevice } from "./machine.ts";
import type { RingOptions } from "./offer.ts";
import type { PackedPosition } from "./ring/position.ts";
import { EchoModel, MockDriver, type MockSegment } from "./testing/mod.ts";

const { INDIRECT_DESC, EVENT_IDX, RING_PACKED, IN_ORDER, NOTIFICATION_DATA } = Feature;

interface SetUp extends Partial<MachineDevice> {
  readonly hold?: boolean;
  readonly queueSizes?: readonly number[];
}

function setUp(ring: RingOptions, options: SetUp = {}) {
  const { queueSizes = [16, 8], hold = false } = options;
  const model = new EchoModel({ queueSizes, hold });
  const machine = EmulatedMachine.create({
    devices: [{ ...options, model }],
    ring,
    memorySize: 1 << 17,
  });
  return { model, machine, driver: new MockDriver(machine), device: machine.device(0) };
}

/** The generic bits that a device offers. */
const generic = (features: FeatureSet): number[] => [...features].filter((bit) => bit >= 24);

Deno.test("rings: what is offered follows the options, and packed is off by default", () => {
  const offered = (ring: RingOptions, options: Partial<MachineDevice> = {}): number[] =>
    generic(setUp(ring, options).driver.offered()).filter((bit) => bit < 50);
  assertEquals(offered({}), [28, 29, 32, 40]);
  assertEquals(offered({ packed: true, inOrder: true }), [28, 29, 32, 34, 35, 40]);
  assertEquals(
    offered({ notificationData: true, accessPlatform: true, ringReset: false, indirect: false }),
    [29, 32, 33, 38],
  );
  // The device's own options are over the machine's.
  assertEquals(offered({ packed: true }, { ring: { packed: false, eventIdx: false } }), [
    28,
    32,
    40,
  ]);
  assertEquals(offered({ packed: true }, { offer: { inOrder: true } }), [28, 29, 32, 34, 35, 40]);
  // The legacy interface has none of it.
  const all = { packed: true, inOrder: true, notificationData: true, accessPlatform: true };
  assertEquals(offered(all, { version: 1 }), [24, 27, 28, 29]);
});

Deno.test("rings: the largest queue size is the machine's, the device's or the model's", () => {
  const max = (ring: RingOptions, options: Partial<MachineDevice> = {}): number[] =>
    setUp(ring, options).device.configs.map(({ maxSize }) => maxSize);
  assertEquals(max({}), [16, 8]);
  assertEquals(max({ maxQueueSize: 12 }), [12, 8]);
  assertEquals(max({ maxQueueSize: 12 }, { queueSize: 4 }), [4, 4]);
  assertEquals(max({}, { queueSize: 4, ring: { maxQueueSize: 5 } }), [5, 5]);
});

Deno.test("rings: a driver must accept ACCESS_PLATFORM where it is offered (virtio 1.4 §6.2)", () => {
  const { driver, machine } = setUp({ accessPlatform: true });
  assertEquals(driver.init(FeatureSet.of(Feature.VERSION_1)) & 8, 0);
  assertStringIncludes(machine.violations()[0]!.reason, "ACCESS_PLATFORM");
  assert((driver.init() & 8) !== 0);
});

Deno.test("rings: only a packed queue may have any size (virtio 1.4 §2.8.10.1)", async () => {
  for (const packed of [false, true]) {
    const { driver, machine, device } = setUp({ packed });
    driver.init(undefined, { queueSize: 7 });
    assertEquals(device.configs.map(({ size }) => size), packed ? [7, 7] : [16, 8]);
    if (!packed) {
      assertEquals(machine.violations()[0]?.reason, "not a power of two");
      continue;
    }
    for (let i = 0; i < 20; i++) {
      const used = await driver.request(1, [{ read: Uint8Array.of(i) }, { write: 2 }]);
      assertEquals([used.written, used.bytes[0]![0]], [1, i]);
    }
    assertEquals(machine.violations(), []);
  }
});

/** All combinations of ring features. */
const COMBINATIONS: (readonly number[])[] = [[]];
for (const bit of [INDIRECT_DESC, EVENT_IDX, IN_ORDER, NOTIFICATION_DATA]) {
  COMBINATIONS.push(...COMBINATIONS.map((bits) => [...bits, bit]));
}

const request = fc.record({
  queue: fc.nat(1),
  reads: fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 2 }),
  writes: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 2 }),
  indirect: fc.boolean(),
  turn: fc.nat(3).map((value) => value === 0),
});

/** Runs requests against an echo device; gives what came back for each. */
async function run(
  requests: readonly (typeof request extends fc.Arbitrary<infer T> ? T : never)[],
  { ring, bits, hold, moves = [] }: {
    ring: RingOptions;
    bits: readonly number[];
    hold: boolean;
    /** After which requests the driver finds itself on another machine. */
    moves?: readonly number[];
  },
): Promise<unknown[]> {
  // Room for 6 requests of 4 descriptors: as many wait at most.
  const { driver, ...first } = setUp(ring, { hold, queueSizes: [64, 32] });
  let { machine, model } = first;
  assertEquals(driver.init(FeatureSet.of(Feature.VERSION_1, ...bits)) & 15, 15);
  const results = requests.map(({ queue, reads, writes, indirect, turn }, i) => {
    const segments: MockSegment[] = [
      ...reads.map((read) => ({ read })),
      ...writes.map((write) => ({ write })),
    ];
    const packed = driver.packed[queue];
    const table = indirect && bits.includes(INDIRECT_DESC);
    const result = packed?.add(segments, { indirect: table }) ??
      driver.queues[queue]!.add(segments);
    (packed ?? driver.queues[queue]!).kick();
    if (moves.includes(i)) {
      // Some chains are complete, out of order and not reported.
      for (const { queue, chain } of model.held.splice(1, 2).toReversed()) {
        model.answer(queue, chain);
      }
      const state = JSON.parse(JSON.stringify(machine.snapshot()));
      assertEquals(machine.violations(), []);
      const { memory, dma } = machine;
      model = new EchoModel({ queueSizes: [64, 32], hold });
      machine = EmulatedMachine.create({ devices: [model], ring, memory, dma });
      machine.restore(state);
      driver.moveTo(machine);
    }
    if (turn || i % 6 === 5) {
      model.release();
      driver.interrupt();
    }
    return result.then(({ written, bytes }) => [written, bytes]);
  });
  model.release();
  driver.interrupt();
  assertEquals(machine.violations(), []);
  return await Promise.all(results);
}

Deno.test("rings: one program gives the same on both rings with every combination of features (property)", async () => {
  const property = fc.asyncProperty(
    fc.array(request, { minLength: 1, maxLength: 40 }),
    fc.boolean(),
    fc.boolean(),
    async (requests, hold, batchUsed) => {
      let first: unknown[] | undefined;
      for (const packed of [false, true]) {
        for (const features of COMBINATIONS) {
          const ring = { packed, inOrder: true, notificationData: true, batchUsed };
          const bits = packed ? [...features, RING_PACKED] : features;
          const results = await run(requests, { ring, bits, hold });
          first ??= results;
          assertEquals(results, first);
        }
      }
    },
  );
  await fc.assert(property, { seed: 42, numRuns: 80 });
});

Deno.test("rings: moves to other machines in mid-flight change nothing (property)", async () => {
  const property = fc.asyncProperty(
    fc.array(request, { minLength: 1, maxLength: 40 }),
    fc.array(fc.nat(39), { maxLength: 6 }),
    fc.constantFrom(...COMBINATIONS),
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
    async (requests, moves, features, packed, hold, batchUsed) => {
      const ring = { packed, inOrder: true, notificationData: true, batchUsed };
      const bits = packed ? [...features, RING_PACKED] : features;
      const still = await run(requests, { ring, bits, hold });
      assertEquals(await run(requests, { ring, bits, hold, moves }), still);
    },
  );
  await fc.assert(property, { seed: 42, numRuns: 400 });
});

Deno.test("rings: packed event suppression is by place with EVENT_IDX only", async () => {
  for (const eventIdx of [false, true]) {
    const { driver } = setUp({ packed: true, eventIdx });
    driver.init(driver.offered());
    const ring = driver.packed[0]!;
    await driver.request(0, [{ write: 1 }]);
    assertEquals(
      ring.deviceEvent,
      eventIdx ? { mode: 2, place: 1, wrap: 1 } : { mode: 0, place: 0, wrap: 0 },
    );
    // Place 5 of this round is not used, so that there is no interrupt by place.
    ring.setEvent(2, 5, 1);
    const before = driver.queueInterrupts;
    void ring.add([{ write: 1 }]);
    ring.kick();
    driver.interrupt();
    assertEquals(driver.queueInterrupts - before, eventIdx ? 0 : 1);
  }
});

Deno.test("rings: a lie in notification data is noted and not believed", () => {
  for (const packed of [false, true]) {
    const { driver, machine, model } = setUp({ packed, notificationData: true });
    driver.init();
    const ring = driver.packed[0] ?? driver.queues[0]!;
    void ring.add([{ write: 1 }]);
    driver.notify(0, packed ? 3 | 0x8000 : 3);
    assertEquals(model.calls.at(-1), "notify 0");
    const [entry] = machine.violations();
    assertStringIncludes(
      entry!.reason,
      packed ? "offset 3 is 3 ahead" : "ahead of the available index 1",
    );
    assertEquals(entry!.register, "QueueNotify");
    // The buffer was served all the same.
    const used = packed ? driver.packed[0]!.view.getUint16(14, true) : driver.queues[0]!.usedIndex;
    assertEquals(used, packed ? 0x8080 : 1);
  }
});

Deno.test("rings: a faulty packed queue goes through the one door, and a reset mends it", async () => {
  const { driver, machine } = setUp({ packed: true });
  driver.init();
  const ring = driver.packed[0]!;
  ring.setDesc(0, 0, 16, 3, ring.availableFlags);
  ring.kick();
  assert(driver.needsReset);
  driver.interrupt();
  assertEquals(driver.configChanges, 1);
  assertStringIncludes(machine.violations()[0]!.reason, "queue 0: element at 0x0");
  driver.init();
  const used = await driver.request(0, [{ read: Uint8Array.of(5) }, { write: 1 }]);
  assertEquals([...used.bytes[0]!], [5]);
});

Deno.test("rings: QueueReset puts a packed queue back to its start (dev.basic.vq-reset.1-2)", async () => {
  const { driver, machine, model } = setUp({ packed: true }, { hold: true });
  driver.init(undefined, { queueSize: 3 });
  const [ring, other] = driver.packed;
  for (let i = 0; i < 4; i++) {
    const done = ring!.add([{ read: Uint8Array.of(i) }, { write: 1 }]);
    ring!.kick();
    model.release();
    driver.interrupt();
    assertEquals((await done).bytes[0]![0], i);
  }
  void ring!.add([{ write: 9 }]);
  void other!.add([{ write: 9 }]);
  ring!.kick();
  other!.kick();
  assertEquals(model.held.length, 2);
  driver.slot.write32(0x030, 0);
  driver.slot.write32(0x0c0, 1);
  assertEquals([driver.slot.read32(0x044), driver.slot.read32(0x0c0)], [0, 0]);
  assertEquals(model.held.map(({ queue }) => queue), [1]);
  ring!.restart();
  assertEquals(driver.slot.read32(0x044), 1);
  model.hold = false;
  for (let i = 0; i < 4; i++) {
    const used = await driver.request(0, [{ read: Uint8Array.of(i) }, { write: 1 }]);
    assertEquals(used.bytes[0]![0], i);
  }
  assertEquals(machine.violations(), []);
});

for (const inOrder of [false, true]) {
  Deno.test(`rings: a fresh machine goes on with packed queues in mid-flight, in order ${inOrder}`, async () => {
    const ring: RingOptions = { packed: true, inOrder };
    const { driver, machine, model } = setUp(ring, { hold: true });
    driver.init(driver.offered(), { queueSize: 5 });
    const [queue] = driver.packed;
    // Past the wrap, in the middle of the ring.
    for (let i = 0; i < 3; i++) {
      const done = queue!.add([{ read: Uint8Array.of(i) }, { write: 1 }]);
      queue!.kick();
      model.release();
      driver.interrupt();
      await done;
    }
    const results = [11, 22, 33].map((value, i) =>
      queue!.add([{ read: Uint8Array.of(value) }, { write: 4 }], { indirect: i !== 1 })
    );
    queue!.kick();
    // The second is complete before the first, and overwrites its descriptor unless it has to wait.
    const second = model.held.splice(1, 1)[0]!;
    model.answer(0, second.chain);
    const state = structuredClone(machine.snapshot());
    const position = state.devices[0]!.queues[0]!.position as PackedPosition;
    assertEquals(position.held.length, 2);

    const options = { memory: machine.memory, dma: machine.dma, ring };
    const nextModel = new EchoModel({ queueSizes: [16, 8] });
    const next = EmulatedMachine.create({ ...options, devices: [nextModel] });
    next.restore(state);
    driver.moveTo(next);
    const used = await driver.until(Promise.all(results));
    assertEquals(used.map(({ written, bytes }) => [written, bytes[0]![0]]), [[1, 11], [1, 22], [
      1,
      33,
    ]]);
    const more = await driver.request(0, [{ read: Uint8Array.of(44) }, { write: 1 }]);
    assertEquals(more.bytes[0]![0], 44);
    assertEquals(next.violations(), []);

    const split = EmulatedMachine.create({ ...options, ring: {}, devices: [nextModel] });
    const error = assertThrows(() => split.restore(state), RangeError);
    assertStringIncludes(error.message, "queue 0");
  });
}
