// A PCI function by its configuration space and BARs; numbers are typed again from virtio 1.4 §4.1 and PCI 3.0 §6.
import { assertEquals, assertThrows } from "@std/assert";
import { InterruptCause, type Mmio, VireoError } from "@vireo/hal";
import { EmulatedMachine, type MachineDevice, type MachineOptions } from "../../machine.ts";
import { GuestMemory } from "../../memory.ts";
import { EchoModel } from "../../testing/echo_model.ts";
import { MessageController } from "./messages.ts";
import { PciDevice } from "./pci_device.ts";
import { type PciRig, pciRig } from "./rig_test_util.ts";

const [COMMAND, STATUS, NO_VECTOR] = [4, 6, 0xffff];
const { CONFIG, QUEUE } = InterruptCause;

interface Rig extends PciRig {
  readonly model: EchoModel;
  reasons(): string[];
}

function rig(spec: Partial<MachineDevice> = {}, options: Partial<MachineOptions> = {}): Rig {
  const model = (spec.model ?? new EchoModel({ queueSizes: [8, 8] })) as EchoModel;
  const it = pciRig({ ...spec, model }, options);
  return {
    ...it,
    model,
    reasons: () =>
      it.fn.hosted.log.splice(0).map(({ register, reason }) => `${register}: ${reason}`),
  };
}

/** Offset of a capability: of an id, or of a type of virtio's. */
function capability(config: Mmio, id: number, type?: number): number {
  let at = config.read8(0x34);
  while (config.read8(at) !== id || type !== undefined && config.read8(at + 3) !== type) {
    at = config.read8(at + 1);
  }
  return at;
}

/** Turns MSI-X on, with all vectors unmasked and each with its number as data. */
function withVectors(it: Rig): Mmio {
  const table = it.bar(1);
  const count = (it.config.read16(capability(it.config, 0x11) + 2) & 0x7ff) + 1;
  const messages = it.lease.messages(count)!;
  messages.forEach(({ address, data }, i) => {
    table.write32(16 * i, address);
    table.write32(16 * i + 8, data);
    table.write32(16 * i + 12, 1);
  });
  it.config.write16(capability(it.config, 0x11) + 2, 0x8000);
  return table;
}

Deno.test("pci device: each function has BARs of its own, below the ports and above the memory of those before", () => {
  const devices = [0, 1, 2].map(() => ({ model: new EchoModel(), transitional: true }));
  Object.assign(devices[0]!.model, { deviceId: 1 });
  Object.assign(devices[1]!.model, { deviceId: 1 });
  Object.assign(devices[2]!.model, { deviceId: 1 });
  const machine = EmulatedMachine.create({ bus: "pci", devices, memorySize: 1 << 20 });
  const bars = machine.functions.map((fn) =>
    fn.open().bars.map(({ index, space, address, size }) => [index, space, address, size])
  );
  assertEquals(
    bars,
    [1, 2, 3].map((device) => [
      [0, "io", 0x1000 + device * 0x400, 64],
      [1, "memory", 0x1000_0000 + device * 0x80000 + 0x1000, 4096],
      [4, "memory", 0x1000_0000 + device * 0x80000 + 0x4000, 0x4000],
    ]),
  );
  assertEquals(machine.functions.map(({ address, name, face }) => [address.device, name, face]), [
    [1, "0000:00:01.0", "transitional"],
    [2, "0000:00:02.0", "transitional"],
    [3, "0000:00:03.0", "transitional"],
  ]);
});

Deno.test("pci device: the functions of a device have BARs of their own", () => {
  const addresses = [0, 1, 7].map((fn) => {
    const pci = new PciDevice({
      model: new EchoModel(),
      memory: new GuestMemory(4096),
      face: "modern",
      address: { segment: 0, bus: 0, device: 1, function: fn },
      messages: new MessageController(0),
    });
    return [pci.name, ...pci.open().bars.map(({ address }) => address)];
  });
  assertEquals(addresses, [
    ["0000:00:01.0", 0x1008_1000, 0x1008_4000],
    ["0000:00:01.1", 0x1009_1000, 0x1009_4000],
    ["0000:00:01.7", 0x100f_1000, 0x100f_4000],
  ]);
});

