// Every access of every driver to its device's registers, against tables that are typed from virtio 1.4.
import { assert, assertEquals } from "@std/assert";
import { EmulatedMachine, GuestMemory, type MachineOptions, RngDevice } from "@vireo/emu";
import { type DmaOptions, FeatureSet, type RegisterTrace } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import { netDriver } from "../../drivers/net/mod.ts";
import { rngDriver } from "../../drivers/rng/mod.ts";
import { BouncingDma } from "../../drivers/testing/dma.ts";
import { Hub } from "../../emu/backends/hub.ts";
import { NetDevice } from "../../emu/devices/net/mod.ts";
import { SUBJECTS } from "../hostile/subjects.ts";
import type { Rig } from "../hostile/rig.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 10_000 };
const VERSION_1 = 32;
const RING_PACKED = 34;
const NO_VECTOR = 0xffff;
type Subject = typeof SUBJECTS[number];

interface Session {
  readonly trace: readonly RegisterTrace[];
  readonly features: FeatureSet;
  readonly offered: FeatureSet;
  readonly machine: EmulatedMachine;
}

/** Binds a driver, uses its device, and takes it off; what the registers saw. */
async function session(
  subject: Subject,
  options: Omit<MachineOptions, "devices"> & {
    readonly version?: 1 | 2;
    readonly unmapped?: readonly number[];
    readonly vectors?: number;
    readonly filter?: readonly number[];
  } = {},
): Promise<Session> {
  const { version = 2, unmapped = [], vectors, filter = [], ...rest } = options;
  const trace: RegisterTrace[] = [];
  const model = subject.model();
  const device = { model, version, unmapped, ...vectors === undefined ? {} : { vectors } };
  const machine = EmulatedMachine.create({
    devices: [device],
    slots: 1,
    memorySize: 128 << 20,
    ...rest,
    trace: (access) => trace.push(access),
  });
  const bus = new Bus({ filter: FeatureSet.of(...filter) });
  await bus.registerDriver(subject.driver);
  const [bound] = await bus.addPlatform(machine);
  assertEquals(bound?.error, undefined, subject.name);
  const { features, offered } = bound!;
  const ends: (() => void | Promise<void>)[] = [];
  const atEnd = (end: () => void | Promise<void>): unknown => ends.push(end);
  const rig = { machine, dma: machine.dma, model, device: bound, bus, atEnd };
  await subject.use(bound!.instance as never, SOON, rig as unknown as Rig<never>);
  await bus[Symbol.asyncDispose]();
  for (const end of ends) await end();
  assertEquals(machine.violations(), [], subject.name);
  await machine[Symbol.asyncDispose]();
  return { trace, features, offered, machine };
}

/** The types that have no legacy interface. */
const MODERN_ONLY = new Set(["crypto", "gpu", "input", "vsock", "caif"]);
/** The types whose driver expects shared memory. */
const SHARES = new Set(["gpu", "caif"]);

/** Those with a transitional id on PCI, §4.1.2.1. */
const TRANSITIONAL = new Set(["blk", "net", "console", "rng", "balloon", "scsi", "p9"]);

/** The registers of virtio-mmio, §4.2.2: offsets that may be read, and written. */
const MMIO_READ = [
  0x00,
  0x04,
  0x08,
  0x0c,
  0x10,
  0x34,
  0x44,
  0x60,
  0x70,
  0xb0,
  0xb4,
  0xb8,
  0xbc,
  0xc0,
  0xfc,
];
const MMIO_WRITE = [
  ...[0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70],
  ...[0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac, 0xc0],
];
/** Those of the legacy interface, §4.2.4. */
const LEGACY_READ = [0x00, 0x04, 0x08, 0x0c, 0x10, 0x34, 0x40, 0x60, 0x70];
const LEGACY_WRITE = [0x14, 0x20, 0x24, 0x28, 0x30, 0x38, 0x3c, 0x40, 0x50, 0x64, 0x70];
const CONFIG = 0x100;
const STATUS = 0x70;
const FEATURES_OK = 8;

