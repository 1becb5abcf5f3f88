import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Mmio, VireoError } from "@vireo/hal";
import fc from "fast-check";
import {
  assignBars,
  ecamConfig,
  MmioPart,
  PciAssignment,
  type PciBuses,
  pciCapabilities,
  type PciConfig,
  PciSlot,
  portConfig,
  readBars,
  scanPci,
} from "./mod.ts";

/** Bytes as a register window; bits outside the mask of a byte do not change. */
class FakeConfig implements Mmio {
  readonly name = "fake";
  readonly size: number;
  readonly view: DataView;
  readonly mask: DataView;
  writes = 0;

  constructor(size = 256) {
    this.size = size;
    this.view = new DataView(new ArrayBuffer(size));
    this.mask = new DataView(new ArrayBuffer(size));
  }

  read8(at: number): number {
    return this.view.getUint8(at);
  }
  read16(at: number): number {
    return this.view.getUint16(at, true);
  }
  read32(at: number): number {
    return this.view.getUint32(at, true);
  }
  write8(at: number, value: number): void {
    this.writes++;
    const mask = this.mask.getUint8(at);
    this.view.setUint8(at, this.view.getUint8(at) & ~mask | value & mask);
  }
  write16(at: number, value: number): void {
    for (let i = 0; i < 2; i++) this.write8(at + i, value >>> (8 * i) & 0xff);
  }
  write32(at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.write8(at + i, value >>> (8 * i) & 0xff);
  }
}

/** A base address register as a board's designer draws it. */
interface FakeBar {
  readonly kind: "io" | "memory" | "wide" | "prefetchable";
  /** The size is 2 to this. */
  readonly bits: number;
  /** Where it is, in units of its size; 0 if it has no address. */
  readonly unit: number;
}

const LOW = { io: 1, memory: 0, wide: 4, prefetchable: 12 } as const;
const isWide = ({ kind }: FakeBar): boolean => kind === "wide" || kind === "prefetchable";
const sizeOf = ({ bits }: FakeBar): number => 2 ** bits;

/** A function with these registers; what does not fit into six is left out. */
function endpoint(
  bars: readonly FakeBar[],
): { config: FakeConfig; bars: (FakeBar & { index: number })[] } {
  const config = new FakeConfig();
  config.view.setUint32(0, 0x1041_1af4, true);
  config.mask.setUint16(4, 0x7, true);
  config.view.setUint8(0x3d, 1);
  const placed: (FakeBar & { index: number })[] = [];
  let index = 0;
  for (const bar of bars) {
    const registers = isWide(bar) ? 2 : 1;
    if (index + registers > 6) break;
    const at = 0x10 + 4 * index;
    const size = sizeOf(bar);
    const address = bar.unit * size;
    config.mask.setUint32(at, size < 2 ** 32 ? 2 ** 32 - size : 0, true);
    config.view.setUint32(at, address % 2 ** 32 + LOW[bar.kind], true);
    if (isWide(bar)) {
      config.mask.setUint32(at + 4, 2 ** 32 - Math.max(1, size / 2 ** 32), true);
      config.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    }
    placed.push({ ...bar, index });
    index += registers;
  }
  return { config, bars: placed };
}

const barOf = (unit: fc.Arbitrary<number>): fc.Arbitrary<FakeBar> =>
  fc.oneof(
    fc.record({ kind: fc.constant("io" as const), bits: fc.integer({ min: 2, max: 8 }), unit }),
    fc.record({
      kind: fc.constantFrom("memory", "wide", "prefetchable"),
      bits: fc.integer({ min: 4, max: 20 }),
      unit,
    }),
  );

