import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { FeatureSet, type RegisterTrace } from "@vireo/hal";
import { EmulatedMachine, type MachineDevice } from "../machine.ts";
import type { QueuePosition } from "../ring/position.ts";
import { type MmioDevice, VERSION_1_ROWS, VERSION_2_ROWS } from "./mmio.ts";
import { EchoModel, MockDriver } from "../testing/mod.ts";

/** The table of virtio 1.4 §4.2.2, typed from the specification. */
const VERSION_2 = `000 MagicValue R|004 Version R|008 DeviceID R|00c VendorID R
010 DeviceFeatures R|014 DeviceFeaturesSel W|020 DriverFeatures W|024 DriverFeaturesSel W
030 QueueSel W|034 QueueSizeMax R|038 QueueSize W|044 QueueReady RW|050 QueueNotify W
060 InterruptStatus R|064 InterruptACK W|070 Status RW
080 QueueDescLow W|084 QueueDescHigh W|090 QueueDriverLow W|094 QueueDriverHigh W
0a0 QueueDeviceLow W|0a4 QueueDeviceHigh W
0ac SHMSel W|0b0 SHMLenLow R|0b4 SHMLenHigh R|0b8 SHMBaseLow R|0bc SHMBaseHigh R
0c0 QueueReset RW|0fc ConfigGeneration R`.split(/[|\n]/);
/** The table of §4.2.4, by the names of today. */
const VERSION_1 = `000 MagicValue R|004 Version R|008 DeviceID R|00c VendorID R
010 DeviceFeatures R|014 DeviceFeaturesSel W|020 DriverFeatures W|024 DriverFeaturesSel W
028 GuestPageSize W|030 QueueSel W|034 QueueSizeMax R|038 QueueSize W|03c QueueAlign W
040 QueuePFN RW|050 QueueNotify W|060 InterruptStatus R|064 InterruptACK W|070 Status RW`
  .split(/[|\n]/);

function setUp(
  model: EchoModel = new EchoModel(),
  options: Omit<MachineDevice, "model"> = {},
): { slot: MmioDevice; model: EchoModel; machine: EmulatedMachine; driver: MockDriver } {
  const machine = EmulatedMachine.create({
    devices: [{ model, ...options }],
    memorySize: 1 << 20,
  });
  return { slot: machine.slots[0]!, model, machine, driver: new MockDriver(machine) };
}

/** Negotiates VERSION_1 and these bits, as far as FEATURES_OK. */
function negotiate(slot: MmioDevice, ...bits: number[]): number {
  for (const status of [0, 1, 3]) slot.write32(0x70, status);
  const accepted = FeatureSet.of(32, ...bits);
  for (let word = 0; word < 4; word++) {
    slot.write32(0x24, word);
    slot.write32(0x20, accepted.word(word));
  }
  slot.write32(0x70, 11);
  return slot.read32(0x70);
}

/** Sets queue 0 up at 0x40010000 with 8 descriptors. */
function setQueue(slot: MmioDevice, { size = 8, desc = 0x4001_0000 } = {}): number {
  slot.write32(0x30, 0);
  slot.write32(0x38, size);
  slot.write32(0x80, desc);
  slot.write32(0x84, 0);
  slot.write32(0x90, 0x4001_1000);
  slot.write32(0x94, 0);
  slot.write32(0xa0, 0x4001_2000);
  slot.write32(0xa4, 0);
  slot.write32(0x44, 1);
  return slot.read32(0x44);
}

function reasons(slot: MmioDevice): string[] {
  return slot.device!.log.map(({ register, reason }) => `${register}: ${reason}`);
}

