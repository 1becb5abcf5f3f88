// Numbers are typed again from virtio 1.4 §4.1 and PCI Local Bus 3.0 §6.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { blkDriver, Bus, rngDriver } from "@vireo/drivers";
import { type Mmio, type PciNode, VireoError } from "@vireo/hal";
import { MemoryDisk } from "../../emu/backends/memory_disk.ts";
import { seededRandom } from "../../emu/backends/random.ts";
import { BlkDevice } from "../../emu/devices/blk/mod.ts";
import { RngDevice } from "../../emu/devices/rng/mod.ts";
import { EmulatedMachine, type MachineDevice, type MachineOptions } from "../../emu/machine.ts";
import { EchoModel } from "../../emu/testing/mod.ts";
import { type PciRig, pciRig } from "../../emu/transport/pci/rig_test_util.ts";

const SOON = { deadline: 5000 };

function rig(spec: Partial<MachineDevice> = {}, options: Partial<MachineOptions> = {}): PciRig {
  return pciRig(
    { ...spec, model: spec.model ?? new RngDevice({ random: seededRandom(1) }) },
    options,
  );
}

/** The capability list: offset and id of each. */
function capabilities(config: Mmio): [number, number][] {
  const found: [number, number][] = [];
  for (let at = config.read8(0x34); at !== 0; at = config.read8(at + 1)) {
    found.push([at, config.read8(at)]);
  }
  return found;
}

/** Offset of the virtio capability of a type. */
function virtioCapability(config: Mmio, type: number): number {
  return capabilities(config).find(([at, id]) => id === 9 && config.read8(at + 3) === type)![0];
}

function reasons({ machine }: PciRig): string[] {
  return machine.violations().map(({ register, reason }) => `${register}: ${reason}`);
}

Deno.test("pci: ids, revision, subsystem and class of modern, transitional and legacy functions", () => {
  const ids = (spec: Partial<MachineDevice>): number[] => {
    const { config, fn } = rig(spec);
    assertEquals([fn.vendor, fn.device], [config.read16(0), config.read16(2)]);
    return [config.read16(0), config.read16(2), config.read8(8), config.read16(0x2e)];
  };
  assertEquals(ids({}), [0x1af4, 0x1044, 1, 0x1100]);
  assertEquals(ids({ transitional: true }), [0x1af4, 0x1005, 0, 4]);
  assertEquals(ids({ version: 1 }), [0x1af4, 0x1005, 0, 4]);
  const { config, fn } = rig();
  assertEquals([config.read16(0x2c), config.read8(0x0e), config.read8(0x3d)], [0x1af4, 0, 1]);
  assertEquals(fn.name, "0000:00:01.0");
  const disk = rig({ model: new BlkDevice({ disk: new MemoryDisk(4096) }) });
  assertEquals(disk.config.read16(0x0a), 0x0100);
  // The legacy interface has ids for seven devices; 42 is none.
  assertThrows(
    () => rig({ model: new EchoModel(), version: 1 }),
    RangeError,
    "its type must have a transitional id",
  );
});

Deno.test("pci: the capabilities tell where the structures are (§4.1.4), a legacy function has MSI-X only", () => {
  const { config } = rig({ model: new BlkDevice({ disk: new MemoryDisk(4096) }) });
  assertEquals(config.read16(6) & 0x10, 0x10);
  const seen = capabilities(config).filter(([, id]) => id === 9).map(([at]) => [
    config.read8(at + 3),
    config.read8(at + 2),
    config.read8(at + 4),
    config.read32(at + 8),
    config.read32(at + 12),
  ]);
  assertEquals(seen, [
    [1, 16, 4, 0x0000, 64],
    [3, 16, 4, 0x1000, 1],
    [2, 20, 4, 0x3000, 4],
    [4, 16, 4, 0x2000, 72],
    [5, 20, 0, 0, 0],
  ]);
  assertEquals(config.read32(virtioCapability(config, 2) + 16), 4);
  const legacy = rig({ version: 1 });
  assertEquals(capabilities(legacy.config).map(([, id]) => id), [0x11]);
  assertEquals(legacy.lease.bars.map(({ index, space }) => [index, space]), [[0, "io"], [
    1,
    "memory",
  ]]);
});

