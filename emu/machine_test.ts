import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import type { EmuInterrupt } from "./interrupt.ts";
import { EmulatedMachine, type MachineOptions } from "./machine.ts";
import { Hub } from "./backends/hub.ts";
import { NetDevice } from "./devices/net/mod.ts";
import { GuestMemory } from "./memory.ts";
import { EchoModel, MockDriver } from "./testing/mod.ts";

function setUp(model: EchoModel = new EchoModel(), options: Partial<MachineOptions> = {}): {
  machine: EmulatedMachine;
  driver: MockDriver;
  model: EchoModel;
} {
  const machine = EmulatedMachine.create({ devices: [model], memorySize: 1 << 20, ...options });
  return { machine, driver: new MockDriver(machine), model };
}

const never = new AbortController().signal;
const ready = (): boolean => false;

Deno.test("machine: device n is in slot n, eight slots or as many as devices", async () => {
  const models = [new EchoModel(), new EchoModel()];
  await using machine = EmulatedMachine.create({ devices: models, memorySize: 1 << 16 });
  const nodes = machine.slotNodes();
  assertEquals(nodes.length, 8);
  assertEquals(nodes[1]!.name, "virtio-mmio@a000200");
  assertEquals([nodes[1]!.base, nodes[1]!.size, nodes[1]!.irq], [0x0a00_0200, 0x200, 49]);
  assertEquals(nodes.map(({ open }) => open().mmio.read32(8)), [0x3f, 0x3f, 0, 0, 0, 0, 0, 0]);
  assertEquals(machine.device(1).model, models[1]);
  assertThrows(() => machine.device(2), RangeError);
  const many = { devices: Array.from({ length: 9 }, () => new EchoModel()), memorySize: 4096 };
  assertEquals(EmulatedMachine.create(many).slots.length, 9);
  assertEquals(EmulatedMachine.create({ ...many, devices: [], slots: 3 }).slots.length, 3);
});

Deno.test("machine: disposes its models", async () => {
  const { machine, model } = setUp();
  await machine[Symbol.asyncDispose]();
  assertEquals(model.calls, ["dispose"]);
});

Deno.test("machine: RAM can be shared, or be there already", () => {
  const { machine } = setUp(new EchoModel(), { shared: true });
  assert(machine.memory.bytes.buffer instanceof SharedArrayBuffer);
  const memory = new GuestMemory(8192, 0x8000_0000);
  assertEquals(setUp(new EchoModel(), { memory }).machine.dma.alloc(16).address, 0x8000_0000);
});

Deno.test("machine: opens RAM and no more than there is", () => {
  const { machine } = setUp();
  using opened = machine.openMemory(0x4000_0010, 16);
  assertEquals(opened.bytes.byteOffset, 16);
  for (const [address, length] of [[0, 4], [0x4010_0000, 1], [0x400f_fff0, 17]] as const) {
    const error = assertThrows(() => machine.openMemory(address, length), VireoError);
    assertEquals([error.code, error.seen], ["BAD_ACCESS", address]);
  }
});

Deno.test("interrupt: a wait ends at once on an active line, in a microtask on a rising one", async () => {
  const { machine, driver, model } = setUp();
  driver.init();
  const { interrupt } = machine.slotNodes()[0]!.open();
  assertEquals(interrupt.polled, false);
  const order: string[] = [];
  const waits = [1, 2].map((n) =>
    interrupt.wait({ signal: never, ready }).then(() => order.push(`wait ${n}`))
  );
  model.context!.configChanged();
  order.push("raised");
  await Promise.all(waits);
  assertEquals(order, ["raised", "wait 1", "wait 2"]);
  await interrupt.wait({ signal: never, ready });
  driver.interrupt();
  const stop = new AbortController();
  const pending = interrupt.wait({ signal: stop.signal, ready });
  stop.abort(new RangeError("enough"));
  await assertRejects(() => pending, RangeError, "enough");
  await assertRejects(() => interrupt.wait({ signal: stop.signal, ready }), RangeError, "enough");
});

Deno.test("interrupt: the line of an empty slot is not active", () => {
  const machine = EmulatedMachine.create({ devices: [], memorySize: 1 << 16 });
  const line = machine.slotNodes()[0]!.open().interrupt as EmuInterrupt;
  void line.wait({ signal: never, ready });
  assertEquals(line.waiting, 1);
});