for (
  const [version, table, rows] of [
    [1, VERSION_1, VERSION_1_ROWS],
    [2, VERSION_2, VERSION_2_ROWS],
  ] as const
) {
  Deno.test(`version ${version}: every register of the specification has exactly one row`, () => {
    const text = rows.map(({ offset, name, access }) =>
      `${offset.toString(16).padStart(3, "0")} ${name} ${access}`
    );
    assertEquals(text.toSorted(), table);
    for (const { width } of rows) assertEquals(width, 4);
  });

  Deno.test(`version ${version}: every other access is ignored, reads 0 and is logged`, () => {
    const { slot } = setUp(new EchoModel(), { version });
    const access = new Map(rows.map((row) => [row.offset, row.access]));
    for (let offset = 0; offset < 0x100; offset++) {
      for (const width of [1, 2, 4] as const) {
        const known = width === 4 ? access.get(offset) ?? "" : "";
        const { log } = slot.device!;
        if (!known.includes("R")) {
          log.length = 0;
          assertEquals(slot[`read${8 * width as 8 | 16 | 32}`](offset), 0);
          assertEquals(log.length, 1, `read of ${width} at ${offset}`);
          assertEquals(log[0]!.value, undefined);
        }
        if (!known.includes("W")) {
          log.length = 0;
          slot[`write${8 * width as 8 | 16 | 32}`](offset, 0x77);
          assertEquals([log.length, log[0]!.value], [1, 0x77], `write of ${width} at ${offset}`);
        }
      }
    }
    assertEquals(slot.read32(0x70), 0);
  });
}

Deno.test("register file: identity, and a slot without a device", () => {
  const { machine, slot } = setUp();
  const identity = (s: MmioDevice): number[] => [0, 4, 8, 12].map((at) => s.read32(at));
  assertEquals(identity(slot), [0x74726976, 2, 0x3f, 0x45524956]);
  const empty = machine.slots[7]!;
  assertEquals(identity(empty), [0x74726976, 2, 0, 0x45524956]);
  empty.write32(0x70, 1);
  empty.write8(0x100, 1);
  assertEquals([empty.read32(0x70), empty.read32(0x34), empty.read8(0x100)], [0, 0, 0]);
  assertEquals(machine.violations(), []);
});

Deno.test("register file: each access is traced once, with its width and value", () => {
  const seen: RegisterTrace[] = [];
  const machine = EmulatedMachine.create({
    devices: [new EchoModel()],
    memorySize: 1 << 16,
    trace: (access) => seen.push(access),
  });
  const slot = machine.slots[0]!;
  slot.read32(0);
  slot.write32(0x30, 5);
  slot.write8(0x103, 7);
  slot.read16(0x102);
  const window = "virtio-mmio@a000000";
  assertEquals(seen, [
    { op: "r", window, offset: 0, width: 4, value: 0x74726976 },
    { op: "w", window, offset: 0x30, width: 4, value: 5 },
    { op: "w", window, offset: 0x103, width: 1, value: 7 },
    { op: "r", window, offset: 0x102, width: 2, value: 0x0700 },
  ]);
});

Deno.test("features: four words, by version and by what is offered", () => {
  const words = (options: Omit<MachineDevice, "model">): number[][] => {
    const { slot } = setUp(new EchoModel({ features: FeatureSet.of(0, 70) }), options);
    return [0, 1, 2, 3, 4, 0xffffffff].map((sel) => {
      slot.write32(0x14, sel);
      return [...FeatureSet.fromWords(slot.read32(0x10))];
    });
  };
  // 28 INDIRECT_DESC, 29 EVENT_IDX; 32 VERSION_1, 38 NOTIFICATION_DATA, 40 RING_RESET; 70 is the model's.
  assertEquals(words({}), [[0, 28, 29], [0, 8], [6], [], [], []]);
  assertEquals(
    words({
      offer: { indirect: false, eventIdx: false, ringReset: false, notificationData: true },
    }),
    [[0], [0, 6], [6], [], [], []],
  );
  // 24 NOTIFY_ON_EMPTY, 27 ANY_LAYOUT, no VERSION_1 and nothing past 32 bits.
  assertEquals(words({ version: 1 }), [[0, 24, 27, 28, 29], [], [], [], [], []]);
});

