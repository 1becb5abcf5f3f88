// A device without a bus: what every transport calls, with the specification's numbers typed again.
import { setImmediate } from "node:timers";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import type { InterruptCause } from "@vireo/hal";
import type { Violation } from "./device_state.ts";
import { HostedDevice, type HostedDeviceOptions } from "./hosted_device.ts";
import { GuestMemory } from "./memory.ts";
import { EchoModel, type EchoModelOptions } from "./testing/echo_model.ts";

const [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, SUSPEND] = [1, 2, 4, 8, 16];
const [NEEDS_RESET, FAILED] = [64, 128];
const [EVENT_IDX, VERSION_1, ACCESS_PLATFORM, PACKED] = [29, 32, 33, 34];
const [NOTIFICATION_DATA, SUSPENDS] = [38, 43];
const [QUEUE, CONFIG] = [1, 2] as const;
/** Parts of queue 0, and of queue 1 behind it. */
const [DESC, AVAIL, USED, NEXT] = [0, 0x400, 0x800, 0x2000];

/** A device with two queues of eight descriptors, and what it tells its transport. */
class Rig {
  readonly model: EchoModel;
  readonly memory = new GuestMemory(0x10000, 0);
  readonly view = new DataView(this.memory.bytes.buffer);
  readonly hosted: HostedDevice;
  readonly told: (string | readonly [InterruptCause, number | undefined])[] = [];
  readonly violations: Violation[] = [];

  constructor(options: EchoModelOptions = {}, more: Partial<HostedDeviceOptions> = {}) {
    this.model = new EchoModel({ queueSizes: [8, 8], ...options });
    this.hosted = new HostedDevice({
      model: this.model,
      memory: this.memory,
      legacy: false,
      lineRaised: () => void this.told.push("line"),
      raised: (cause, queue) => void this.told.push([cause, queue]),
      violated: (violation) => void this.violations.push(violation),
      ...more,
    });
  }

  /** Walks a driver's steps with these features, up to FEATURES_OK. */
  agree(...features: number[]): this {
    for (const bit of [VERSION_1, ...features]) {
      this.hosted.driverWords[bit >> 5]! |= 1 << (bit & 31);
    }
    for (const status of [ACKNOWLEDGE, 3, 11]) this.hosted.writeStatus(status);
    return this;
  }

  /** Starts a queue. */
  queue(index = 0): this {
    const config = this.hosted.configs[index]!;
    [DESC, AVAIL, USED].forEach((at, i) =>
      [config.desc, config.avail, config.used][i]![0] = index * NEXT + at
    );
    assert(this.hosted.startQueue(index));
    return this;
  }

  /** As `agree`, with both queues and DRIVER_OK. */
  run(...features: number[]): this {
    this.agree(...features).queue(0).queue(1).hosted.writeStatus(15);
    this.clear();
    return this;
  }

  /** Makes a chain of one writable byte available. */
  add(index = 0): void {
    const at = index * NEXT;
    this.view.setUint32(at + DESC, 0x8000, true);
    this.view.setUint32(at + DESC + 8, 1, true);
    this.view.setUint16(at + DESC + 12, 2, true);
    this.view.setUint16(at + AVAIL + 2, this.view.getUint16(at + AVAIL + 2, true) + 1, true);
  }

  used(index = 0): number {
    return this.view.getUint16(index * NEXT + USED + 2, true);
  }

  /** What was held against the driver since this was last asked. */
  reasons(): string[] {
    return this.violations.splice(0).map(({ register, reason }) => `${register}: ${reason}`);
  }

  clear(): void {
    this.told.length = this.violations.length = this.model.calls.length = 0;
  }
}

Deno.test("hosted device: the configuration is read and written within its bounds, each access in one width", () => {
  const rig = new Rig({ configSize: 6 }, { configPlace: { clause: "9.9" } });
  const { hosted, model } = rig;
  model.config.set([0x81, 0x82, 0x83, 0x84, 0x85, 0x86]);
  assertEquals([hosted.readConfig(5, 1), hosted.readConfig(4, 2)], [0x86, 0x8685]);
  assertEquals(hosted.readConfig(0, 4), 0x84838281);
  hosted.writeConfig(4, 2, 0x1122);
  hosted.writeConfig(0, 4, 0x99887766);
  assertEquals([...model.config], [0x66, 0x77, 0x88, 0x99, 0x22, 0x11]);
  assertEquals(rig.reasons(), []);
  for (const [offset, width] of [[6, 1], [5, 2], [4, 4], [2, 4], [1, 2]] as const) {
    assertEquals(hosted.readConfig(offset, width), 0);
    hosted.writeConfig(offset, width, 0xff);
    assertEquals(rig.violations.map(({ clause }) => clause), ["9.9", "9.9"]);
    assertEquals(rig.reasons(), [
      `Config+${offset}: no such read of ${width} bytes`,
      `Config+${offset}: no such write of ${width} bytes`,
    ]);
  }
  assertEquals([...model.config], [0x66, 0x77, 0x88, 0x99, 0x22, 0x11]);
  Object.assign(model, { writeConfig: undefined });
  hosted.writeConfig(0, 1, 1);
  assertEquals(rig.reasons(), ["Config+0: read-only"]);
});