/** A segment of functions, by "bus:device.function". */
class FakeBus implements PciConfig {
  readonly segment = 0;
  readonly buses: number;
  readonly functions = new Map<string, FakeConfig>();
  constructor(buses = 256) {
    this.buses = buses;
  }
  open({ bus, device, function: fn }: { bus: number; device: number; function: number }): Mmio {
    const found = this.functions.get(`${bus}:${device}.${fn}`);
    if (found !== undefined) return found;
    const none = new FakeConfig();
    for (let i = 0; i < none.size; i++) none.view.setUint8(i, 0xff);
    return none;
  }
}

Deno.test("readBars reads kinds, addresses and sizes, and leaves all as it was", () => {
  fc.assert(
    fc.property(
      fc.array(barOf(fc.integer({ min: 0, max: 7 })), { maxLength: 6 }),
      fc.integer({ min: 0, max: 7 }),
      (wanted, command) => {
        const { config, bars } = endpoint(wanted);
        config.write16(4, command);
        const before = config.view.buffer.slice(0);
        const found = readBars(config);
        assertEquals(
          found.map(({ index, space, address, size, wide, prefetchable }) => {
            return { index, space, address, size, wide, prefetchable };
          }),
          bars.map((bar) => ({
            index: bar.index,
            space: bar.kind === "io" ? "io" : "memory",
            address: bar.unit * sizeOf(bar),
            size: sizeOf(bar),
            wide: isWide(bar),
            prefetchable: bar.kind === "prefetchable",
          })),
        );
        assertEquals(new Uint8Array(config.view.buffer), new Uint8Array(before));
      },
    ),
    { seed: 42, numRuns: 300 },
  );
});

Deno.test("readBars takes sizes over 4 GiB and refuses addresses over 2^53", () => {
  const { config } = endpoint([{ kind: "wide", bits: 34, unit: 3 }]);
  assertEquals(readBars(config)[0]?.size, 2 ** 34);
  assertEquals(readBars(config)[0]?.address, 3 * 2 ** 34);
  const far = endpoint([{ kind: "wide", bits: 34, unit: 2 ** 22 }]);
  const error = assertThrows(() => readBars(far.config), VireoError, "must end below 2^53");
  assertEquals(error.code, "CONFIG_INVALID");
});

Deno.test("assignBars gives aligned addresses in the windows that overlap nothing", () => {
  const windows = {
    memory: { base: 0x1000_0000, size: 0x1000_0000 },
    io: { base: 0, size: 0x1_0000 },
  };
  fc.assert(
    fc.property(
      fc.array(fc.array(barOf(fc.constant(0)), { maxLength: 6 }), { maxLength: 20 }),
      // Memory that a firmware assigned before, anywhere in the window.
      fc.array(fc.integer({ min: 0x100, max: 0x1ff }), { maxLength: 4 }),
      (devices, assigned) => {
        const bus = new FakeBus();
        const fixed = [...new Set(assigned)];
        fixed.forEach((unit, i) => {
          const { config } = endpoint([{ kind: "memory", bits: 20, unit }]);
          bus.functions.set(`0:${i}.0`, config);
        });
        devices.forEach((bars, i) => {
          bus.functions.set(`0:${fixed.length + i}.0`, endpoint(bars).config);
        });
        const functions = scanPci(bus);
        const ranges: { start: number; end: number; space: string }[] = [];
        for (const [fn, bars] of assignBars(functions, windows)) {
          // What was written is what is said.
          assertEquals(readBars(fn.config), bars as typeof bars & unknown[]);
          assertEquals(fn.config.read16(4), 0, "nothing is switched on");
          const before = fixed[functions.indexOf(fn)];
          if (before !== undefined) assertEquals(bars[0]?.address, before * 0x10_0000);
          for (const { address: start, size, space } of bars) {
            assert(start > 0 && start % size === 0);
            const { base, size: length } = space === "io" ? windows.io : windows.memory;
            assert(start >= base && start + size <= base + length);
            ranges.push({ start, end: start + size, space });
          }
        }
        for (const [i, a] of ranges.entries()) {
          for (const b of ranges.slice(i + 1)) {
            assert(a.space !== b.space || a.end <= b.start || b.end <= a.start);
          }
        }
      },
    ),
    { seed: 42, numRuns: 150 },
  );
});