Deno.test("features: FEATURES_OK stays clear for a subset that cannot be (dev.basic.features.3)", () => {
  const odd = new EchoModel({ accept: (features) => features.has(70) });
  const { slot } = setUp(odd);
  assertEquals(negotiate(slot, 0, 70), 11);
  assertEquals([...slot.device!.features], [0, 32, 70]);
  assertEquals(negotiate(slot, 0), 3, "the model refuses");
  assertEquals(negotiate(slot, 1, 70), 3, "a bit that is not offered");
  assertEquals(negotiate(slot, 34, 70), 3, "another");
  assertEquals(reasons(slot).map((text) => text.split(": ")[1]), [
    "the model does not accept these features",
    "accepts bits that are not offered",
    "accepts bits that are not offered",
  ]);
  slot.write32(0x70, 0);
  slot.write32(0x70, 11);
  assertEquals(slot.read32(0x70), 3, "without VERSION_1");
  slot.write32(0x70, 15);
  assertEquals([slot.read32(0x70), slot.device!.active], [3, false], "DRIVER_OK falls with it");
  assertEquals(negotiate(slot, 70), 11, "and a good one is taken after a reset");
});

Deno.test("features: are settled by FEATURES_OK", () => {
  const { slot } = setUp();
  negotiate(slot, 0);
  slot.write32(0x24, 0);
  slot.write32(0x20, 1 << 28);
  assertEquals([...slot.device!.features], [0, 32]);
  slot.write32(0x24, 4);
  slot.write32(0x20, 1);
  assertEquals(reasons(slot), [
    "DriverFeatures: the features are already settled",
    "DriverFeaturesSel: selects no feature word",
  ]);
});

Deno.test("status: a reset puts the selectors back to 0, and no other write does", () => {
  const { slot } = setUp(new EchoModel({ queueSizes: [8, 4] }));
  const before = slot.snapshot();
  assertEquals(before, { deviceFeatures: 0, driverFeatures: 0, queue: 0, shm: 0 });
  for (const selector of [0x14, 0x24, 0x30, 0xac]) slot.write32(selector, 1);
  const selected = { deviceFeatures: 1, driverFeatures: 1, queue: 1, shm: 1 };
  slot.write32(0x70, 1);
  assertEquals([slot.snapshot(), slot.read32(0x34)], [selected, 4]);
  slot.write32(0x70, 0);
  assertEquals([slot.snapshot(), slot.read32(0x34)], [before, 8]);
});

Deno.test("queue: a size must be a power of two up to the largest", () => {
  const { slot } = setUp(new EchoModel({ queueSizes: [16] }), { queueSize: 8 });
  negotiate(slot);
  slot.write32(0x30, 0);
  assertEquals(slot.read32(0x34), 8, "the machine's bound holds");
  for (const size of [0, 3, 12, 16, 0x80000000]) slot.write32(0x38, size);
  assertEquals(slot.device!.configs[0]!.size, 8);
  assertEquals(slot.device!.log.map(({ register, value }) => [register, value]), [
    ["QueueSize", 0],
    ["QueueSize", 3],
    ["QueueSize", 12],
    ["QueueSize", 16],
    ["QueueSize", 0x80000000],
  ]);
  slot.write32(0x30, 1);
  assertEquals(slot.read32(0x34), 0, "there is no other");
  slot.write32(0x38, 4);
  slot.write32(0x44, 1);
  assertEquals(slot.read32(0x44), 0);
});

Deno.test("queue: addresses that cannot be are refused at QueueReady", () => {
  const { slot } = setUp();
  negotiate(slot);
  for (const desc of [0, 0x4001_0008, 0x400f_fff0, 0xffff_fff0]) {
    assertEquals(setQueue(slot, { desc }), 0);
  }
  slot.write32(0x80, 0x4001_0000);
  slot.write32(0x84, 1);
  slot.write32(0x44, 1);
  slot.write32(0x44, 2);
  assertEquals(slot.read32(0x44), 0);
  assertEquals(reasons(slot).map((text) => text.replace(/.* at (0x\w+)/, "$1")), [
    "0x0 is outside guest memory",
    "0x40010008 is not aligned",
    "0x400ffff0 is outside guest memory",
    "0xfffffff0 is outside guest memory",
    "0x140010000 is outside guest memory",
    "QueueReady: neither 0 nor 1",
  ]);
  assertEquals(setQueue(slot), 1);
});