Deno.test("hosted device: feature words are the driver's until they are settled", () => {
  const rig = new Rig();
  const { hosted } = rig;
  hosted.writeFeatures(0, 1);
  hosted.writeFeatures(3, 5);
  hosted.writeFeatures(4, 7);
  assertEquals([...hosted.driverWords], [1, 0, 0, 5]);
  for (const status of [FEATURES_OK, DRIVER_OK]) {
    hosted.status = status;
    hosted.writeFeatures(0, 9);
  }
  assertEquals([...hosted.driverWords], [1, 0, 0, 5]);
  assertEquals(rig.reasons(), [
    "DriverFeaturesSel: selects no feature word",
    "DriverFeatures: the features are already settled",
    "DriverFeatures: the features are already settled",
  ]);
});

Deno.test("hosted device: FEATURES_OK is refused for bits that are not offered, that are missing, or that the model refuses", () => {
  const rows: readonly (readonly [readonly number[], string | undefined, string?])[] = [
    [[VERSION_1, ACCESS_PLATFORM], undefined],
    [[VERSION_1, ACCESS_PLATFORM, EVENT_IDX], undefined],
    [[VERSION_1, ACCESS_PLATFORM, 5, 60], "accepts bits that are not offered: 5,60", "features.1"],
    [[ACCESS_PLATFORM], "does not accept VERSION_1", "reserved-features.1"],
    [[VERSION_1], "does not accept ACCESS_PLATFORM", "reserved-features.2"],
    [[VERSION_1, ACCESS_PLATFORM, 0], "the model does not accept these features", "features.1"],
  ];
  for (const [bits, reason, rule] of rows) {
    const rig = new Rig({ accept: (features) => !features.has(0) }, {
      offer: { accessPlatform: true },
    });
    const { hosted } = rig;
    for (const bit of bits) hosted.driverWords[bit >> 5]! |= 1 << (bit & 31);
    for (const status of [1, 3, 15]) hosted.writeStatus(status);
    assertEquals(
      rig.violations.map(({ rule }) => rule),
      rule === undefined ? [] : [`drv.basic.${rule}`],
    );
    assertEquals(rig.reasons(), reason === undefined ? [] : [`Status: ${reason}`]);
    // DRIVER_OK of the same write goes with it.
    assertEquals([hosted.status, hosted.active], reason === undefined ? [15, true] : [3, false]);
    assertEquals([...hosted.features], reason === undefined ? bits.toSorted((a, b) => a - b) : []);
  }
});

Deno.test("hosted device: sizes of queues are within the model's and the option's, powers of two for split rings", () => {
  for (const [queueSize, most] of [[undefined, 64], [16, 16], [64, 64], [100, 64]] as const) {
    const rig = new Rig({ queueSizes: [64] }, { queueSize, offer: { packed: true } });
    const { hosted } = rig;
    const problems = (): (string | undefined)[] =>
      [0, 1, 3, most - 1, most, most + 1].map((size) => hosted.sizeProblem(0, size));
    const [range, power] = [`not 1 to ${most}`, "not a power of two"];
    assertEquals(problems(), [range, undefined, power, power, undefined, range]);
    rig.agree(PACKED);
    assertEquals(problems(), [range, undefined, undefined, undefined, undefined, range]);
    assertEquals(hosted.sizeProblem(1, 1), "not 1 to 0");
  }
});

Deno.test("hosted device: a queue outside guest memory does not start, and the register that said so is named", () => {
  for (const legacy of [false, true]) {
    const rig = new Rig({}, { legacy });
    const { hosted } = rig;
    if (!legacy) rig.agree();
    hosted.configs[0]!.desc[0] = 0x10000;
    hosted.configs[0]!.pfn = 16;
    assertEquals([hosted.startQueue(0), hosted.running(0)], [false, false]);
    const [violation] = rig.violations;
    assertEquals([violation?.register, violation?.clause, violation?.rule], [
      legacy ? "QueuePFN" : "QueueReady",
      "2.7",
      "drv.split-ring.layout.1",
    ]);
  }
  const packed = new Rig({}, { offer: { packed: true } }).agree(PACKED);
  packed.hosted.configs[0]!.desc[0] = 0x10000;
  assertEquals(packed.hosted.startQueue(0), false);
  assertEquals([packed.violations[0]?.clause, packed.violations[0]?.rule], [
    "2.8.10.1",
    "drv.packed-ring.layout.1",
  ]);
});