Deno.test("pci device: a vector for each queue and one for the configuration, unless told otherwise", () => {
  for (const [spec, size] of [[{}, 3], [{ vectors: 1 }, 1]] as const) {
    const { config, fn } = rig(spec);
    assertEquals([config.read16(capability(config, 0x11) + 2), fn.msix.size], [size - 1, size]);
  }
  const notify = (model: EchoModel): number => {
    const { config } = rig({ model });
    return config.read32(capability(config, 9, 2) + 12);
  };
  assertEquals([[], [8], [8, 8, 8]].map((sizes) => notify(new EchoModel({ queueSizes: sizes }))), [
    ...[4, 4],
    12,
  ]);
});

Deno.test("pci device: the interrupt status is seen in each access to the status register, while MSI-X is off", () => {
  const it = rig();
  const { config, fn } = it;
  const read = (): number[] => [
    ...[config.read8(STATUS), config.read8(STATUS + 1), config.read16(STATUS)],
    ...[
      config.read32(COMMAND),
      config.read16(COMMAND),
      config.read8(COMMAND + 1),
      config.read32(8),
    ],
  ];
  const before = read();
  fn.hosted.raise(CONFIG);
  const set = [8, 0, 8, 8 * 65536, 0, 0, 0];
  assertEquals(read(), before.map((value, i) => value + set[i]!));
  config.write16(capability(config, 0x11) + 2, 0x8000);
  assertEquals(read(), before);
});

Deno.test("pci device: a reset of the driver's puts selectors and vectors back, one of the machine all", () => {
  for (const whole of [false, true]) {
    const it = rig();
    const { config, machine, fn } = it;
    const common = it.bar(4);
    withVectors(it);
    common.write8(20, 1);
    common.write32(0, 1);
    common.write32(8, 1);
    common.write16(16, 1);
    for (const queue of [0, 1]) {
      common.write16(22, queue);
      common.write16(26, queue);
    }
    assertEquals([16, 22, 26].map((at) => common.read16(at)), [1, 1, 1]);
    if (whole) machine.reset();
    else common.write8(20, 0);
    assertEquals(config.read16(COMMAND), whole ? 0 : 7);
    assertEquals(config.read16(capability(config, 0x11) + 2), whole ? 2 : 0x8002);
    assertEquals(fn.hosted.memory(0x4000_0000, 1) === undefined, whole);
    config.write16(COMMAND, 7);
    assertEquals([common.read8(20), common.read32(0), common.read32(8)], [0, 0, 0]);
    assertEquals([16, 22, 26].map((at) => common.read16(at)), [NO_VECTOR, 0, NO_VECTOR]);
    common.write16(22, 1);
    assertEquals(common.read16(26), NO_VECTOR);
    const table = [0, 12].map((at) => it.bar(1).read32(at));
    assertEquals(table, [whole ? 0 : 0xfee0_0000, 1], "vectors are masked");
    assertEquals([fn.msix.enabled, fn.lineActive], [!whole, false]);
  }
});

Deno.test("pci device: a vector fires for its queue, for the configuration, or for all queues where none is known", () => {
  const it = rig();
  const common = it.bar(4);
  const table = withVectors(it);
  common.write16(16, 0);
  for (const queue of [0, 1, 2]) {
    common.write16(22, queue);
    // Queue 2 does not exist.
    common.write16(26, queue === 2 ? 0 : queue + 1);
  }
  assertEquals([common.read16(26), it.fn.queueVector], [NO_VECTOR, NO_VECTOR]);
  const fired = (act: () => void): number => {
    act();
    const pending = table.read32(0x800);
    for (let i = 0; i < 3; i++) table.write32(16 * i + 12, 0);
    for (let i = 0; i < 3; i++) table.write32(16 * i + 12, 1);
    return pending;
  };
  const { hosted } = it.fn;
  assertEquals(fired(() => hosted.raise(CONFIG)), 1);
  assertEquals(fired(() => hosted.raise(QUEUE, 0)), 2);
  assertEquals(fired(() => hosted.raise(QUEUE, 1)), 4);
  assertEquals(fired(() => hosted.raise(QUEUE)), 6);
  assertEquals(it.fn.lineActive, false);
});