for (const subject of SUBJECTS) {
  Deno.test(`spec registers: ${subject.name} on virtio-mmio, from start to end (drv.mmio.layout.1, drv.mmio.init.4, .5; drv.basic.init.2, .3; drv.basic.reserved-features.1; drv.basic.features.1)`, async () => {
    const { trace, features, offered } = await session(subject);
    for (const { op, offset, width } of trace) {
      if (offset >= CONFIG) continue;
      const known = (op === "r" ? MMIO_READ : MMIO_WRITE).includes(offset) && width === 4;
      assert(known, `${op} 0x${offset.toString(16)}, ${width} bytes`);
    }
    const shared = trace.filter(({ offset }) => offset >= 0xac && offset <= 0xbc);
    if (!SHARES.has(subject.name)) assertEquals(shared, []);

    // Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, queues, DRIVER_OK, and a reset at the end.
    const at = (match: (access: RegisterTrace) => boolean): number => trace.findIndex(match);
    const status = (value: number): number =>
      at(({ op, offset, value: v }) => op === "w" && offset === STATUS && v === value);
    const write = (register: number): number =>
      at(({ op, offset }) => op === "w" && offset === register);
    const order = [
      status(0),
      status(1),
      status(3),
      write(0x20),
      status(3 | FEATURES_OK),
      write(0x44),
      status(7 | FEATURES_OK),
    ];
    assertEquals(order, order.toSorted((a, b) => a - b));
    assert(order[0]! >= 0);
    const agreed = order[4]!;
    const again = trace.slice(agreed).find(({ op, offset }) => op === "r" && offset === STATUS);
    assert(((again?.value ?? 0) & FEATURES_OK) !== 0, "it is read again");
    const notified = write(0x50);
    assert(notified === -1 || notified > order[6]!);
    assertEquals(
      trace.slice(0, agreed).filter(({ op, offset }) => op === "w" && offset >= CONFIG),
      [],
    );
    const later = trace.slice(agreed).filter(({ op, offset }) => op === "w" && offset === 0x20);
    assertEquals(later, []);
    const end = trace.findLastIndex(({ op, offset, value }) =>
      op === "w" && offset === STATUS && value === 0
    );
    assert(end > order[6]!, "a reset at the end");
    assert(features.has(VERSION_1));
    assertEquals([...features.minus(offered)], []);
  });

  if (MODERN_ONLY.has(subject.name)) continue;
  Deno.test(`spec registers: ${subject.name} on a legacy device, by the legacy registers (drv.basic.legacy-features.2, drv.basic.legacy-reserved-features.1, drv.pci.legacy-layout.1)`, async () => {
    const { trace, features } = await session(subject, { version: 1 });
    for (const { op, offset } of trace) {
      if (offset >= CONFIG) continue;
      const known = (op === "r" ? LEGACY_READ : LEGACY_WRITE).includes(offset);
      assert(known, `${op} 0x${offset.toString(16)}`);
    }
    assert(features.has(27));
    if (!TRANSITIONAL.has(subject.name)) return;
    const pci = await session(subject, { version: 1, bus: "pci", messages: 0 });
    const bars = new Set(pci.trace.map(({ window }) => window).filter((name) => / BAR/.test(name)));
    assertEquals([...bars], ["0000:00:01.0 BAR0"]);
    assert(pci.features.has(27));
  });
}

Deno.test("spec registers: bits that need others are accepted only with them (drv.basic.features.1)", async () => {
  // §5.1.3.1.
  const needs: readonly (readonly [number, readonly number[]])[] = [
    ...[7, 8, 10].map((bit) => [bit, [1]] as const),
    [9, [7, 8]],
    ...[11, 12, 14].map((bit) => [bit, [0]] as const),
    [13, [11, 12]],
    ...[18, 19, 20, 21, 22, 23].map((bit) => [bit, [17]] as const),
  ];
  for (const lacks of [[0], [1], [7, 8], [11, 12], [17]]) {
    const model = new NetDevice({ backend: new Hub().port(), queuePairs: 2 });
    const machine = EmulatedMachine.create({ devices: [model] });
    await using bus = new Bus({ filter: FeatureSet.of(...lacks) });
    await bus.registerDriver(netDriver);
    const [device] = await bus.addPlatform(machine);
    assertEquals(device?.error, undefined);
    for (const [bit, any] of needs) {
      if (!device!.has(bit)) continue;
      assert(any.some((need) => device!.has(need)), `bit ${bit} without ${any}`);
    }
    assertEquals(machine.violations(), []);
  }
});