Deno.test("snapshot: a function of PCI goes on with what its driver selected", () => {
  const create = (): EmulatedMachine =>
    EmulatedMachine.create({ bus: "pci", devices: [new EchoModel()], memorySize: 1 << 16 });
  const [machine, other] = [create(), create()];
  machine.functions[0]!.deviceFeatureSelect = 1;
  machine.functions[0]!.configVector = 1;
  other.restore(machine.snapshot());
  const { deviceFeatureSelect, configVector } = other.functions[0]!;
  assertEquals([deviceFeatureSelect, configVector], [1, 1]);
});

Deno.test("deferNotify: the model runs in a microtask, once for many notifications", async () => {
  const { driver, model } = setUp(new EchoModel(), { deferNotify: true });
  driver.init();
  const used = driver.queues[0]!.add([{ read: Uint8Array.of(1) }, { write: 1 }]);
  driver.queues[0]!.kick();
  driver.queues[0]!.kick();
  assertEquals(model.calls, ["reset", "activate"]);
  assertEquals([...(await driver.until(used)).bytes[0]!], [1]);
  assertEquals(model.calls, ["reset", "activate", "notify 0"]);
  driver.queues[0]!.kick();
  driver.slot.write32(0x70, 0);
  await Promise.resolve();
  assertEquals(model.calls.at(-1), "reset", "a reset takes the notification back");
  driver.init();
  driver.queues[0]!.kick();
  driver.init();
  await Promise.resolve();
  assertEquals(model.calls.at(-1), "activate", "even if the device runs again by then");
});

Deno.test("fault: NEEDS_RESET, one config interrupt, queues stop until a reset", async () => {
  const { machine, driver, model } = setUp(new EchoModel({ queueSizes: [8, 8] }));
  driver.init();
  const generation = driver.slot.read32(0xfc);
  driver.queues[0]!.makeAvailable(9);
  driver.queues[0]!.kick();
  assertEquals(driver.slot.read32(0x70), 15 | 64);
  assertEquals(driver.slot.read32(0x60), 2);
  assert(driver.slot.read32(0xfc) !== generation);
  assertEquals(machine.violations(), [{
    slot: "virtio-mmio@a000000",
    register: "ring",
    value: undefined,
    reason: "queue 0: available entry names descriptor 9",
    queue: 0,
    clause: "2.7.6",
  }]);
  assertEquals(
    machine.diagnose("virtio-mmio@a000000")?.message,
    "The driver erred: queue 0: available entry names descriptor 9 (virtio 1.4 §2.7.6)" +
      " (virtio-mmio@a000000)",
  );
  assertEquals(machine.diagnose("virtio-mmio@a000200"), undefined);
  driver.interrupt();
  driver.queues[1]!.add([{ write: 1 }]);
  driver.queues[1]!.kick();
  driver.queues[0]!.kick();
  model.context!.fault("again");
  assertEquals([driver.queues[1]!.usedIndex, driver.slot.read32(0x60)], [0, 0]);
  assertEquals(machine.violations().length, 1);
  await assertRejects(() => driver.request(1, [{ write: 1 }]), Error);
  assertEquals(driver.init(), 15);
  // A reset ends what the device had against its driver.
  assertEquals(machine.diagnose("virtio-mmio@a000000"), undefined);
  assertEquals((await driver.request(1, [{ write: 1 }])).written, 0);
});

Deno.test("fault: before DRIVER_OK the driver is not interrupted (dev.basic.status.3)", () => {
  const { driver, model } = setUp();
  driver.init(undefined, { stopBeforeDriverOk: true });
  model.context!.fault("early");
  assertEquals([driver.slot.read32(0x70), driver.slot.read32(0x60)], [11 | 64, 0]);
  driver.slot.write32(0x70, 15);
  assertEquals(model.calls.includes("activate"), false);
});

Deno.test("fault: what a model throws goes through the door, not to the driver", () => {
  for (const method of ["activate", "notify", "readConfig", "resetQueue"] as const) {
    const { machine, driver, model } = setUp();
    model[method] = (): never => {
      throw new Error("no disk");
    };
    driver.init(FeatureSet.of(32, 40));
    driver.queues[0]!.kick();
    driver.slot.read8(0x100);
    driver.slot.write32(0x30, 0);
    driver.slot.write32(0xc0, 1);
    assertEquals(driver.needsReset, true, method);
    assertEquals(machine.violations().map(({ register, reason }) => [register, reason]), [
      ["model", "model failed: Error: no disk"],
    ]);
  }
});