Deno.test("hosted device: the generation moves on once at a look after any change, but not while suspended", () => {
  const rig = new Rig({}, { offer: { suspend: true } }).run(SUSPENDS);
  const { hosted, model } = rig;
  const looks = (): number[] => [hosted.generation, hosted.generation];
  assertEquals(looks(), [0, 0]);
  model.config[15] = 1;
  assertEquals(looks(), [1, 1]);
  hosted.configChanged();
  assertEquals([rig.told, looks()], [["line", [CONFIG, undefined]], [2, 2]]);
  hosted.writeStatus(15 | SUSPEND);
  assertEquals(hosted.readStatus(), 11 | SUSPEND);
  model.config[3] = 0xff;
  hosted.configChanged();
  assertEquals([looks(), hosted.readConfig(0, 4), rig.told.length], [[2, 2], 0, 2]);
  hosted.writeConfig(4, 4, 1);
  assertEquals([model.config[4], rig.reasons()], [0, [
    "Config+0: read after SUSPEND",
    "Config+4: written after SUSPEND",
  ]]);
  // The driver hears of it when the device goes on.
  hosted.writeStatus(15);
  assertEquals([rig.told.slice(2), looks()], [[[CONFIG, undefined]], [3, 3]]);
  assertEquals(hosted.readConfig(0, 4), 0xff000000);
  // Once.
  hosted.writeStatus(15 | SUSPEND);
  hosted.readStatus();
  hosted.writeStatus(15);
  assertEquals(rig.told.length, 3);
  hosted.fault("a test");
  assertEquals(looks(), [4, 4]);
  hosted.reset();
  rig.clear();
  hosted.configChanged();
  assertEquals(rig.told, [], "there is no driver");
});

Deno.test("hosted device: suspended bytes of the configuration are those of the moment", () => {
  const rig = new Rig({}, { offer: { suspend: true } }).run(SUSPENDS);
  const { hosted, model } = rig;
  model.config.set([1, 2, 3, 0x84]);
  hosted.writeStatus(15 | SUSPEND);
  hosted.readStatus();
  model.config.fill(0);
  assertEquals([hosted.readConfig(0, 4), hosted.readConfig(2, 2), hosted.readConfig(3, 1)], [
    ...[0x84030201, 0x8403],
    0x84,
  ]);
});

Deno.test("hosted device: a fault is told once, to a driver that runs, and stops all queues until a reset", () => {
  for (const runs of [true, false]) {
    const rig = new Rig();
    const { hosted } = rig;
    if (runs) rig.run();
    else rig.agree().queue(0).clear();
    hosted.fault("first", "drv.x");
    hosted.fault("second");
    assertEquals(hosted.status & NEEDS_RESET, NEEDS_RESET);
    assertEquals(rig.told, runs ? ["line", [CONFIG, undefined]] : []);
    assertEquals(rig.violations.map(({ rule }) => rule), ["drv.x"]);
    assertEquals([hosted.lastViolation?.reason, rig.reasons()], ["first", ["ring: first"]]);
    assertEquals([hosted.queue(0), hosted.running(0)], [undefined, true]);
    rig.add();
    hosted.notify(0);
    assertEquals([rig.used(), rig.reasons()], [0, []]);
    hosted.reset();
    assertEquals([hosted.status, hosted.lastViolation, hosted.line], [0, undefined, false]);
    hosted.fault("third");
    assertEquals([rig.reasons(), hosted.line], [["ring: third"], false]);
  }
});

Deno.test("hosted device: an error of the model is a fault of the device, wherever it comes", () => {
  const fails = (): never => {
    throw new Error("broken");
  };
  const rows: readonly (readonly [string, (rig: Rig) => void])[] = [
    ["readConfig", ({ hosted }) => hosted.readConfig(0, 1)],
    ["writeConfig", ({ hosted }) => hosted.writeConfig(0, 1, 1)],
    ["readConfig", ({ hosted }) => hosted.generation],
    ["notify", ({ hosted }) => hosted.notify(0)],
    ["resetQueue", ({ hosted }) => hosted.stopQueue(0)],
    ["reset", ({ hosted }) => hosted.reset()],
  ];
  for (const [method, act] of rows) {
    const rig = new Rig().run();
    Object.assign(rig.model, { [method]: fails });
    act(rig);
    assertEquals(rig.reasons(), ["model: model failed: Error: broken"], method);
    assertEquals(rig.hosted.status & NEEDS_RESET, NEEDS_RESET);
  }
  const rig = new Rig().agree();
  Object.assign(rig.model, { activate: fails });
  rig.hosted.writeStatus(15);
  assertEquals(rig.reasons(), ["model: model failed: Error: broken"]);
  rig.hosted.hostFailed("no disk");
  assertEquals(rig.hosted.hostFailure?.message, "no disk");
  rig.hosted.reset();
  assertEquals(rig.hosted.hostFailure, undefined);
});