Deno.test("queue: nothing changes a running one (drv.mmio.layout.11), and 0 stops it", () => {
  const { slot, model } = setUp();
  slot.write32(0x70, 3);
  assertEquals(setQueue(slot), 0);
  assertEquals(reasons(slot).at(-1), "QueueReady: before FEATURES_OK");
  negotiate(slot);
  assertEquals(setQueue(slot), 1);
  slot.write32(0x70, 15);
  slot.device!.log.length = 0;
  for (const offset of [0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4]) slot.write32(offset, 4);
  assertEquals(slot.device!.log.length, 7);
  assert(reasons(slot).every((text) => text.endsWith("queue runs")));
  assertEquals(slot.device!.configs[0]!.geometry(), {
    size: 8,
    desc: 0x4001_0000,
    avail: 0x4001_1000,
    used: 0x4001_2000,
  });
  slot.write32(0x44, 0);
  assertEquals([slot.read32(0x44), model.calls.at(-1)], [0, "resetQueue 0"]);
  slot.write32(0x50, 0);
  assertEquals(reasons(slot).at(-1), "QueueNotify: names a queue that does not run");
});

Deno.test("queue reset: puts the queue back to defaults, and it can be set up again (dev.mmio.layout.8-12)", async () => {
  const model = new EchoModel({ hold: true });
  const { slot, driver } = setUp(model);
  driver.init(FeatureSet.of(32, 40), { queueSize: 4 });
  driver.queues[0]!.add([{ write: 4 }]);
  driver.queues[0]!.kick();
  const stale = model.held[0]!.chain;
  slot.write32(0x30, 0);
  slot.write32(0xc0, 1);
  assertEquals([slot.read32(0xc0), slot.read32(0x44)], [0, 0]);
  assertEquals([slot.device!.configs[0]!.size, model.held.length], [16, 0]);
  assertEquals(model.calls.at(-1), "resetQueue 0");
  model.hold = false;
  assertEquals(setQueue(slot, { size: 4 }), 1);
  assertEquals(slot.device!.queue(0)!.size, 4);
  slot.device!.queue(0)!.push(stale);
  slot.device!.queue(0)!.signal();
  const position = slot.device!.snapshot().queues[0]!.position as QueuePosition;
  assertEquals(position.usedIndex, 0, "the old chain is void");
  driver.init(FeatureSet.of(32, 40));
  assertEquals((await driver.request(0, [{ write: 4 }])).written, 0);
});

Deno.test("queue reset: is not there without RING_RESET", () => {
  const { slot } = setUp();
  negotiate(slot);
  setQueue(slot);
  slot.write32(0xc0, 1);
  assertEquals([slot.read32(0x44), reasons(slot)], [1, ["QueueReset: without RING_RESET"]]);
});

Deno.test("notify: the position of NOTIFICATION_DATA is not part of the index", () => {
  const model = new EchoModel({ queueSizes: [8, 8] });
  const { slot, driver } = setUp(model, { offer: { notificationData: true } });
  driver.init(FeatureSet.of(32, 38));
  slot.write32(0x50, 0x8005_0001);
  assertEquals(model.calls.at(-1), "notify 1");
  driver.init(FeatureSet.of(32));
  slot.write32(0x50, 0x8005_0001);
  assertEquals([model.calls.at(-1), reasons(slot).length], ["activate", 1]);
});

Deno.test("notify: is nothing before DRIVER_OK, and what was there then is served at DRIVER_OK", () => {
  const { slot, driver, model } = setUp();
  driver.init(undefined, { stopBeforeDriverOk: true });
  driver.queues[0]!.add([{ write: 1 }]);
  driver.queues[0]!.kick();
  assertEquals([model.calls.at(-1), driver.queues[0]!.usedIndex], ["reset", 0]);
  assertEquals(reasons(slot), ["QueueNotify: before DRIVER_OK"]);
  slot.write32(0x70, 15);
  assertEquals([model.calls.slice(-2), driver.queues[0]!.usedIndex], [["activate", "notify 0"], 1]);
});