Deno.test("pci device: each structure of the modern BAR ends where the next one begins", () => {
  const it = rig();
  const bar = it.bar(4);
  const { model } = it;
  model.config.fill(7);
  assertEquals([bar.read8(0x2000), bar.read32(0x200c), bar.read8(0x3000), bar.read32(0x3ffc)], [
    ...[7, 0x07070707],
    ...[0, 0],
  ]);
  bar.write8(0x2000, 9);
  bar.write8(0x200f, 9);
  assertEquals([model.config[0], model.config[15], it.reasons()], [9, 9, []]);
  bar.read16(0x1000);
  bar.read8(0x1001);
  bar.write8(0x1001, 1);
  bar.read8(0x2010);
  bar.read8(0xfff);
  assertEquals(
    it.reasons(),
    [
      "ISR status: no such read of 2 bytes",
      "ISR status: no such read of 1 bytes",
      "ISR status: read-only",
      "Config+16: no such read of 1 bytes",
      "0xfff: no such read of 1 bytes",
    ],
  );
});

Deno.test("pci device: the legacy header ends where the configuration begins, and MSI-X moves that", () => {
  const model = new EchoModel();
  Object.assign(model, { deviceId: 1 });
  model.config.set([1, 2, 3, 4]);
  const it = rig({ model, version: 1 });
  const bar = it.bar(0);
  assertEquals([it.fn.face, it.fn.hosted.legacy, bar.read8(19), bar.read8(20), bar.read32(20)], [
    ...["legacy", true, 0, 1],
    0x04030201,
  ]);
  bar.write8(20, 9);
  assertEquals([model.config[0], bar.read8(19)], [9, 0]);
  it.config.write16(capability(it.config, 0x11) + 2, 0x8000);
  assertEquals([bar.read16(20), bar.read8(24)], [NO_VECTOR, 9]);
  bar.write8(24, 8);
  bar.write16(22, 0);
  assertEquals([model.config[0], bar.read16(22)], [8, 0]);
});

Deno.test("pci device: each register of the legacy header does its own", () => {
  const model = Object.assign(new EchoModel({ queueSizes: [8, 16] }), { deviceId: 1 });
  const it = rig({ model, version: 1 });
  const { hosted } = it.fn;
  const bar = it.bar(0);
  // Bit 0 is the model's, 24, 27, 28 and 29 are those of legacy rings; bit 1 is nobody's.
  assertEquals(bar.read32(0), 0x3900_0001);
  bar.write8(18, 1);
  bar.write8(18, 3);
  bar.write32(4, 0x2800_0003);
  assertEquals([bar.read32(4), bar.read8(18), hosted.legacy], [0x2800_0001, 3, true]);
  assertEquals([bar.read16(14), bar.read16(12), bar.read32(8)], [0, 8, 0]);
  bar.write16(14, 1);
  assertEquals([bar.read16(14), bar.read16(12)], [1, 16]);
  bar.write32(8, 0x4_0001);
  assertEquals([bar.read32(8), hosted.running(1), hosted.running(0)], [0x4_0001, true, false]);
  bar.write8(18, 7);
  model.calls.length = 0;
  bar.write16(16, 1);
  assertEquals([model.calls, bar.read16(16)], [["notify 1"], 0]);
  bar.write32(8, 0);
  assertEquals([bar.read32(8), hosted.running(1)], [0, false]);
  bar.write16(14, 2);
  assertEquals([bar.read16(12), bar.read32(8)], [0, 0]);
  hosted.raise(QUEUE, 0);
  assertEquals([bar.read8(19), bar.read8(19)], [1, 0]);
  assertEquals(it.reasons(), ["DriverFeatures: bits that are not offered: 1"]);
  // With MSI-X two vectors lie behind it.
  withVectors(it);
  bar.write16(14, 1);
  bar.write16(20, 2);
  bar.write16(22, 1);
  assertEquals([bar.read16(20), bar.read16(22), it.fn.configVector, it.fn.queueVector], [
    2,
    1,
    2,
    1,
  ]);
});