Deno.test("spec registers: with ACCESS_PLATFORM the addresses are those that the machine translates (drv.basic.reserved-features.3)", async () => {
  // Memory that the device sees at other addresses, and in copies of its own.
  const dma = Object.assign(new BouncingDma({ size: 1 << 20 }), { access: "translated" as const });
  const model = new RngDevice({ random: (into) => void into.fill(7) });
  const machine = EmulatedMachine.create({
    devices: [model],
    memory: new GuestMemory(dma.memory.buffer, dma.base),
    dma,
    ring: { accessPlatform: true },
  });
  await using bus = new Bus();
  await bus.registerDriver(rngDriver);
  const [device] = await bus.addPlatform(machine);
  assertEquals([device?.error, device?.features.has(33)], [undefined, true]);
  assertEquals(await bus.get(rngDriver)!.read(64, SOON), new Uint8Array(64).fill(7));
  assertEquals([machine.violations(), dma.mistakes], [[], []]);
});

Deno.test("spec registers: bits that nobody knows are no reason to give up (drv.basic.features.7)", async () => {
  for (const bit of [0, 23, 44, 49, 50, 63, 64, 127]) {
    const model = new RngDevice({ random: (into) => void into.fill(7) });
    Object.defineProperty(model, "features", { value: FeatureSet.of(bit) });
    const machine = EmulatedMachine.create({ devices: [model] });
    await using bus = new Bus();
    await bus.registerDriver(rngDriver);
    const [device] = await bus.addPlatform(machine);
    // A driver of 64 bits does not see those above.
    assertEquals([device?.error, device?.offered.has(bit)], [undefined, bit < 64]);
    assertEquals(device!.features.has(bit), false);
    assertEquals((await bus.get(rngDriver)!.read(4, SOON))[0], 7);
  }
});

Deno.test("spec registers: a device that lacks what its driver cannot do without is FAILED (drv.basic.features.2, .6)", async () => {
  const model = new NetDevice({ backend: new Hub().port() });
  // CTRL_RX without CTRL_VQ is no valid offer.
  Object.defineProperty(model, "features", { value: FeatureSet.of(5, 16, 18) });
  const trace: RegisterTrace[] = [];
  const machine = EmulatedMachine.create({
    devices: [model],
    slots: 1,
    trace: (access) => trace.push(access),
  });
  await using bus = new Bus();
  await bus.registerDriver(netDriver);
  const [device] = await bus.addPlatform(machine);
  assert(device?.error !== undefined);
  const written = trace.filter(({ op, offset }) => op === "w" && offset === STATUS);
  assertEquals(written.at(-1)!.value & 0x80, 0x80);
  assertEquals(written.filter(({ value }) => (value & 4) !== 0), [], "no DRIVER_OK");
  assertEquals(trace.filter(({ op, offset }) => op === "w" && offset === 0x44), []);
});

/** Fields of configurations that depend on features: offset, size and feature, §5.1.4 and §5.2.4. */
const OPTIONAL: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
  net: [[0, 6, 5], [6, 2, 16], [8, 2, 22], [10, 2, 3], [12, 4, 63], [16, 1, 63]]
    .concat([[17, 1, 60], [18, 2, 60], [20, 4, 57]]) as [number, number, number][],
  blk: [
    ...[[8, 4, 1], [12, 4, 2], [16, 4, 4], [20, 4, 6], [24, 8, 10], [32, 1, 11]] as const,
    ...[[34, 2, 12], [36, 12, 13], [48, 9, 14], [60, 12, 16]] as const,
  ],
  console: [[0, 2, 0], [2, 2, 0], [4, 4, 1], [8, 4, 2]],
  balloon: [[8, 4, 3], [12, 4, 4]],
};