Deno.test("hosted device: the line rises with the first cause, and falls with the last", () => {
  const rig = new Rig();
  const { hosted } = rig;
  hosted.raise(QUEUE, 1);
  hosted.raise(CONFIG);
  assertEquals(rig.told, ["line", [QUEUE, 1], [CONFIG, undefined]]);
  hosted.acknowledge(QUEUE);
  assertEquals([hosted.line, hosted.interruptStatus, rig.reasons()], [true, 2, []]);
  hosted.acknowledge(CONFIG | 4);
  assertEquals([hosted.line, rig.reasons()], [false, ["InterruptACK: sets undefined bits"]]);
  hosted.acknowledge(3);
  assertEquals(rig.reasons(), []);
  hosted.raise(QUEUE, 0);
  assertEquals(rig.told.slice(3), ["line", [QUEUE, 0]]);
});

Deno.test("hosted device: the log keeps the last 256 violations", () => {
  const { hosted } = new Rig();
  for (let i = 0; i < 257; i++) hosted.violate("Status", i, "a test");
  assertEquals([hosted.log.length, hosted.log[0]?.value, hosted.log.at(-1)?.value], [256, 1, 256]);
});

Deno.test("hosted device: a notification needs a queue that runs, DRIVER_OK and a device that may move", () => {
  const rig = new Rig({}, { offer: { suspend: true } });
  const { hosted } = rig;
  rig.agree(SUSPENDS).queue(0);
  rig.add();
  hosted.notify(1);
  hosted.notify(0);
  assertEquals([rig.used(), rig.reasons()], [0, [
    "QueueNotify: names a queue that does not run",
    "QueueNotify: before DRIVER_OK",
  ]]);
  hosted.writeStatus(15);
  assertEquals([rig.used(), rig.reasons()], [1, []], "what came before is served at the start");
  rig.add();
  hosted.setBusMaster(false);
  hosted.notify(0);
  assertEquals([rig.used(), rig.reasons()], [1, ["QueueNotify: while bus mastering is off"]]);
  hosted.setBusMaster(true);
  assertEquals(rig.used(), 2, "and so is what came meanwhile");
  // While a suspend waits a notification is a mistake that is served; afterwards it is not.
  hosted.writeStatus(15 | SUSPEND);
  rig.add();
  hosted.notify(0);
  assertEquals([rig.used(), rig.reasons()], [3, ["QueueNotify: notified after SUSPEND"]]);
  hosted.readStatus();
  rig.add();
  hosted.notify(0);
  assertEquals([rig.used(), rig.reasons()], [3, ["QueueNotify: notified after SUSPEND"]]);
  hosted.writeStatus(15);
  assertEquals(rig.used(), 4);
});

Deno.test("hosted device: a legacy driver's first notification starts the device, unless the driver failed", () => {
  for (const status of [0, ACKNOWLEDGE | DRIVER, FAILED]) {
    const rig = new Rig({}, { legacy: true });
    const { hosted } = rig;
    hosted.status = status;
    hosted.configs[0]!.pfn = 1;
    assert(hosted.queuesSettable && hosted.startQueue(0));
    hosted.driverWords[0] = 1 << 7;
    hosted.notify(0);
    hosted.notify(0);
    const failed = status === FAILED;
    assertEquals(rig.model.calls.filter((call) => call === "activate").length, failed ? 0 : 1);
    const early = "QueueNotify: before DRIVER_OK";
    assertEquals(
      rig.reasons(),
      failed ? [early, early] : ["DriverFeatures: bits that are not offered: 7"],
    );
    assertEquals(hosted.active, !failed);
  }
  const late = new Rig({}, { legacy: true });
  late.hosted.configs[0]!.pfn = 1;
  late.hosted.startQueue(0);
  late.hosted.driverWords[0] = 1;
  late.hosted.notify(0);
  assertEquals([...late.hosted.features], [0], "features that came after the queue");
  const modern = new Rig().agree().queue(0);
  modern.hosted.notify(0);
  assertEquals(modern.hosted.active, false);
});