Deno.test("interrupt: bits stay till they are acknowledged (dev.mmio.layout.3-5)", () => {
  const { slot, driver, model } = setUp();
  driver.init();
  driver.queues[0]!.add([{ write: 1 }]);
  driver.queues[0]!.kick();
  model.context!.configChanged();
  assertEquals(slot.read32(0x60), 3);
  slot.write32(0x64, 1);
  assertEquals([slot.read32(0x60), slot.device!.line], [2, true]);
  slot.write32(0x64, 0x102);
  assertEquals([slot.read32(0x60), slot.device!.line], [0, false]);
  assertEquals(slot.device!.log, [
    {
      register: "InterruptACK",
      value: 0x102,
      reason: "sets undefined bits",
      clause: "4.2.2.2",
      rule: "drv.mmio.layout.15",
    },
  ]);
  model.context!.configChanged();
  slot.write32(0x70, 0);
  assertEquals([slot.read32(0x60), slot.read32(0x44), slot.device!.line], [0, 0, false]);
});

Deno.test("config: widths 1, 2 and 4 at aligned offsets inside, a generation, nothing else", () => {
  const { slot, model } = setUp(new EchoModel({ configSize: 6 }));
  model.config.set([1, 2, 3, 4, 5, 6]);
  assertEquals(slot.read32(0x100), 0x04030201);
  assertEquals([slot.read16(0x104), slot.read16(0x102), slot.read8(0x105)], [0x0605, 0x0403, 6]);
  slot.write16(0x102, 0xaabb);
  assertEquals([...model.config], [1, 2, 0xbb, 0xaa, 5, 6]);
  assertEquals(slot.device!.log, []);
  assertEquals([slot.read32(0x104), slot.read16(0x101), slot.read8(0x106)], [0, 0, 0]);
  slot.write32(0x104, 1);
  assertEquals(slot.device!.log.length, 4);
  assertEquals(
    [slot.read32(0xfc), slot.read32(0xfc)],
    [0, 0],
    "nothing has changed since it began",
  );
  model.context!.configChanged();
  assertEquals([slot.read32(0xfc), slot.read32(0xfc)], [1, 1]);
  assertEquals(slot.read32(0x60), 0, "nobody is told before DRIVER_OK");
  const frozen = new EchoModel();
  Object.defineProperty(frozen, "writeConfig", { value: undefined });
  const other = setUp(frozen).slot;
  other.write8(0x100, 1);
  assertEquals(other.device!.log, [{ register: "Config+0", value: 1, reason: "read-only" }]);
});

Deno.test("shared memory: regions lie above RAM; what is not there is all ones", () => {
  const bytes = new Uint8Array(5000).fill(7);
  const { slot, machine } = setUp(new EchoModel({ sharedMemory: [{ id: 3, bytes }] }));
  const region = (id: number): number[] => {
    slot.write32(0xac, id);
    return [0xb0, 0xb4, 0xb8, 0xbc].map((at) => slot.read32(at));
  };
  assertEquals(region(3), [5000, 0, 0x4010_0000, 0]);
  const ones = 0xffffffff;
  assertEquals(region(0), [ones, ones, ones, ones]);
  using opened = machine.openMemory(0x4010_0000, 5000);
  assertEquals([opened.bytes[4999], opened.bytes.buffer], [7, bytes.buffer]);
});