Deno.test("assignBars says when a window is full, or a register does not keep its address", () => {
  const bus = new FakeBus();
  const { config } = endpoint([{ kind: "memory", bits: 16, unit: 0 }]);
  bus.functions.set("0:3.0", config);
  const full = assertThrows(
    () => assignBars(scanPci(bus), { memory: { base: 0x8000_0000, size: 0x8000 } }),
    VireoError,
    "0000:00:03.0 BAR0",
  );
  assertEquals(full.code, "OUT_OF_MEMORY");
  config.mask.setUint32(0x10, 0x7fff_0000, true);
  const deaf = assertThrows(
    () => assignBars(scanPci(bus), { memory: { base: 0x8000_0000, size: 0x10_0000 } }),
    VireoError,
    "the register must keep it",
  );
  assertEquals(deaf.code, "CONFIG_INVALID");
});

Deno.test("pciCapabilities ends on any configuration space and stays inside", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 256, maxLength: 256 }), (bytes) => {
      const config = new FakeConfig();
      bytes.forEach((byte, i) => config.view.setUint8(i, byte));
      config.view.setUint8(6, 0x10);
      const found = pciCapabilities(config);
      assert(found.length <= 48);
      for (const { id, offset } of found) {
        assert(offset >= 0x40 && offset < 0x100 && offset % 4 === 0);
        assertEquals(id, bytes[offset]);
      }
      assertEquals(config.writes, 0);
    }),
    { seed: 42, numRuns: 300 },
  );
});

Deno.test("pciCapabilities lists in order, filters by id, and needs the status bit", () => {
  const config = new FakeConfig();
  config.view.setUint8(0x34, 0x83); // the low two bits are reserved
  config.view.setUint16(0x80, 0x4009, true);
  config.view.setUint16(0x40, 0x9011, true);
  config.view.setUint16(0x90, 0x0009, true);
  assertEquals(pciCapabilities(config), []);
  config.view.setUint8(6, 0x10);
  assertEquals(pciCapabilities(config), [
    { id: 9, offset: 0x80 },
    { id: 0x11, offset: 0x40 },
    { id: 9, offset: 0x90 },
  ]);
  assertEquals(pciCapabilities(config, 0x11), [{ id: 0x11, offset: 0x40 }]);
  config.view.setUint8(0x91, 0x80); // a loop
  assertEquals(pciCapabilities(config, 9).length, 32);
});

/** A bridge whose bus numbers can be written. */
function bridge(secondary = 0): FakeConfig {
  const config = new FakeConfig();
  config.view.setUint32(0, 0x0001_1b36, true);
  config.view.setUint8(0x0e, 1);
  config.mask.setUint32(0x18, 0xffffff, true);
  config.mask.setUint16(4, 7, true);
  for (const at of [0x1c, 0x20, 0x24]) config.mask.setUint32(at, 0xffff_ffff, true);
  config.view.setUint8(0x19, secondary);
  return config;
}

Deno.test("scanPci looks at further functions of multi-function devices only", () => {
  const bus = new FakeBus();
  const multi = endpoint([]).config;
  multi.view.setUint8(0x0e, 0x80);
  bus.functions.set("0:1.0", multi);
  bus.functions.set("0:1.6", endpoint([]).config);
  bus.functions.set("0:2.0", endpoint([]).config);
  bus.functions.set("0:2.3", endpoint([]).config); // a ghost
  assertEquals(scanPci(bus).map(({ name }) => name), [
    "0000:00:01.0",
    "0000:00:01.6",
    "0000:00:02.0",
  ]);
});