Deno.test("hosted device: a notification's data is checked against the ring, and the queue served in any case", () => {
  for (const packed of [false, true]) {
    const rig = new Rig({}, { offer: { notificationData: true, packed } });
    rig.run(NOTIFICATION_DATA, ...packed ? [PACKED] : []);
    rig.hosted.notifyValue(0x7fff_0001);
    assertEquals(rig.model.calls, ["notify 1"]);
    assertEquals(rig.violations.map(({ register, clause, rule }) => [register, clause, rule]), [
      ["QueueNotify", "2.9", packed ? "drv.packed-ring.desc-table.3" : undefined],
    ]);
    rig.hosted.fault("a test");
    rig.reasons();
    rig.hosted.notifyValue(0x7fff_0001);
    assertEquals(rig.reasons(), []);
  }
  const plain = new Rig().run();
  plain.hosted.notifyValue(0x7fff_0001);
  assertEquals(plain.reasons(), ["QueueNotify: names a queue that does not run"]);
});

Deno.test("hosted device: a notification that is put off comes once, and not after a stop or a reset", async () => {
  const rig = new Rig({}, { deferNotify: true }).run();
  const { hosted, model } = rig;
  const after = async (act: () => void): Promise<string[]> => {
    hosted.notify(0);
    hosted.notify(0);
    assertEquals(model.calls, []);
    act();
    await Promise.resolve();
    return model.calls.splice(0);
  };
  assertEquals(await after(() => {}), ["notify 0"]);
  assertEquals(await after(() => hosted.stopQueue(1)), ["resetQueue 1", "notify 0"]);
  assertEquals(await after(() => hosted.stopQueue(0)), ["resetQueue 0"]);
  rig.queue(0);
  assertEquals(await after(() => hosted.setBusMaster(false)), ["resetQueue 0"]);
  hosted.setBusMaster(true);
  assertEquals(await after(() => hosted.reset()), ["reset"]);
  rig.run();
  const again = (): void => {
    hosted.reset();
    rig.run();
  };
  assertEquals(await after(again), [], "a new driver notifies by itself");
});

Deno.test("hosted device: without bus mastering it has no memory and no queues, and its model forgets what it held", () => {
  const rig = new Rig({ hold: true }, { regions: [{ id: 3, address: 77 }] }).run();
  const { hosted, model } = rig;
  assertEquals([hosted.memory(0xfff0, 16)?.length, hosted.memory(0xfff0, 17)], [16, undefined]);
  assertEquals([hosted.sharedAddress(3), hosted.sharedAddress(4)], [77, undefined]);
  hosted.setBusMaster(true);
  rig.add();
  hosted.notify(0);
  assertEquals([model.calls, model.held.length], [["notify 0"], 1]);
  rig.clear();
  for (let i = 0; i < 2; i++) hosted.setBusMaster(false);
  assertEquals([hosted.memory(0, 1), hosted.queue(0), model.held], [undefined, undefined, []]);
  assertEquals(model.calls, ["resetQueue 0", "resetQueue 1"]);
  for (let i = 0; i < 2; i++) hosted.setBusMaster(true);
  assertEquals([model.calls.slice(2), model.held.length], [["notify 0"], 1], "taken again");
  hosted.fault("a test");
  rig.clear();
  hosted.setBusMaster(false);
  hosted.setBusMaster(true);
  assertEquals(model.calls, []);
});

Deno.test("hosted device: work that a model put off goes on only while the device moves", async () => {
  const turns = async (act: (rig: Rig) => void): Promise<string[]> => {
    const rig = new Rig().run();
    rig.hosted.work.again(0);
    act(rig);
    rig.clear();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    return rig.model.calls;
  };
  assertEquals(await turns(() => {}), ["notify 0"]);
  assertEquals(await turns(({ hosted }) => hosted.fault("a test")), []);
  assertEquals(await turns(({ hosted }) => hosted.setBusMaster(false)), []);
  assertEquals(await turns(({ hosted }) => hosted.reset()), []);
  const again = (rig: Rig): void => {
    rig.hosted.reset();
    rig.run();
  };
  assertEquals(await turns(again), [], "what one driver left is not another's");
});