Deno.test("spec registers: fields of features that are not offered are not touched (drv.basic.config-space.3)", async () => {
  for (const subject of SUBJECTS) {
    const fields = OPTIONAL[subject.name];
    if (fields === undefined) continue;
    const { features } = subject.model();
    const lacks = [...new Set(fields.map(([, , bit]) => bit))];
    const poor: Subject = {
      ...subject,
      model() {
        const model = subject.model();
        const left = FeatureSet.of(...[...features].filter((bit) => !lacks.includes(bit)));
        Object.defineProperty(model, "features", { value: left });
        return model;
      },
      use: () => Promise.resolve(),
    };
    const count = ({ trace }: Session, [offset, size]: readonly [number, number, number]): number =>
      trace.filter((access) =>
        access.offset + access.width > CONFIG + offset && access.offset < CONFIG + offset + size
      ).length;
    const with_ = await session({ ...subject, use: () => Promise.resolve() });
    const without = await session(poor);
    assert(fields.some((field) => count(with_, field) > 0), subject.name);
    for (const field of fields) assertEquals(count(without, field), 0, `${subject.name} ${field}`);
  }
});

Deno.test("spec registers: a configuration space may be larger than the driver knows (drv.basic.config-space.4)", async () => {
  for (const [bus, size] of [["mmio", 0x100], ["pci", 0x1000]] as const) {
    for (const subject of SUBJECTS) {
      const larger: Subject = {
        ...subject,
        model() {
          const model = subject.model();
          const read = model.readConfig.bind(model);
          const known = model.configSize;
          Object.defineProperty(model, "configSize", { value: size });
          model.readConfig = (offset, width) =>
            offset + width <= known ? read(offset, width) : 0xee;
          return model;
        },
        use: () => Promise.resolve(),
      };
      await session(larger, { bus });
    }
  }
});

/** Fields of the common configuration that a driver may write, §4.1.4.3: offset and size. */
const COMMON_WRITE: readonly (readonly [number, number])[] = [
  ...[[0, 4], [8, 4], [12, 4], [16, 2], [20, 1], [22, 2], [24, 2], [26, 2], [28, 2]] as const,
  ...[[32, 8], [40, 8], [48, 8], [58, 2]] as const,
];
const QUEUE_SIZE = 24;
/** Where the emulated function has its structures, in BAR 4. */
const COMMON = { from: 0, to: 64 };

const common = ({ trace }: Session): RegisterTrace[] =>
  trace.filter(({ window, op, offset }) =>
    op === "w" && window.endsWith("BAR4") && offset >= COMMON.from && offset < COMMON.to
  );

/** Capabilities in a configuration space: where each is, and its bytes. */
function capabilities(
  machine: EmulatedMachine,
): { readonly at: number; readonly bytes: Uint8Array }[] {
  const { config } = machine.functions[0]!.open();
  const found: { at: number; bytes: Uint8Array }[] = [];
  for (let at = config.read8(0x34); at !== 0; at = config.read8(at + 1)) {
    found.push({ at, bytes: Uint8Array.from({ length: 20 }, (_, i) => config.read8(at + i)) });
  }
  return found;
}

const word = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

for (const subject of SUBJECTS) {
  Deno.test(`spec registers: ${subject.name} on PCI, in writable fields only (drv.pci.common-cfg.1, drv.pci.caps.7)`, async () => {
    const seen = await session(subject, { bus: "pci" });
    for (const { offset, width } of common(seen)) {
      const [from, size] = COMMON_WRITE.findLast(([from]) => from <= offset)!;
      assert(offset + width <= from + size, `writes ${width} bytes at ${offset}`);
    }
    const all = capabilities(seen.machine);
    const msix = all.find(({ bytes }) => bytes[0] === 0x11)!;
    const writes = seen.trace.filter(({ op, window }) =>
      op === "w" && window === "0000:00:01.0 config"
    );
    // The command register, and the control word of MSI-X: no field of a virtio capability.
    const allowed = [4, msix.at + 2];
    assertEquals(writes.filter(({ offset }) => !allowed.includes(offset)), []);
    assert(writes.length > 0);
  });
}

Deno.test("spec registers: queue_size is never 0, and a power of two for split rings (drv.pci.common-cfg.2, .3)", async () => {
  for (const packed of [false, true]) {
    for (const subject of SUBJECTS) {
      const filter = packed ? [] : [RING_PACKED];
      const ring = { packed: true, maxQueueSize: packed ? 48 : 64 };
      const seen = await session({ ...subject, use: () => Promise.resolve() }, {
        bus: "pci",
        filter,
        ring,
      });
      const sizes = common(seen).filter(({ offset }) => offset === QUEUE_SIZE)
        .map(({ value }) => value);
      assert(sizes.every((size) => size > 0), subject.name);
      if (seen.features.has(RING_PACKED)) continue;
      assert(sizes.every((size) => (size & size - 1) === 0), `${subject.name}: ${sizes}`);
    }
  }
});