Deno.test("pci device: each register of a modern queue does its own, and refuses what is not", () => {
  const it = rig();
  const { hosted } = it.fn;
  const common = it.bar(4);
  common.write32(8, 1);
  common.write32(12, 1 | 1 << (40 - 32)); // VERSION_1 and RING_RESET
  for (const status of [1, 3, 11]) common.write8(20, status);
  withVectors(it);
  common.write16(22, 1);
  common.write16(24, 4);
  common.write16(26, 2);
  [0x4000_1000, 0, 0x4000_2000, 0, 0x4000_3000, 0].forEach((word, i) =>
    common.write32(32 + 4 * i, word)
  );
  const read = (): number[] => [24, 26, 28, 30, 56].map((at) => common.read16(at));
  assertEquals(read(), [4, 2, 0, 1, 1]);
  common.write16(28, 1);
  assertEquals([hosted.running(1), hosted.running(0), common.read16(28)], [true, false, 1]);
  assertEquals(it.reasons(), []);
  common.write16(28, 0);
  common.write16(24, 2);
  common.write32(32, 0);
  common.write16(58, 2);
  common.write16(18, 1);
  common.write8(24, 1);
  assertEquals(it.reasons(), [
    "queue_enable: drivers must not write 0",
    "queue_size: queue runs",
    "queue_desc, queue_driver or queue_device: queue runs",
    "queue_reset: not 1, or no such queue",
    "num_queues: no such write of 2 bytes",
    "queue_size: no such write of 1 bytes",
  ]);
  assertEquals([read(), common.read32(32)], [[4, 2, 1, 1, 1], 0x4000_1000]);
  // A reset of the queue puts its own registers back.
  common.write16(58, 1);
  assertEquals([read(), common.read32(32), common.read16(58)], [[8, NO_VECTOR, 0, 1, 1], 0, 0]);
  common.write16(22, 2);
  assertEquals(read(), [0, NO_VECTOR, 0, 0, 2]);
  common.write16(24, 4);
  common.write32(32, 1);
  common.write16(28, 1);
  assertEquals(it.reasons(), [
    "queue_size: no such queue",
    "queue_desc, queue_driver or queue_device: no such queue",
    "queue_enable: no such queue",
  ]);
});

Deno.test("pci device: what is written as read-only or in another width has its clause", () => {
  const it = rig();
  const clause = (act: () => void): unknown => {
    act();
    const { lastViolation } = it.fn.hosted;
    return [lastViolation?.clause, lastViolation?.rule];
  };
  const common = it.bar(4);
  assertEquals([clause(() => common.write16(18, 1)), clause(() => common.write8(18, 1))], [
    ["4.1.4.3.2", "drv.pci.common-cfg.1"],
    ["4.1.3.1", "drv.pci.layout.1"],
  ]);
});

Deno.test("pci device: a space that is not decoded reads all ones, and takes no access that is not aligned", () => {
  const it = rig();
  const common = it.bar(4);
  it.config.write16(COMMAND, 0);
  assertEquals([common.read8(20), common.read16(18), common.read32(0)], [0xff, 0xffff, 0xffffffff]);
  common.write8(20, 1);
  assertEquals(it.fn.hosted.status, 0);
  for (const act of [() => common.write16(1, 0), () => common.write32(0x4000, 0)]) {
    assertThrows(act, RangeError, "BAR4: expected a multiple of");
  }
});

Deno.test("pci device: a function without bus mastering does not move, and one without a line has none", () => {
  const it = rig({}, { lines: false });
  assertEquals(it.lease.line, undefined);
  it.config.write16(COMMAND, 3);
  assertEquals(it.fn.hosted.memory(0x4000_0000, 1), undefined);
  it.config.write16(COMMAND, 7);
  assertEquals(it.fn.hosted.memory(0x4000_0000, 1)?.length, 1);
  const fresh = EmulatedMachine.create({
    bus: "pci",
    devices: [new EchoModel()],
    memorySize: 1 << 20,
  });
  assertEquals(fresh.functions[0]!.hosted.memory(0x4000_0000, 1), undefined);
  assertEquals(fresh.functions[0]!.open().line === undefined, false);
});

Deno.test("pci device: the configuration access capability reaches the last byte of a BAR", () => {
  const it = rig();
  const at = capability(it.config, 9, 5);
  const aim = (bar: number, offset: number): void => {
    it.config.write8(at + 4, bar);
    it.config.write32(at + 8, offset);
    it.config.write32(at + 12, 1);
  };
  for (const { index, size } of it.lease.bars) {
    aim(index, size - 1);
    assertEquals([it.config.read8(at + 16), it.reasons()], [0, []]);
    aim(index, size);
    it.config.read8(at + 16);
    assertEquals(it.reasons(), ["pci_cfg_data: bar, offset or length is wrong"]);
  }
});