Deno.test("hosted device: the most that a model kept is looked at after each turn, items and bytes apart", () => {
  const rig = new Rig().run();
  const usages = [{ items: 3, bytes: 1 }, { items: 1, bytes: 9 }, { items: 2, bytes: 2 }];
  let at = 0;
  Object.assign(rig.model, { usage: () => usages[at] });
  rig.hosted.notify(0);
  at++;
  rig.hosted.notify(0);
  at++;
  assertEquals(rig.hosted.mostKept, { items: 3, bytes: 9 });
  usages.push({ items: 4, bytes: 4 });
  at++;
  assertEquals(rig.hosted.mostKept, { items: 4, bytes: 9 }, "what came without a turn");
  const { turns } = rig.hosted.work.counters;
  rig.hosted.notify(1);
  assertEquals(rig.hosted.work.counters.turns, turns + 1);
});

Deno.test("hosted device: a reset puts every register back", () => {
  const rig = new Rig({}, { offer: { suspend: true } }).run(SUSPENDS);
  const { hosted } = rig;
  hosted.pageSize = 8192;
  hosted.configs[1]!.size = 4;
  hosted.raise(QUEUE, 0);
  hosted.writeStatus(15 | SUSPEND);
  hosted.configChanged();
  hosted.reset();
  assertEquals([hosted.status, hosted.active, hosted.interruptStatus, hosted.pageSize], [
    ...[0, false, 0],
    4096,
  ]);
  assertEquals([[...hosted.features], [...hosted.driverWords]], [[], [0, 0, 0, 0]]);
  assertEquals([hosted.running(0), hosted.running(1), hosted.configs[1]!.size], [false, false, 8]);
  // Nothing of the suspend is left.
  rig.run(SUSPENDS);
  hosted.writeConfig(0, 1, 1);
  assertEquals([hosted.readStatus(), rig.reasons(), rig.told], [15, [], []]);
  hosted.writeStatus(15 | SUSPEND);
  hosted.readStatus();
  hosted.configChanged();
  hosted.reset();
  rig.run(SUSPENDS);
  hosted.writeStatus(15 | SUSPEND);
  hosted.readStatus();
  hosted.writeStatus(15);
  assertEquals([rig.told, hosted.status], [[], 15], "no change is due");
});

Deno.test("hosted device: a suspend waits for what the model must answer", () => {
  const rig = new Rig({ hold: true }, { offer: { suspend: true } }).run(SUSPENDS);
  const { hosted, model } = rig;
  rig.add(1);
  hosted.notify(1);
  hosted.writeStatus(15 | SUSPEND);
  assertEquals(hosted.readStatus(), 15);
  Object.assign(model.queues[1]!, { keepsBuffers: true });
  assertEquals(hosted.readStatus(), 11 | SUSPEND, "buffers that it may keep are none");
  assertEquals(model.held, []);
  hosted.writeStatus(11 | SUSPEND | FAILED);
  assertEquals(hosted.readStatus(), 11 | SUSPEND | FAILED);
  hosted.writeStatus(15);
  assertEquals([hosted.readStatus(), model.held.length], [15 | FAILED, 1]);
  // Only a device that ran can be suspended, and only if that was agreed on.
  const early = new Rig({}, { offer: { suspend: true } }).agree(SUSPENDS);
  early.hosted.writeStatus(15 | SUSPEND);
  assertEquals([early.hosted.readStatus(), early.reasons()], [15, [
    "Status: sets SUSPEND before DRIVER_OK",
  ]]);
  const without = new Rig().run();
  without.hosted.writeStatus(15 | SUSPEND);
  assertEquals([without.hosted.readStatus(), without.reasons()], [15, [
    "Status: sets bits 0x10 that are not the driver's",
  ]]);
  // A fault comes first: there is nothing to suspend.
  const broken = new Rig({}, { offer: { suspend: true } }).run(SUSPENDS);
  broken.hosted.writeStatus(15 | SUSPEND);
  broken.hosted.fault("a test");
  assertEquals(broken.hosted.readStatus(), 15 | NEEDS_RESET);
});

Deno.test("hosted device: a device with a reversed queue offers no tables, other rings or positions", () => {
  const all = {
    ...{ indirect: true, packed: true, inOrder: true, notificationData: true },
    ...{ suspend: true, eventIdx: true, ringReset: true },
  };
  const [INDIRECT, IN_ORDER, RING_RESET] = [28, 35, 40];
  const offered = (reversed: boolean): number[] => {
    const model = new EchoModel({ queueSizes: [8, 8], features: FeatureSet.NONE });
    Object.assign(model.queues[1]!, { reversed });
    const hosted = new HostedDevice({
      ...{ model, memory: new GuestMemory(4096, 0), legacy: false, offer: all },
    });
    return [...hosted.offeredBy(false)];
  };
  assertEquals(offered(true), [EVENT_IDX, VERSION_1, RING_RESET, SUSPENDS]);
  assertEquals(offered(false), [
    ...[INDIRECT, EVENT_IDX, VERSION_1, PACKED, IN_ORDER],
    ...[NOTIFICATION_DATA, RING_RESET, SUSPENDS],
  ]);
});