Deno.test("pci: BARs are sized by writing ones, and keep what decodes them (PCI 3.0 §6.2.5.1)", () => {
  const { config, lease } = rig({ transitional: true });
  for (const { index, size, space, address } of lease.bars) {
    const at = 0x10 + 4 * index;
    assertEquals(config.read32(at), address + (space === "io" ? 1 : 0));
    config.write32(at, 0xffffffff);
    const flags = space === "io" ? 1 : 0;
    assertEquals(config.read32(at), ((-size >>> 0) | flags) >>> 0, `BAR${index}`);
  }
  // BARs that are not there read 0 whatever is written.
  config.write32(0x24, 0xffffffff);
  assertEquals(config.read32(0x24), 0);
  config.write16(0, 0x1234);
  assertEquals(config.read16(0), 0x1af4);
});

Deno.test("pci: a BAR answers only while its space is decoded", () => {
  const { config, bar } = rig({ transitional: true });
  assertEquals([bar(4).read16(18), bar(0).read16(12)], [1, 64]);
  config.write16(4, 1);
  assertEquals([bar(4).read16(18), bar(0).read16(12)], [0xffff, 64]);
  config.write16(4, 2);
  assertEquals([bar(4).read16(18), bar(0).read16(12)], [1, 0xffff]);
});

Deno.test("pci: reading the ISR clears it and takes the line down; INTX_DISABLE silences it", () => {
  const it = rig();
  const { fn, config } = it;
  fn.hosted.raise(2);
  assertEquals(fn.lineActive, true);
  config.write16(4, 0x407);
  assertEquals(fn.lineActive, false);
  config.write16(4, 7);
  assertEquals(fn.lineActive, true);
  assertEquals([it.bar(4).read8(0x1000), fn.lineActive], [2, false]);
  assertEquals(it.bar(4).read8(0x1000), 0);
});

Deno.test("pci: MSI-X sends what its vector says, and keeps what is masked as pending", async () => {
  const { fn, config, lease, bar } = rig({ vectors: 3 }, { messages: 2 });
  const at = capabilities(config).find(([, id]) => id === 0x11)![0];
  assertEquals(config.read16(at + 2), 2);
  assertEquals([config.read32(at + 4), config.read32(at + 8)], [1, 0x801]);
  const [first, second] = lease.messages(2)!;
  assertEquals(lease.messages(1), undefined);
  const table = bar(1);
  // All vectors are masked at first.
  assertEquals([0, 1, 2].map((i) => table.read32(16 * i + 12)), [1, 1, 1]);
  for (const [i, message] of [[0, first!], [1, second!]] as const) {
    table.write32(16 * i, message.address);
    table.write32(16 * i + 8, message.data);
  }
  config.write16(at + 2, 0x8000);
  const common = bar(4);
  common.write16(16, 0);
  common.write16(26, 1);
  assertEquals([common.read16(16), common.read16(26)], [0, 1]);
  // A vector that does not exist is refused (§4.1.5.1.2.1).
  common.write16(26, 3);
  assertEquals(common.read16(26), 0xffff);
  common.write16(26, 1);

  fn.hosted.raise(1, 0);
  assertEquals([table.read32(0x800), fn.lineActive], [2, false]);
  const signal = AbortSignal.timeout(5000);
  table.write32(16 + 12, 0);
  await second!.interrupt.wait({ signal, ready: () => false });
  assertEquals(table.read32(0x800), 0);
  // A message is an edge: it came once.
  const none = new AbortController();
  const waiting = second!.interrupt.wait({ signal: none.signal, ready: () => false });
  none.abort(new Error("nothing came"));
  await assertRejects(() => waiting, Error, "nothing came");
  // Mask all holds every vector back.
  config.write16(at + 2, 0xc000);
  fn.hosted.raise(1, 0);
  assertEquals(table.read32(0x800), 2);
  config.write16(at + 2, 0x8000);
  await second!.interrupt.wait({ signal, ready: () => false });
  // Pending bits are not the driver's to write.
  table.write32(0x800, 7);
  assertEquals(table.read32(0x800), 0);
  lease[Symbol.dispose]();
  assertEquals(fn.open().messages(2)?.length, 2);
});