Deno.test("scanPci takes pins INTA to INTD, and no other, from a function", () => {
  const bus = new FakeBus();
  for (let pin = 0; pin < 6; pin++) {
    const { config } = endpoint([]);
    config.view.setUint8(0x3d, pin);
    bus.functions.set(`0:${pin}.0`, config);
  }
  assertEquals(scanPci(bus).map(({ pin }) => pin), [
    undefined,
    { device: 1, pin: 0 },
    { device: 2, pin: 1 },
    { device: 3, pin: 2 },
    { device: 4, pin: 3 },
    undefined,
  ]);
});

Deno.test("scanPci numbers buses behind bridges, swizzles pins; assignBars opens the bridges", () => {
  const bus = new FakeBus();
  bus.functions.set("0:2.0", bridge());
  bus.functions.set("1:0.0", bridge());
  bus.functions.set("2:3.0", endpoint([{ kind: "memory", bits: 12, unit: 0 }]).config);
  bus.functions.set("0:5.0", bridge());
  bus.functions.set("3:1.0", endpoint([{ kind: "io", bits: 5, unit: 0 }]).config);
  assertEquals(scanPci(bus).length, 2, "without numbers, nothing behind a bridge is there");
  const functions = scanPci(bus, { number: new Map() });
  assertEquals(functions.map(({ name, bridge, pin }) => [name, bridge?.bus, pin]), [
    ["0000:00:02.0", 1, undefined],
    ["0000:00:05.0", 3, undefined],
    ["0000:01:00.0", 2, undefined],
    // INTA of device 3 behind device 0 behind device 2 of bus 0.
    ["0000:02:03.0", undefined, { device: 2, pin: 3 }],
    ["0000:03:01.0", undefined, { device: 5, pin: 1 }],
  ]);
  const numbers = (name: string) => {
    const config = bus.functions.get(name)!;
    return [config.read8(0x18), config.read8(0x19), config.read8(0x1a)];
  };
  assertEquals(numbers("0:2.0"), [0, 1, 2]);
  assertEquals(numbers("1:0.0"), [1, 2, 2]);
  assertEquals(numbers("0:5.0"), [0, 3, 3]);
  assignBars(functions, {
    memory: { base: 0x1000_0000, size: 0x1000_0000 },
    io: { base: 0, size: 0x1_0000 },
  });
  const window = (name: string) => {
    const config = bus.functions.get(name)!;
    return [config.read32(0x20), config.read16(0x1c), config.read16(4) & 7];
  };
  // 0x1000_0000 to 0x100f_ffff, and no ports.
  assertEquals(window("0:2.0"), [0x1000_1000, 0x00f0, 7]);
  assertEquals(window("1:0.0"), [0x1000_1000, 0x00f0, 7]);
  // Ports 0x1000 to 0x1fff, and no memory.
  assertEquals(window("0:5.0"), [0x0000_fff0, 0x1010, 7]);
});

/** A port of PCI Express whose slot takes cards: the capability is at 0x40, its slot status at 0x5a. */
function hotPlugPort(): FakeConfig {
  const config = bridge();
  config.view.setUint8(6, 0x10);
  config.view.setUint8(0x34, 0x40);
  config.view.setUint32(0x40, 0x0142_0010, true);
  config.view.setUint32(0x54, 0x40, true);
  config.mask.setUint16(0x58, 0xffff, true);
  return config;
}