Deno.test("hosted device: the legacy interface has the low 32 bits, and its own two of rings", () => {
  const { hosted } = new Rig({ features: FeatureSet.of(0, 31, 40) }, { legacy: true });
  const [NOTIFY_ON_EMPTY, ANY_LAYOUT] = [24, 27];
  const legacy = [0, NOTIFY_ON_EMPTY, ANY_LAYOUT, 28, EVENT_IDX, 31];
  assertEquals([[...hosted.offered], [...hosted.offeredBy(true)]], [legacy, legacy]);
  assertEquals([24, 27, 32, 40].map((bit) => hosted.offeredBy(false).has(bit)), [
    ...[false, false],
    ...[true, true],
  ]);
});

Deno.test("hosted device: an empty ring interrupts a driver that wants none only if both sides know NOTIFY_ON_EMPTY", () => {
  for (const [bits, interrupts] of [[[24], 1], [[], 0]] as const) {
    const rig = new Rig({ queueSizes: [8] }, { legacy: true });
    const { hosted, view } = rig;
    for (const bit of bits) hosted.writeFeatures(0, 1 << bit);
    for (const status of [ACKNOWLEDGE, 3, 7]) hosted.writeStatus(status);
    // One block: descriptors, the available ring behind them, the used ring at the next page.
    hosted.configs[0]!.pfn = 1;
    assert(hosted.startQueue(0));
    rig.clear();
    const [desc, avail, used] = [4096, 4096 + 16 * 8, 8192];
    view.setUint32(desc, 0x8000, true);
    view.setUint32(desc + 8, 1, true);
    view.setUint16(desc + 12, 2, true);
    view.setUint16(avail, 1, true);
    view.setUint16(avail + 2, 1, true);
    hosted.notify(0);
    assertEquals(view.getUint16(used + 2, true), 1);
    assertEquals(rig.told.filter((one) => one !== "line").length, interrupts);
  }
});

Deno.test("hosted device: a fault of a driver has the clause of its device type", () => {
  const clauses = [1, 0x3f].map((deviceId) => {
    const model = Object.assign(new EchoModel(), { deviceId });
    const hosted = new HostedDevice({ model, memory: new GuestMemory(4096, 0), legacy: false });
    hosted.fault("a test", "drv.a.test");
    return [hosted.lastViolation?.clause, hosted.lastViolation?.rule];
  });
  assertEquals(clauses, [["5.1", "drv.a.test"], [undefined, "drv.a.test"]]);
});

Deno.test("hosted device: features without steps are the driver's, of the ring even if they were not offered", () => {
  const rig = new Rig({ accept: (features) => !features.has(70) }, { offer: { eventIdx: false } });
  const { hosted } = rig;
  const agreed = (...bits: number[]): unknown[] => {
    const fits = hosted.negotiate(FeatureSet.of(...bits));
    return [fits, [...hosted.features], hosted.legacy, hosted.status, [...hosted.driverWords]];
  };
  assertEquals(agreed(0, VERSION_1), [true, [0, VERSION_1], false, 11, [1, 1, 0, 0]]);
  assertEquals(agreed(0), [true, [0], true, 3, [1, 0, 0, 0]]);
  assertEquals(rig.reasons(), []);
  assertEquals(agreed(5, EVENT_IDX, VERSION_1), [
    true,
    [EVENT_IDX, VERSION_1],
    false,
    11,
    [2 ** 29, 1, 0, 0],
  ]);
  assertEquals(rig.reasons(), ["DriverFeatures: bits that are not offered: 5,29"]);
  assertEquals(agreed(VERSION_1, 70)[0], false);
  assertEquals(rig.reasons(), ["DriverFeatures: the model does not accept these features"]);
  hosted.activate();
  hosted.activate();
  assertEquals([hosted.status, rig.model.calls], [15, ["activate"]]);
});