Deno.test("version 1: a queue lies where page size, alignment and PFN say, and FEATURES_OK is unknown", async () => {
  const { slot, driver, model } = setUp(new EchoModel({ queueSizes: [16] }), { version: 1 });
  slot.write32(0x28, 1000);
  slot.write32(0x28, 4096);
  slot.write32(0x30, 0);
  slot.write32(0x3c, 2);
  slot.write32(0x3c, 8192);
  slot.write32(0x40, 0x1234);
  assertEquals(slot.read32(0x40), 0, "outside memory");
  slot.write32(0x40, 0x4_0010);
  assertEquals(slot.read32(0x40), 0x4_0010);
  // §2.7.2: 16 * 16 bytes of descriptors, then the available ring, then the used ring on 8192.
  const [queue] = slot.device!.snapshot().queues;
  assertEquals([queue!.align, queue!.position !== null], [8192, true]);
  slot.write32(0x40, 0x4_0020);
  slot.write32(0x38, 4);
  slot.write32(0x40, 0);
  assertEquals(slot.read32(0x40), 0);
  slot.write32(0x70, 11);
  assertEquals(slot.read32(0x70), 3);
  assertEquals(reasons(slot), [
    "GuestPageSize: not a power of two",
    "QueueAlign: not a power of two of at least 4",
    "QueuePFN: descriptor table at 0x1234000 is outside guest memory",
    "QueuePFN: queue runs",
    "QueueSize: queue runs",
    "Status: does not accept VERSION_1",
  ]);
  driver.init();
  const { bytes } = await driver.request(0, [{ read: Uint8Array.of(4, 5) }, { write: 2 }]);
  assertEquals([...bytes[0]!], [4, 5]);
  assert(model.context!.legacy);
});

Deno.test("version 1: the used ring is where QueueAlign puts it (dev.split-ring.legacy-layout.1)", () => {
  const { slot, machine } = setUp(new EchoModel({ queueSizes: [16] }), { version: 1 });
  slot.write32(0x28, 4096);
  slot.write32(0x30, 0);
  slot.write32(0x38, 4);
  // The least alignment is 4; what is none leaves the last one.
  const align = (value: number): number | undefined => {
    slot.write32(0x3c, value);
    return slot.device!.configs[0]?.align;
  };
  assertEquals([4, 2, 0, 512, 12].map(align), [4, 4, 4, 512, 512]);
  slot.write32(0x40, 0x4_0010);
  slot.write32(0x70, 7);
  const view = new DataView(machine.memory.bytes.buffer, 0x1_0000);
  view.setUint16(64 + 2, 1, true); // avail.idx behind 4 descriptors of 16 bytes
  view.setUint32(0, 0x4002_0000, true);
  view.setUint32(8, 4, true);
  view.setUint16(12, 2, true);
  slot.write32(0x50, 0);
  assertEquals(view.getUint16(512 + 2, true), 1, "used.idx");
});

Deno.test("version 1: the device may be used before DRIVER_OK (dev.basic.legacy-init.2)", async () => {
  const { slot, driver, model } = setUp(new EchoModel(), { version: 1 });
  driver.init(undefined, { stopBeforeDriverOk: true });
  const { bytes } = await driver.request(0, [{ read: Uint8Array.of(9) }, { write: 1 }]);
  assertEquals([...bytes[0]!], [9]);
  slot.write32(0x70, 7);
  assertEquals(model.calls.filter((call) => call === "activate").length, 1);
});

Deno.test("version 1: bits that are not offered are dropped and logged", () => {
  const { slot, driver } = setUp(new EchoModel(), { version: 1 });
  driver.init(FeatureSet.of(0, 5));
  assertEquals([...slot.device!.features], [0]);
  assertStringIncludes(reasons(slot)[0]!, "bits that are not offered: 5");
});

Deno.test("the log is bounded", () => {
  const { slot } = setUp();
  for (let i = 0; i < 10_000; i++) slot.write32(0x00, i);
  assertEquals([slot.device!.log.length, slot.device!.log.at(-1)!.value], [256, 9999]);
});

Deno.test("register file: a slot whose device was taken out is empty, and that device was reset", () => {
  const { slot, model, driver } = setUp();
  driver.init();
  model.config.fill(7);
  const { device } = slot;
  slot.unplug();
  assertEquals([device!.status, device!.running(0), model.calls.at(-1)], [0, false, "reset"]);
  assertEquals([slot.device, slot.read32(0), slot.read32(8), slot.read32(0x70)], [
    ...[undefined, 0x74726976],
    ...[0, 0],
  ]);
  slot.write32(0x70, 1);
  slot.write8(0x100, 1);
  assertEquals([slot.read8(0x100), device!.status, model.config[0]], [0, 0, 7]);
});