Deno.test("reset: voids what the model holds and starts from nothing", async () => {
  const { driver, model } = setUp(new EchoModel({ hold: true }));
  driver.init();
  driver.queues[0]!.add([{ read: Uint8Array.of(1) }, { write: 1 }]);
  driver.queues[0]!.kick();
  const { chain } = model.held[0]!;
  const before = model.context!.queue(0)!;
  driver.init();
  before.push(chain);
  before.signal();
  assertEquals([driver.slot.read32(0x60), before.pop()], [0, undefined]);
  model.hold = false;
  driver.init(undefined, { queueSize: 4 });
  driver.slot.write32(0x70, 0);
  const [queue] = driver.slot.device!.snapshot().queues;
  assertEquals(queue, {
    size: 16,
    desc: [0, 0],
    avail: [0, 0],
    used: [0, 0],
    align: 4096,
    pfn: 0,
    position: null,
  });
  driver.init();
  const used = await driver.request(0, [{ read: Uint8Array.of(2) }, { write: 1 }]);
  assertEquals([...used.bytes[0]!], [2]);
});

for (const version of [1, 2] as const) {
  Deno.test(`snapshot: a fresh machine goes on in mid-flight, version ${version}`, async () => {
    const model = new EchoModel({ hold: true, queueSizes: [16, 8] });
    const { machine, driver } = setUp(model, { devices: [{ model, version }] });
    driver.init(FeatureSet.of(0, ...(version === 2 ? [32] : [])), { queueSize: 4 });
    model.config.set([7, 8, 9]);
    const first = driver.queues[1]!.add([{ read: Uint8Array.of(1, 2) }, { write: 2 }]);
    const second = driver.queues[1]!.add([{ read: Uint8Array.of(3, 4) }, { write: 2 }]);
    driver.queues[1]!.kick();
    assertEquals(model.held.length, 2);
    const unseen = driver.queues[0]!.add([{ read: Uint8Array.of(5) }, { write: 1 }]);
    driver.slot.write32(0x30, 1);
    model.context!.configChanged();

    const state = JSON.parse(JSON.stringify(machine.snapshot()));
    const { memory, dma } = machine;
    const copy = new EchoModel({ queueSizes: [16, 8] });
    const next = EmulatedMachine.create({ devices: [{ model: copy, version }], memory, dma });
    next.restore(state);
    driver.moveTo(next);

    assertEquals(
      JSON.parse(JSON.stringify(next.snapshot())).devices[0].status,
      version === 2 ? 15 : 7,
    );
    assertEquals(driver.slot.read32(0x60) & 2, 2);
    assertEquals(next.device(0).generation, machine.device(0).generation);
    assertEquals(driver.slot.read32(0x34), 8, "QueueSel is kept");
    assertEquals([...copy.config.subarray(0, 3)], [7, 8, 9]);
    assertEquals([...next.device(0).features].includes(0), true);
    assertEquals([...(await driver.until(first)).bytes[0]!], [1, 2]);
    assertEquals([...(await driver.until(second)).bytes[0]!], [3, 4]);
    assertEquals([...(await driver.until(unseen)).bytes[0]!], [5]);
    for (let i = 0; i < 10; i++) {
      const used = await driver.request(1, [{ read: Uint8Array.of(i) }, { write: 1 }]);
      assertEquals([...used.bytes[0]!], [i]);
    }
    assertEquals(next.violations(), []);
  });
}

Deno.test("snapshot: takes memory along, and goes back in time on the same machine", async () => {
  const { machine, driver, model } = setUp(new EchoModel({ hold: true }));
  driver.init();
  const used = driver.queues[0]!.add([{ read: Uint8Array.of(6) }, { write: 1 }]);
  driver.queues[0]!.kick();
  const state = structuredClone(machine.snapshot({ memory: true }));
  machine.memory.bytes.fill(0xcc);
  driver.slot.write32(0x70, 0);
  model.hold = false;
  machine.restore(state);
  assertEquals([...(await driver.until(used)).bytes[0]!], [6]);
});

Deno.test("snapshot: the model takes its state after it was activated, without a change of its own", () => {
  class Starter extends EchoModel {
    override activate(): void {
      super.activate();
      this.config.fill(0);
      this.calls.push(`queue ${this.context!.queue(0) !== undefined}`);
    }
    override restore(state: unknown): void {
      super.restore(state);
      this.context!.configChanged();
    }
  }
  const { machine, driver, model } = setUp(new Starter());
  driver.init();
  driver.slot.write8(0x101, 5);
  const state = machine.snapshot();
  driver.queues[0]!.add([{ write: 1 }]);
  model.calls.length = 0;
  machine.restore(state);
  assertEquals(model.calls, ["reset", "activate", "queue false", "notify 0"]);
  assertEquals(model.config[1], 5);
  const { generation } = machine.device(0);
  assertEquals([generation, driver.slot.read32(0x60)], [state.devices[0]!.generation, 1]);
});