Deno.test("hosted device: a state goes on in another device, field by field", () => {
  const make = (): Rig => new Rig({ hold: true }, { offer: { suspend: true } });
  const rig = make().run(SUSPENDS);
  const { hosted, model } = rig;
  rig.add(1);
  hosted.notify(1);
  hosted.raise(CONFIG);
  hosted.raise(QUEUE, 1);
  hosted.pageSize = 8192;
  model.config[0] = 1;
  assertEquals(hosted.generation, 0);
  model.config[0] = 2;
  const state = structuredClone(hosted.snapshot());
  assertEquals([state.generation, state.active, state.interruptStatus], [1, true, 3]);
  const next = make();
  next.memory.bytes.set(rig.memory.bytes);
  next.hosted.restore(state);
  assertEquals(next.hosted.snapshot(), state);
  assertEquals([...next.hosted.features], [VERSION_1, SUSPENDS]);
  assertEquals(next.told, ["line", [QUEUE, undefined], [CONFIG, undefined]]);
  assertEquals(next.model.calls, ["reset", "activate", "notify 1"], "the request is taken again");
  next.model.release();
  assertEquals(next.used(1), 1);

  // Suspended: what changed meanwhile is told when the device goes on.
  for (const due of [true, false]) {
    const asleep = make().run(SUSPENDS);
    asleep.hosted.writeStatus(15 | SUSPEND);
    asleep.hosted.readStatus();
    if (due) asleep.hosted.configChanged();
    const awake = make();
    awake.hosted.restore(structuredClone(asleep.hosted.snapshot()));
    assertEquals([awake.hosted.status, awake.told], [11 | SUSPEND, []]);
    awake.hosted.writeStatus(15);
    assertEquals(awake.told.length, due ? 2 : 0);
  }

  // The first snapshots had no such field.
  const older = make().run(SUSPENDS);
  older.hosted.writeStatus(15 | SUSPEND);
  older.hosted.readStatus();
  const { changeDue: _, ...rest } = older.hosted.snapshot();
  const fresh = make();
  fresh.hosted.restore(structuredClone(rest));
  fresh.hosted.writeStatus(15);
  assertEquals(fresh.told, []);

  // What the other device had looked at, or was told, is no change.
  const looked = make();
  looked.model.config[3] = 9;
  void looked.hosted.generation;
  looked.hosted.configChanged();
  looked.memory.bytes.set(rig.memory.bytes);
  looked.hosted.restore(structuredClone(state));
  assertEquals(looked.hosted.generation, state.generation);

  // With a fault no queue moves and the model is not started.
  hosted.fault("a test");
  const faulted = make();
  faulted.memory.bytes.set(rig.memory.bytes);
  faulted.hosted.restore(structuredClone(hosted.snapshot()));
  assertEquals([faulted.model.calls, faulted.hosted.queue(0)], [["reset"], undefined]);
  assertEquals(faulted.hosted.status, 15 | NEEDS_RESET);
  assertEquals(faulted.hosted.active, false);
});

Deno.test("hosted device: a state of another device is refused, and leaves a device that was reset", () => {
  const { hosted } = new Rig().run();
  const state = hosted.snapshot();
  const target = new Rig().run();
  const [queue] = state.queues;
  assertThrows(
    () => target.hosted.restore({ ...state, queues: [queue!] }),
    RangeError,
    "Cannot restore 1 queues: the device has 2",
  );
  assertEquals(target.hosted.status, 15, "nothing happened");
  const outside = { ...queue!, desc: [0x10000, 0] as const };
  assertThrows(
    () => target.hosted.restore({ ...state, queues: [queue!, outside] }),
    RangeError,
    "Cannot restore queue 1",
  );
  assertEquals([target.hosted.status, target.hosted.running(0)], [0, false]);
  const silent = new Rig().run();
  Object.assign(silent.model, { snapshot: undefined });
  assertThrows(() => silent.hosted.snapshot(), RangeError, "its model has none");
  silent.hosted.reset();
  assertEquals(silent.hosted.snapshot().model, null);
});

Deno.test("hosted device: a queue that was stopped gives and takes nothing more", () => {
  const stops: readonly ((rig: Rig) => void)[] = [
    ({ hosted }) => hosted.stopQueue(0),
    ({ hosted }) => hosted.setBusMaster(false),
    ({ hosted }) => hosted.fault("a test"),
    ({ hosted }) => hosted.reset(),
  ];
  for (const stop of stops) {
    const rig = new Rig({ hold: true }).run();
    rig.add();
    const queue = rig.hosted.queue(0)!;
    const chain = queue.pop()!;
    rig.add();
    stop(rig);
    queue.push(chain);
    queue.signal();
    assertEquals([queue.pop(), rig.used()], [undefined, 0]);
  }
});

Deno.test("hosted device: a step out of order is held against the driver, with its rule", () => {
  const rig = new Rig();
  for (const status of [2, 1, 0x21]) rig.hosted.writeStatus(status);
  assertEquals(rig.violations.map(({ value, rule, clause }) => [value, rule, clause]), [
    [2, "drv.basic.init.1", "3.1.1"],
    [0x21, undefined, "3.1.1"],
  ]);
});