Deno.test("pci: while MSI-X is on, the legacy configuration lies behind the vectors (§4.1.4.10)", () => {
  const { config, bar } = rig({ model: new BlkDevice({ disk: new MemoryDisk(8192) }), version: 1 });
  const at = capabilities(config)[0]![0];
  const header = bar(0);
  assertEquals(header.read32(20), 16);
  config.write16(at + 2, 0x8000);
  assertEquals([header.read32(24), header.read16(20), header.read16(22)], [16, 0xffff, 0xffff]);
  header.write16(20, 1);
  assertEquals(header.read16(20), 1);
});

Deno.test("pci: accesses that do not exist are ignored and noted, the driver's own mistakes throw", () => {
  const it = rig();
  const bar = it.bar(4);
  bar.read8(18);
  bar.write16(18, 5);
  bar.write16(28, 0);
  bar.write8(0x1000, 1);
  bar.read8(0x2000);
  bar.write16(0x3000 + 4, 1);
  bar.write32(0x3000, 0);
  bar.write16(0x3004, 0);
  assertEquals(reasons(it), [
    "num_queues: no such read of 1 bytes",
    "num_queues: no such write of 2 bytes",
    "queue_enable: drivers must not write 0",
    "ISR status: read-only",
    "Config+0: no such read of 1 bytes",
    "QueueNotify: names a queue that does not run",
    "notify: 4 bytes wide",
    "notify: written to the address of queue 1",
  ]);
  assertThrows(() => bar.read32(2), RangeError);
  assertThrows(() => bar.read32(0x4000), RangeError);
  const error = assertThrows(() => it.bar(3), VireoError);
  assertEquals([error.code, error.seen], ["BAD_ACCESS", 3]);
});

Deno.test("pci: the configuration access capability reaches what the BAR has (§4.1.4.9)", () => {
  const it = rig();
  const at = virtioCapability(it.config, 5);
  const aim = (bar: number, offset: number, length: number): void => {
    it.config.write8(at + 4, bar);
    it.config.write32(at + 8, offset);
    it.config.write32(at + 12, length);
  };
  aim(4, 18, 2);
  assertEquals(it.config.read16(at + 16), 1);
  aim(4, 20, 1);
  it.config.write8(at + 16, 1);
  assertEquals(it.bar(4).read8(20), 1);
  aim(1, 0x801, 1);
  assertEquals([it.config.read8(at + 16), reasons(it)], [0, []], "the last byte of a BAR");
  for (const [bar, offset, length] of [[3, 0, 4], [4, 0, 3], [4, 2, 4], [4, 0x4000, 4]] as const) {
    aim(bar, offset, length);
    assertEquals(it.config.read32(at + 16), 0);
  }
  assertEquals(reasons(it).length, 4);
});

Deno.test("pci: a queue is reset by queue_reset, and its vector with it (§4.1.4.3)", () => {
  const it = rig();
  const bar = it.bar(4);
  for (const status of [1, 3]) bar.write8(20, status);
  for (const word of [0, 1]) {
    bar.write32(8, word);
    bar.write32(0, word);
    // VERSION_1 and RING_RESET.
    bar.write32(12, word === 1 ? 1 | 1 << 8 : 0);
  }
  bar.write8(20, 11);
  assertEquals(bar.read8(20), 11);
  bar.write16(22, 0);
  bar.write16(24, 16);
  bar.write32(32, 0x4000_0000);
  bar.write32(40, 0x4000_1000);
  bar.write32(48, 0x4000_2000);
  bar.write16(26, 0);
  bar.write16(28, 1);
  assertEquals([bar.read16(24), bar.read16(28), bar.read16(26)], [16, 1, 0]);
  bar.write16(58, 1);
  assertEquals([bar.read16(58), bar.read16(28), bar.read16(26)], [0, 0, 0xffff]);
  assertEquals([bar.read16(24), bar.read32(32)], [64, 0]);
  assertEquals(reasons(it), []);
});