Deno.test("PciAssignment keeps what a function was given, through resets, and has room for new ones", () => {
  const bus = new FakeBus();
  const port = hotPlugPort();
  bus.functions.set("0:1.0", port);
  bus.functions.set("0:2.0", bridge());
  const disk = endpoint([
    { kind: "memory", bits: 12, unit: 0 },
    { kind: "io", bits: 5, unit: 0 },
  ]);
  bus.functions.set("5:0.0", disk.config);
  const assignment = new PciAssignment({
    memory: { base: 0x1000_0000, size: 0x1000_0000 },
    io: { base: 0, size: 0x1_0000 },
  });
  const scan = (number: ReadonlyMap<string, PciBuses> = new Map()) => scanPci(bus, { number });
  const addresses = (known?: ReadonlyMap<string, PciBuses>) =>
    [...assignment.assign(scan(known))].flatMap(([{ name }, bars]) =>
      bars.map(({ address }) => [name, address])
    );
  const first = [["0000:05:00.0", 0x1020_0000], ["0000:05:00.0", 0x2000]];
  assertEquals(addresses(), first);
  // 2 MiB and 4096 ports behind the port, in which nothing is yet.
  assertEquals([port.read32(0x20), port.read16(0x1c)], [0x1010_1000, 0x1010]);
  // A running function is only looked at.
  const writes = disk.config.writes;
  assertEquals(addresses(), first);
  assertEquals(disk.config.writes, writes);
  // A card, and then a reset of all, which takes numbers and addresses away.
  const card = endpoint([{ kind: "wide", bits: 14, unit: 0 }]);
  bus.functions.set("1:0.0", card.config);
  const both = [["0000:01:00.0", 0x1000_0000], ...first];
  assertEquals(addresses(), both);
  for (const at of [0x10, 0x14]) {
    for (const { config } of [card, disk]) config.write32(at, 0);
  }
  for (const name of ["0:1.0", "0:2.0"]) bus.functions.get(name)!.write32(0x18, 0);
  port.write32(0x20, 0);
  assertEquals(scanPci(bus).length, 2, "a bridge without a number is not entered");
  // A bridge that is new before the others takes none of their numbers.
  bus.functions.set("0:0.0", bridge());
  const known = new Map([
    ["0000:00:01.0", { bus: 1, last: 4 }],
    ["0000:00:02.0", { bus: 5, last: 5 }],
  ]);
  assertEquals(addresses(known), both);
  assertEquals(bus.functions.get("0:0.0")!.read8(0x19), 6);
  bus.functions.delete("0:0.0");
  assertEquals(port.read32(0x20), 0x1010_1000);
  // What has no room there is named and left out; its neighbours keep theirs.
  bus.functions.set("1:0.0", endpoint([{ kind: "memory", bits: 22, unit: 0 }]).config);
  const failed: string[] = [];
  const rest = assignment.assign(
    scan(),
    ({ name }, { code }) => failed.push(`${name} ${code}`),
  );
  assertEquals([failed, rest.size], [["0000:01:00.0 OUT_OF_MEMORY"], 3]);
});

Deno.test("PciAssignment gives another function in the same place no addresses of the one before", () => {
  // Vendor and device, of which each alone makes it another one.
  for (
    const [ids, kept] of [[0x1041_1af4, true], [0x1042_1af4, false], [0x1041_8086, false]] as const
  ) {
    const bus = new FakeBus();
    const assignment = new PciAssignment({
      memory: { base: 0x1000_0000, size: 0x1000_0000 },
      io: { base: 0, size: 0x1_0000 },
    });
    const card = () => endpoint([{ kind: "memory", bits: 12, unit: 0 }]).config;
    for (const at of ["0:0.0", "0:3.0", "0:4.0"]) bus.functions.set(at, card());
    const last = () => [...assignment.assign(scanPci(bus)).values()].at(-1)![0]!.address;
    assertEquals(last(), 0x1000_2000);
    bus.functions.delete("0:3.0");
    const next = card();
    next.view.setUint32(0, ids, true);
    bus.functions.set("0:4.0", next);
    assertEquals(last(), kept ? 0x1000_2000 : 0x1000_3000, ids.toString(16));
  }
});