Deno.test("register file: a reset of the machine puts selectors and device back", () => {
  const { slot, machine } = setUp(
    new EchoModel({ queueSizes: [8, 4], sharedMemory: [{ id: 3, bytes: new Uint8Array(4096) }] }),
  );
  const selected = (): number[] => [0x10, 0x34, 0xb0].map((register) => slot.read32(register));
  const first = selected();
  slot.write32(0x70, 1);
  for (const [register, value] of [[0x14, 1], [0x24, 1], [0x30, 1], [0xac, 3]] as const) {
    slot.write32(register, value);
  }
  assertEquals(selected(), [1 | 1 << 8, 4, 4096], "VERSION_1 and RING_RESET");
  const state = slot.snapshot();
  assertEquals(state, { deviceFeatures: 1, driverFeatures: 1, queue: 1, shm: 3 });
  machine.reset();
  assertEquals([selected(), slot.read32(0x70)], [first, 0]);
  assertEquals(slot.snapshot(), { deviceFeatures: 0, driverFeatures: 0, queue: 0, shm: 0 });
  slot.restore(state);
  assertEquals(slot.snapshot(), state);
});

Deno.test("register file: an access that is none is held against the driver by its register or its width", () => {
  const { slot } = setUp();
  const acts: readonly (readonly [() => void, string])[] = [
    [() => slot.read32(0x48), "drv.mmio.layout.1"],
    [() => slot.write32(0x48, 1), "drv.mmio.layout.1"],
    [() => slot.read32(2), "drv.mmio.layout.2"],
    [() => slot.write32(2, 1), "drv.mmio.layout.2"],
    [() => slot.read8(0x70), "drv.mmio.layout.2"],
    [() => slot.write16(0x70, 1), "drv.mmio.layout.2"],
  ];
  for (const [act, rule] of acts) {
    act();
    const last = slot.device!.log.pop();
    assertEquals([last?.rule, last?.clause], [rule, "4.2.2.2"]);
  }
});

Deno.test("queue reset: only 1, for a queue that there is", () => {
  const { slot } = setUp();
  negotiate(slot, 40);
  setQueue(slot);
  for (const [queue, value] of [[0, 2], [0, 0], [1, 1]] as const) {
    slot.write32(0x30, queue);
    slot.write32(0xc0, value);
    assertEquals(slot.read32(0xc0), 0);
  }
  slot.write32(0x30, 0);
  assertEquals([slot.read32(0x44), reasons(slot)], [
    1,
    Array(3).fill("QueueReset: not 1, or no such queue"),
  ]);
});

Deno.test("version 1: the alignment is a power of two of at least 4, of a queue that stands", () => {
  const { slot } = setUp(new EchoModel(), { version: 1 });
  const align = (value: number): number => {
    slot.write32(0x3c, value);
    return slot.device!.configs[0]!.align;
  };
  assertEquals([4, 8192, 2, 0, 12].map(align), [4, 8192, 8192, 8192, 8192]);
  slot.write32(0x40, 0x4001_0000 / 4096);
  assertEquals(align(64), 8192);
  slot.write32(0x40, 0x4002_0000 / 4096);
  assertEquals(slot.read32(0x40), 0x4001_0000 / 4096);
  slot.write32(0x40, 0);
  assertEquals([slot.read32(0x40), align(64)], [0, 64]);
  // A page that is no memory leaves the queue as it stood.
  slot.write32(0x40, 0x10_0000);
  assertEquals([slot.read32(0x40), slot.device!.running(0)], [0, false]);
  slot.write32(0x30, 1);
  slot.write32(0x40, 1);
  assertEquals(reasons(slot).at(-1), "QueuePFN: no such queue");
});