Deno.test("snapshot: a network device keeps what its control queue set", async () => {
  const { machine, driver } = setUp(new EchoModel(), {
    devices: [new NetDevice({ backend: new Hub().port() })],
  });
  driver.init();
  // Class GUEST_OFFLOADS, all off; class RX, promiscuous.
  for (const command of [[5, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1]]) {
    const used = await driver.request(2, [{ read: Uint8Array.from(command) }, { write: 1 }]);
    assertEquals([...used.bytes[0]!], [0]);
  }
  const state = JSON.parse(JSON.stringify(machine.snapshot()));
  const model = new NetDevice({ backend: new Hub().port() });
  const { memory, dma } = machine;
  const next = EmulatedMachine.create({ devices: [model], memory, dma });
  next.restore(state);
  assertEquals(JSON.parse(JSON.stringify(next.snapshot())), state);
});

Deno.test("snapshot: what was pushed and not signalled yet is signalled", async () => {
  const { machine, driver, model } = setUp(new EchoModel({ hold: true }));
  driver.init();
  const used = driver.queues[0]!.add([{ read: Uint8Array.of(6) }, { write: 1 }]);
  driver.queues[0]!.kick();
  model.answer(0, model.held[0]!.chain);
  const state = machine.snapshot();
  assertEquals(driver.queues[0]!.usedIndex, 0);
  machine.restore(state);
  assertEquals(model.held, []);
  assertEquals([...(await driver.until(used)).bytes[0]!], [6]);
});

Deno.test("snapshot: a faulted device stays faulted", () => {
  const { machine, driver } = setUp();
  driver.init();
  driver.queues[0]!.makeAvailable(99);
  driver.queues[0]!.kick();
  const state = machine.snapshot();
  machine.restore(state);
  driver.queues[0]!.kick();
  assertEquals([driver.slot.read32(0x70), driver.queues[0]!.usedIndex], [15 | 64, 0]);
  assertEquals(driver.slot.read32(0x60), 2);
});

Deno.test("snapshot: is refused by another machine", () => {
  const { machine, driver } = setUp();
  driver.init();
  const state = machine.snapshot({ memory: true });
  const refuse = (options: Partial<MachineOptions>): void => {
    const other = setUp(new EchoModel(), options).machine;
    assertThrows(() => other.restore(state), RangeError, "Cannot restore");
  };
  refuse({ slots: 9 });
  refuse({ memorySize: 1 << 19 });
  refuse({ devices: [] });
  refuse({ devices: [new EchoModel({ queueSizes: [1, 2] })] });
  const [first, ...rest] = state.devices;
  const [queue] = first!.queues;
  const devices = [{ ...first!, queues: [{ ...queue!, desc: [8, 0] as const }] }, ...rest];
  assertThrows(() => machine.restore({ ...state, devices }), RangeError, "queue 0");
  assertEquals(driver.slot.read32(0x70), 0, "the device is as after a reset");
});

for (const bus of ["mmio", "pci"] as const) {
  Deno.test(`machine: devices are plugged into empty places of ${bus}, and what one did wrong is known afterwards`, () => {
    const pci = bus === "pci";
    const machine = EmulatedMachine.create({
      ...pci ? { bus } : { slots: 3 },
      devices: [new EchoModel()],
      memorySize: 1 << 16,
    });
    const most = pci ? 31 : 3;
    const names = (): string[] =>
      (pci ? machine.functions : machine.slots.filter(({ device }) => device !== undefined))
        .map(({ name }) => name);
    const name = (slot: number): string =>
      pci
        ? `0000:00:${(slot + 1).toString(16).padStart(2, "0")}.0`
        : `virtio-mmio@${(0xa000000 + 0x200 * slot).toString(16)}`;
    const model = new EchoModel();
    assertEquals([machine.plug(model, 2), machine.device(2).model, names()], [2, model, [
      name(0),
      name(2),
    ]]);
    assertEquals([machine.plug(new EchoModel()), names()], [1, [name(0), name(1), name(2)]]);
    for (const slot of [0, 1, 2, -1, 0.5, most]) {
      assertThrows(
        () => machine.plug(new EchoModel(), slot),
        RangeError,
        `Cannot plug a device into slot ${slot}: expected an empty slot below ${most}`,
      );
    }
    machine.unplug(0);
    assertEquals([machine.plug(new EchoModel(), 0), names().length], [0, 3]);
    machine.device(2).violate("Status", 1, "a test");
    assertEquals(machine.diagnose(name(2))?.message.includes("a test"), true);
    assertEquals([machine.diagnose(name(1)), machine.diagnose("none")], [undefined, undefined]);
    machine.unplug(2);
    assertEquals([names(), model.calls.at(-1)], [[name(0), name(1)], "dispose"]);
    assertThrows(() => machine.unplug(2), RangeError, "slot 2 is empty");
    assertEquals(machine.violations().map(({ slot, reason }) => [slot, reason]), [[
      name(2),
      "a test",
    ]]);
    if (pci) assertEquals(machine.plug(new EchoModel(), 30), 30);
    while (names().length < most) machine.plug(new EchoModel());
    assertThrows(() => machine.plug(new EchoModel()), RangeError, "Cannot plug a device: expected");
    const devices = Array.from({ length: most + 1 }, () => new EchoModel());
    const full = () => EmulatedMachine.create({ bus: "pci", devices, memorySize: 4096 });
    if (pci) {
      assertThrows(full, RangeError, "Cannot put 32 devices on a PCI bus: expected at most 31");
    }
    devices.pop();
    if (pci) assertEquals(full().functions.length, 31);
  });
}