Deno.test("PciSlot powers a card that is new, and lets one go whose button was pressed", () => {
  assertEquals(PciSlot.find(bridge()), undefined);
  const config = hotPlugPort();
  const slot = PciSlot.find(config)!;
  const at = { control: 0x58, status: 0x5a };
  const event = (bits: number) => config.view.setUint16(at.status, bits, true);
  config.write16(at.control, 0x7c0);
  event(0);
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [false, false, 0x7c0]);
  event(0x49); // the button, a change of presence, a card
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [true, false, 0x1c0]);
  event(0x40);
  assertEquals([slot.poll(), slot.leaving], [false, false]);
  event(0x41);
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [false, true, 0x2c0]);
  slot.eject();
  assertEquals([slot.leaving, config.read16(at.control)], [false, 0x7c0]);
});

Deno.test("scanPci has numbers, and PciAssignment addresses, for a bridge that is plugged into a port", () => {
  const bus = new FakeBus();
  const port = hotPlugPort();
  bus.functions.set("0:1.0", port);
  bus.functions.set("0:2.0", hotPlugPort());
  const assignment = new PciAssignment({ memory: { base: 0x1000_0000, size: 0x1000_0000 } });
  let known: ReadonlyMap<string, PciBuses> = new Map();
  const look = () => {
    const functions = scanPci(bus, { number: known });
    known = new Map(functions.flatMap(({ name, bridge }) => bridge ? [[name, bridge]] : []));
    return [...assignment.assign(functions)].map(([{ name, bridge }, bars]) => [
      name,
      bridge && [bridge.bus, bridge.last],
      ...bars.map(({ address }) => address),
    ]);
  };
  const ports = [["0000:00:01.0", [1, 4]], ["0000:00:02.0", [5, 8]]];
  assertEquals(look(), ports);
  assertEquals([port.read8(0x19), port.read8(0x1a)], [1, 4]);
  // A bridge with a hot-plug controller, and what is plugged into that.
  const plugged = hotPlugPort();
  plugged.view.setUint16(0x40, 0x0c, true);
  bus.functions.set("1:0.0", plugged);
  assertEquals(look(), [...ports, ["0000:01:00.0", [2, 4]]]);
  bus.functions.set("2:3.0", endpoint([{ kind: "memory", bits: 12, unit: 0 }]).config);
  const all = [...ports, ["0000:01:00.0", [2, 4]], ["0000:02:03.0", undefined, 0x1000_0000]];
  assertEquals(look(), all);
  // A bridge in front of the one that is there.
  bus.functions.set("2:1.0", bridge());
  bus.functions.set("2:2.0", bridge());
  bus.functions.set("2:4.0", bridge());
  assertEquals(look().slice(3).map(([name, buses]) => [name, buses]), [
    ["0000:02:01.0", [3, 3]],
    ["0000:02:02.0", [4, 4]],
    ["0000:02:03.0", undefined],
    // No number is left for it.
    ["0000:02:04.0", undefined],
  ]);
});

Deno.test("scanPci enters each bus once, whatever bridges say", () => {
  const bus = new FakeBus();
  bus.functions.set("0:1.0", bridge(1));
  bus.functions.set("0:2.0", bridge(1));
  bus.functions.set("1:1.0", bridge(1));
  bus.functions.set("1:2.0", bridge(7));
  bus.functions.set("7:0.0", endpoint([]).config);
  assertEquals(scanPci(bus, { number: new Map() }).map(({ name }) => name), [
    "0000:00:01.0",
    "0000:00:02.0",
    "0000:01:01.0",
    "0000:01:02.0",
    "0000:07:00.0",
  ]);
});

Deno.test("scanPci numbers a bus above the one that its bridge is on, up to the last one", () => {
  // The bridge on bus 5 was numbered before; those below it were not, nor was the one beside it.
  const bus = new FakeBus(8);
  const first = bridge(5);
  first.view.setUint8(0x1a, 7);
  bus.functions.set("0:1.0", first);
  for (const device of [1, 2, 3]) bus.functions.set(`5:${device}.0`, bridge());
  bus.functions.set("0:2.0", bridge());
  assertEquals(scanPci(bus, { number: new Map() }).map((fn) => [fn.name, fn.bridge?.bus]), [
    ["0000:00:01.0", 5],
    ["0000:00:02.0", 1],
    ["0000:05:01.0", 6],
    ["0000:05:02.0", 7],
    ["0000:05:03.0", undefined],
  ]);
  // Of two buses one is free.
  const small = new FakeBus(2);
  for (const device of [1, 2]) small.functions.set(`0:${device}.0`, bridge());
  assertEquals(scanPci(small, { number: new Map() }).map((fn) => fn.bridge?.bus), [1, undefined]);
});