Deno.test("pci device: a lease gives its messages back, and says which BARs there are", () => {
  const it = rig({ unmapped: [4] }, { messages: 2 });
  const error = assertThrows(() => it.bar(4), VireoError);
  assertEquals([error.code, error.seen, error.expected], ["BAD_ACCESS", 4, "one of 1, 4"]);
  const other = it.fn.open();
  assertEquals([it.lease.messages(2)?.length, other.messages(1)], [2, undefined]);
  it.lease[Symbol.dispose]();
  assertEquals(other.messages(2)?.length, 2);
  it.lease[Symbol.dispose]();
  assertEquals(it.fn.open().messages(1), undefined);
});

Deno.test("pci device: each access through a window is traced with its value, and is in its bounds", () => {
  const seen: unknown[] = [];
  const it = rig({}, {
    trace: ({ op, window, offset, width, value }) =>
      void seen.push([op, window, offset, width, value]),
  });
  const bar = it.bar(4);
  seen.length = 0;
  bar.write8(20, 0x101);
  bar.write16(22, 0x1_0001);
  bar.write32(0, -1);
  assertEquals([bar.read8(20), bar.read16(22), it.config.read16(0)], [1, 1, 0x1af4]);
  const name = "0000:00:01.0 BAR4";
  assertEquals(seen, [
    ["w", name, 20, 1, 1],
    ["w", name, 22, 2, 1],
    ["w", name, 0, 4, 0xffffffff],
    ["r", name, 20, 1, 1],
    ["r", name, 22, 2, 1],
    ["r", "0000:00:01.0 config", 0, 2, 0x1af4],
  ]);
  assertEquals([bar.read8(0x3fff), bar.read32(0x3ffc)], [0, 0]);
  for (
    const [offset, width] of [[0x4000, 1], [0x3ffe, 4], [0x3fff, 2], [-1, 1], [0.5, 1], [
      2,
      4,
    ]] as const
  ) {
    assertThrows(
      () => width === 4 ? bar.read32(offset) : width === 2 ? bar.read16(offset) : bar.read8(offset),
      RangeError,
    );
  }
  assertEquals(seen.length, 8);
});

Deno.test("pci device: a driver can change the bits of its configuration space that are its own", () => {
  const { config } = rig();
  const msix = capability(config, 0x11);
  const access = capability(config, 9, 5);
  const own = new Map<number, number>();
  for (let at = 0; at < 256; at++) {
    const before = config.read8(at);
    config.write8(at, 0xff);
    const set = config.read8(at);
    config.write8(at, 0);
    const bits = set ^ config.read8(at);
    config.write8(at, before);
    // The data of the access capability is a window.
    if (bits !== 0 && (at < access + 16 || at >= access + 20)) own.set(at, bits);
  }
  assertEquals([...own], [
    // I/O, memory and bus mastering; INTx off.
    ...[[4, 0x07], [5, 0x04]],
    // BAR 1 has 4 KiB, BAR 4 16 KiB.
    ...[[0x15, 0xf0], [0x16, 0xff], [0x17, 0xff], [0x21, 0xc0], [0x22, 0xff], [0x23, 0xff]],
    [0x3c, 0xff],
    // Enable and mask all.
    [msix + 3, 0xc0],
    // bar, offset and length.
    ...[4, 8, 9, 10, 11, 12, 13, 14, 15].map((i) => [access + i, 0xff]),
  ] as [number, number][]);
});

Deno.test("pci device: its class is that of its device type", () => {
  const classes = [1, 2, 3, 4, 8, 9, 16, 18, 19, 63].map((deviceId) => {
    const { config } = rig({ model: Object.assign(new EchoModel(), { deviceId }) });
    return [deviceId, config.read8(9), config.read16(10)];
  });
  assertEquals(classes, [
    [1, 0, 0x0200],
    [2, 0, 0x0100],
    [3, 0, 0x0780],
    [4, 0, 0x00ff],
    [8, 0, 0x0100],
    [9, 0, 0x0002],
    [16, 0, 0x0380],
    [18, 0, 0x0980],
    [19, 0, 0x0780],
    [63, 0, 0x00ff],
  ]);
});

Deno.test("pci device: a state with other vectors is refused, and says how many there are", () => {
  const { fn } = rig();
  const state = fn.snapshot();
  assertThrows(
    () => fn.restore({ ...state, vectors: state.vectors.slice(1) }),
    RangeError,
    "Cannot restore 2 vectors to 0000:00:01.0: it has 3",
  );
  fn.restore(state);
  assertEquals(fn.snapshot(), state);
});