Deno.test("spec registers: no event is mapped to a vector that the device does not have (drv.pci.msix.2)", async () => {
  for (const vectors of [1, 2, 3]) {
    for (const subject of SUBJECTS) {
      const seen = await session({ ...subject, use: () => Promise.resolve() }, {
        bus: "pci",
        vectors,
      });
      const mapped = common(seen).filter(({ offset }) => offset === 16 || offset === 26);
      for (const { value } of mapped) {
        assert(value < vectors || value === NO_VECTOR, `${subject.name}: vector ${value}`);
      }
    }
  }
});

Deno.test("spec registers: pci_cfg_data is used for places of other capabilities only (drv.pci.cfg-access.3)", async () => {
  for (const subject of SUBJECTS) {
    const seen = await session(subject, { bus: "pci", unmapped: [4] });
    const all = capabilities(seen.machine).filter(({ bytes }) => bytes[0] === 0x09);
    const access = all.find(({ bytes }) => bytes[3] === 5)!;
    const regions = all.filter(({ bytes }) => bytes[3] !== 5)
      .map(({ bytes }) => ({ bar: bytes[4], offset: word(bytes, 8), length: word(bytes, 12) }));
    let [bar, offset, length] = [0, 0, 0];
    let used = 0;
    for (const { op, window, offset: at, value, width } of seen.trace) {
      if (window !== "0000:00:01.0 config") continue;
      if (op === "w" && at === access.at + 4) bar = value & 0xff;
      if (op === "w" && at === access.at + 8) offset = value;
      if (op === "w" && at === access.at + 12) length = value;
      // The test's own walk through the list reads bytes.
      if (at < access.at + 16 || at >= access.at + 20 || (op === "r" && width !== length)) continue;
      used++;
      assert(
        regions.some((region) =>
          region.bar === bar && offset >= region.offset &&
          offset + length <= region.offset + region.length
        ),
        `${subject.name}: BAR ${bar}, offset ${offset}, ${length} bytes`,
      );
    }
    assert(used > 10, subject.name);
  }
});

Deno.test("spec registers: buffers of a live queue stay as they are until a reset (drv.basic.cleanup.1, .2)", async () => {
  for (const subject of SUBJECTS) {
    const model = subject.model();
    const machine = EmulatedMachine.create({ devices: [model], slots: 1, memorySize: 128 << 20 });
    const { dma } = machine;
    const alloc = dma.alloc.bind(dma);
    const early: string[] = [];
    const live = new Set<Uint8Array>();
    let ending = false;
    dma.alloc = (size: number, options?: DmaOptions) => {
      const region = alloc(size, options);
      live.add(region.bytes);
      const dispose = region[Symbol.dispose].bind(region);
      region[Symbol.dispose] = () => {
        if (ending && machine.device(0).status !== 0) early.push(`${size} bytes`);
        live.delete(region.bytes);
        dispose();
      };
      return region;
    };
    const bus = new Bus();
    await bus.registerDriver(subject.driver);
    const [device] = await bus.addPlatform(machine);
    assertEquals(device?.error, undefined);
    await turn();
    // Everything that the device may look at, as it is when the reset comes.
    const held = [...live].map((bytes) => [bytes, bytes.slice()] as const);
    const slot = machine.slots[0]!;
    const write = slot.write32.bind(slot);
    let compared = false;
    slot.write32 = (offset, value) => {
      if (offset === STATUS && value === 0 && !compared) {
        compared = true;
        assert(held.length > 0 && held.every(([bytes]) => live.has(bytes)), subject.name);
        for (const [bytes, before] of held) assertEquals(bytes, before, subject.name);
      }
      write(offset, value);
    };
    ending = true;
    await bus[Symbol.asyncDispose]();
    assertEquals([compared, early], [true, []], subject.name);
    await machine[Symbol.asyncDispose]();
  }
});