Deno.test("pci: a transitional function is what its driver takes it for, until the next reset", () => {
  const it = rig({ transitional: true });
  const legacy = it.bar(0);
  const modern = it.bar(4);
  assertEquals(legacy.read32(0), 1 << 27 | 1 << 24 | 1 << 28 | 1 << 29);
  legacy.write8(18, 3);
  assertEquals([it.fn.hosted.legacy, modern.read8(20)], [true, 3]);
  modern.write8(20, 0);
  modern.write8(20, 1);
  assertEquals([it.fn.hosted.legacy, legacy.read8(18)], [false, 1]);
  modern.write32(0, 1);
  assertEquals(modern.read32(4) & 1, 1);
});

Deno.test("pci: a device that is taken away fails its requests and the driver is told", async () => {
  const disk = new MemoryDisk(1 << 16);
  const model = new BlkDevice({ disk });
  await using machine = EmulatedMachine.create({
    bus: "pci",
    devices: [model],
    memorySize: 8 << 20,
  });
  const errors: Error[] = [];
  const events: string[] = [];
  await using bus = new Bus({
    onError: (error) => errors.push(error),
    uevent: ({ action }) => events.push(action),
  });
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver)!;
  assertEquals((await blk.read(0, 512, SOON)).length, 512);
  const removed = machine.functions[0]!;
  const seen = removed.open().line!.wait({ signal: AbortSignal.timeout(5000), ready: () => false });
  removed.unplug();
  // The device forgets its driver, and those that wait for its line look at it.
  assertEquals([removed.hosted.status, removed.hosted.running(0)], [0, false]);
  await seen;
  // Nobody answers; the search for missing devices tells the waiters.
  const pending = assertRejects(() => blk.read(0, 512, SOON), VireoError);
  const [device] = await bus.removeMissing();
  assertEquals(device?.deviceId, 2);
  assertEquals((await pending).code, "DEVICE_REMOVED");
  assertEquals([bus.devices.length, events.at(-1), errors], [0, "remove", []]);
  const node: PciNode = machine.functions[0]!;
  assertEquals(node.open().config.read16(0), 0xffff);
});

Deno.test("pci: a snapshot goes on in another machine, with vectors, table and what is in flight", async () => {
  const make = (memory?: EmulatedMachine["memory"]) =>
    EmulatedMachine.create({
      bus: "pci",
      devices: [new RngDevice({ random: seededRandom(1) })],
      memorySize: 8 << 20,
      ...memory === undefined ? {} : { memory },
    });
  await using machine = make();
  await using bus = new Bus();
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  await bus.get(rngDriver)!.read(64, SOON);
  const state = machine.snapshot({ memory: true });
  const [fn] = state.functions!;
  assertEquals(fn!.vectors, [0, 1]);
  await using next = make();
  next.restore(structuredClone(state));
  assertEquals(next.snapshot({ memory: true }), state);
  assertEquals(next.functions[0]!.open().openBar(4).read8(20), 15);
  await using mmio = EmulatedMachine.create({ devices: [], memorySize: 8 << 20 });
  assertThrows(() => mmio.restore(state), RangeError, "functions");
  const lost = { ...fn!, vectors: [0] };
  assertThrows(() => next.restore({ ...state, functions: [lost] }), RangeError, "vectors");
});

Deno.test("pci: shared memory is a capability each in one aligned BAR, which drivers open as memory", async () => {
  const model = new EchoModel();
  const regions = [{ id: 1, bytes: new Uint8Array(5000) }, { id: 7, bytes: new Uint8Array(4096) }];
  Object.assign(model, { sharedMemory: regions });
  regions[1]!.bytes[9] = 77;
  await using machine = EmulatedMachine.create({
    bus: "pci",
    devices: [model],
    memorySize: 1 << 20,
  });
  const { bars, config } = machine.functions[0]!.open();
  const bar = bars.find(({ index }) => index === 2)!;
  assertEquals([bar.size, bar.address % bar.size], [16384, 0]);
  const seen = capabilities(config).filter(([at, id]) => id === 9 && config.read8(at + 3) === 8)
    .map(([at]) => [
      config.read8(at + 2),
      config.read8(at + 5),
      config.read32(at + 8),
      config.read32(at + 12),
    ]);
  assertEquals(seen, [[24, 1, 0, 5000], [24, 7, 8192, 4096]]);
  using shared = machine.openMemory(bar.address + 8192, 4096);
  assertEquals(shared.bytes[9], 77);
});