Deno.test("machine: shared memory of devices lies behind RAM, each region in pages of its own", () => {
  const sharedMemory = [5000, 4096].map((length, id) => ({
    id,
    bytes: new Uint8Array(length).fill(id + 1),
  }));
  const machine = EmulatedMachine.create({
    devices: [new EchoModel({ sharedMemory })],
    memorySize: 1 << 16,
  });
  const end = 0x4001_0000;
  assertEquals([0, 1].map((id) => machine.device(0).sharedAddress(id)), [end, end + 8192]);
  const open = (at: number, length: number): number[] | undefined => {
    try {
      const { bytes } = machine.openMemory(at, length);
      return [bytes.length, bytes[0]!, bytes.at(-1)!];
    } catch (error) {
      assert(error instanceof VireoError && error.code === "BAD_ACCESS");
      return undefined;
    }
  };
  assertEquals([open(end, 5000), open(end + 4999, 1), open(end + 8192, 4096)], [
    ...[[5000, 1, 1], [1, 1, 1]],
    [4096, 2, 2],
  ]);
  for (
    const [at, length] of [[end, 5001], [end + 5000, 1], [end - 1, 2], [end + 12288, 1]] as const
  ) {
    assertEquals(open(at, length), undefined);
  }
  assertEquals(open(0x4000_0000, 1 << 16)?.[0], 1 << 16);
  assertEquals(Object.keys(machine.snapshot()), ["devices", "selectors"]);
});

Deno.test("machine: shared memory of a PCI function is in one block of a power of two, behind that of others", () => {
  const shared = (...lengths: number[]) => ({
    sharedMemory: lengths.map((length, id) => ({ id, bytes: new Uint8Array(length) })),
  });
  const machine = EmulatedMachine.create({
    bus: "pci",
    devices: [shared(4096, 5000), shared(1), shared(8192)].map((one) => new EchoModel(one)),
    memorySize: 1 << 16,
  });
  const end = 0x4001_0000;
  const blocks = machine.functions.map((fn) => {
    const bar = fn.open().bars.find(({ index }) => index === 2)!;
    return [bar.address - end, bar.size, fn.hosted.sharedAddress(0)! - bar.address];
  });
  assertEquals(blocks, [[0, 16384, 0], [16384, 4096, 0], [24576, 8192, 0]]);
  assertEquals(machine.functions[0]!.hosted.sharedAddress(1), end + 4096);
});

Deno.test("machine: a line that rises is told with its slot", () => {
  const told: number[] = [];
  const machine = EmulatedMachine.create({
    devices: [new EchoModel(), new EchoModel()],
    memorySize: 1 << 16,
    lineRaised: (slot) => void told.push(slot),
  });
  machine.device(1).raise(1, 0);
  machine.device(1).raise(2);
  machine.device(0).raise(2);
  assertEquals(told, [1, 0]);
});

Deno.test("machine: what a host did wrong is told where the driver did nothing", () => {
  const { machine } = setUp();
  const { name } = machine.slots[0]!;
  machine.device(0).hostFailed(new Error("no disk"));
  const failed = machine.diagnose(name);
  assertEquals([failed?.code, `${failed?.cause}`], ["HOST_ERROR", "Error: no disk"]);
  machine.device(0).violate("Status", 1, "a test");
  assertEquals(machine.diagnose(name)?.code, "VIOLATION");
});