Deno.test("scanPci enters the last bus that the window has, and none behind it", () => {
  const bus = new FakeBus(8);
  bus.functions.set("0:1.0", bridge(7));
  bus.functions.set("0:2.0", bridge(8));
  for (const number of [7, 8]) bus.functions.set(`${number}:0.0`, endpoint([]).config);
  assertEquals(scanPci(bus, { number: new Map() }).map(({ name }) => name), [
    "0000:00:01.0",
    "0000:00:02.0",
    "0000:07:00.0",
  ]);
});

Deno.test("ecamConfig and portConfig reach the same registers", () => {
  const log: string[] = [];
  const record = (size: number): Mmio => {
    const read = (width: number) => (at: number): number => {
      log.push(`r${width} ${at.toString(16)}`);
      return 0;
    };
    const write = (width: number) => (at: number, value: number): void => {
      log.push(`w${width} ${at.toString(16)} ${value.toString(16)}`);
    };
    return {
      name: "log",
      size,
      read8: read(8),
      read16: read(16),
      read32: read(32),
      write8: write(8),
      write16: write(16),
      write32: write(32),
    };
  };
  const address = { segment: 0, bus: 3, device: 31, function: 5 };
  const ecam = ecamConfig(record(0x1000_0000));
  ecam.open(address).read16(0x3e);
  ecam.open(address).write32(0xffc, 0xdead_beef);
  const ports = portConfig(record(0x1_0000));
  ports.open(address).read16(0x3e);
  ports.open(address).write8(0x3d, 7);
  assertEquals(log, [
    "r16 3fd03e",
    "w32 3fdffc deadbeef",
    "w32 cf8 8003fd3c",
    "r16 cfe",
    "w32 cf8 8003fd3c",
    "w8 cfd 7",
  ]);
  assertEquals([ecam.open(address).size, ports.open(address).size], [4096, 256]);
  assertThrows(() => ports.open(address).read8(256), RangeError);
  assertThrows(() => ecam.open({ ...address, device: 32 }), RangeError);
  assertThrows(() => ecamConfig(record(0x1000)), RangeError);
});

Deno.test("MmioPart moves offsets and refuses what is outside or unaligned", () => {
  const whole = new FakeConfig(64);
  for (let i = 0; i < 64; i++) whole.mask.setUint8(i, 0xff);
  const part = new MmioPart("part", whole, 16, 8);
  part.write32(4, 0x1234_5678);
  part.write16(2, 0xabcd);
  part.write8(0, 0xef);
  assertEquals([whole.read32(20), whole.read16(18), whole.read8(16)], [0x1234_5678, 0xabcd, 0xef]);
  assertEquals([part.read32(4), part.read16(2), part.read8(0)], [0x1234_5678, 0xabcd, 0xef]);
  assertEquals([part.name, part.size], ["part", 8]);
  const widths: readonly (readonly [bytes: number, access: (at: number) => void])[] = [
    [1, (at) => part.read8(at)],
    [1, (at) => part.write8(at, 0)],
    [2, (at) => part.read16(at)],
    [2, (at) => part.write16(at, 0)],
    [4, (at) => part.read32(at)],
    [4, (at) => part.write32(at, 0)],
  ];
  for (const [bytes, access] of widths) {
    for (const at of [0, 8 - bytes]) access(at);
    for (const at of [-bytes, 8, bytes / 2, NaN]) assertThrows(() => access(at), RangeError);
  }
});
