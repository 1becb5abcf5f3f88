import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { barOf, bridge, endpoint, FakeBus, hotPlugPort } from "./fake_pci_test_util.ts";
import { assignBars, PciAssignment, type PciBuses, readBars, scanPci } from "./mod.ts";

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

Deno.test("assignBars writes each window of a bridge, also those that nothing is behind", () => {
  const bus = new FakeBus();
  const front = bridge();
  for (const at of [0x1c, 0x1d, 0x20, 0x22, 0x24, 0x26, 0x30, 0x32]) {
    front.view.setUint16(at, 0x5555, true);
  }
  bus.functions.set("0:1.0", front);
  const windows = { memory: { base: 0x1000_0000, size: 0x1000_0000 } };
  const registers = (): number[] => [
    ...[front.read8(0x1c), front.read8(0x1d), front.read16(0x20), front.read16(0x22)],
    ...[front.read16(0x24), front.read16(0x26), front.read32(0x30)],
  ];
  // A window whose base is above its limit forwards nothing.
  const nothing = [0xf0, 0, 0xfff0, 0, 0xfff0, 0, 0];
  assignBars(scanPci(bus, { number: new Map() }), windows);
  assertEquals(registers(), nothing);
});

Deno.test("assignBars puts functions right behind and before what has an address, up to the last byte", () => {
  const page = (unit: number) => endpoint([{ kind: "memory", bits: 12, unit }]).config;
  const ports = (unit: number) => endpoint([{ kind: "io", bits: 5, unit }]).config;
  const memory = { base: 0x1000_0000, size: 0x4000 };
  const io = { base: 0x2000, size: 0x80 };
  const place = (...configs: ReturnType<typeof page>[]): number[] => {
    const bus = new FakeBus();
    configs.forEach((config, device) => bus.functions.set(`0:${device}.0`, config));
    return [...assignBars(scanPci(bus), { memory, io }).values()].map((bars) => bars[0]!.address);
  };
  const at = (page: number): number => memory.base + 0x1000 * page;
  // The second page is taken: what comes first is before it, and what comes next is behind it.
  assertEquals(
    place(page(0x1_0001), page(0), page(0), page(0)),
    [at(1), at(0), at(2), at(3)],
  );
  assertEquals(place(ports(0x101), ports(0), ports(0), ports(0)), [0x2020, 0x2000, 0x2040, 0x2060]);
  // Memory keeps nothing from ports that have the same numbers.
  assertEquals(place(page(2), ports(0)), [0x2000, 0x2000]);
  for (
    const [full, what, free] of [
      [() => place(page(0), page(0), page(0), page(0), page(0)), "memory", 0],
      [() => place(page(0x1_0003), page(0), page(0), page(0), page(0)), "memory", 0x1000],
      [() => place(ports(0), ports(0), ports(0), ports(0), ports(0)), "I/O", 0],
    ] as const
  ) {
    const error = assertThrows(full, VireoError, `Cannot assign PCI ${what} addresses`);
    const size = what === "memory" ? 4096 : 32;
    assertEquals(
      [error.code, error.seen, error.expected],
      ["OUT_OF_MEMORY", `${size} bytes wanted`, `at most ${free}`],
    );
  }
});

Deno.test("assignBars leaves a bridge alone that was numbered before, as its windows were set then", () => {
  const bus = new FakeBus();
  const front = bridge(1);
  front.view.setUint8(0x1a, 1);
  for (const at of [0x1c, 0x20, 0x24, 0x30]) front.view.setUint32(at, 0x2010_2000, true);
  bus.functions.set("0:1.0", front);
  bus.functions.set("1:0.0", endpoint([{ kind: "memory", bits: 12, unit: 0x2_0000 }]).config);
  const windows = { memory: { base: 0x1000_0000, size: 0x1000_0000 } };
  const bars = assignBars(scanPci(bus, { number: new Map() }), windows);
  assertEquals([...bars.values()].map((bars) => bars[0]?.address), [undefined, 0x2000_0000]);
  assertEquals([0x1c, 0x20, 0x24, 0x30].map((at) => front.read32(at)), Array(4).fill(0x2010_2000));
  assertEquals(front.read16(4), 0);
});
