import { assertEquals } from "@std/assert";
import type { Mmio, PciAddress } from "@vireo/hal";
import { bridge, endpoint, FakeBus, FakeConfig } from "./fake_pci_test_util.ts";
import { assignBars, scanPci } from "./mod.ts";

Deno.test("scanPci looks at further functions of multi-function devices only", () => {
  const bus = new FakeBus();
  const multi = endpoint([]).config;
  multi.view.setUint8(0x0e, 0x80);
  bus.functions.set("0:1.0", multi);
  bus.functions.set("0:1.6", endpoint([]).config);
  bus.functions.set("0:2.0", endpoint([]).config);
  for (const ghost of [1, 3]) bus.functions.set(`0:2.${ghost}`, endpoint([]).config);
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

Deno.test("scanPci rotates pins behind bridges by the numbers of devices", () => {
  const bus = new FakeBus();
  bus.functions.set("0:2.0", bridge(1));
  bus.functions.set("1:3.0", bridge(2));
  const pin = (device: number, pin: number): unknown => {
    const { config } = endpoint([]);
    config.view.setUint8(0x3d, pin);
    bus.functions.set(`2:${device}.0`, config);
    return scanPci(bus).at(-1)!.pin;
  };
  // INTA to INTD of device 4, and INTB of the last one, behind device 3 behind device 2 of bus 0.
  const pins = [1, 2, 3, 4].map((number) => pin(4, number));
  assertEquals(pins, [3, 0, 1, 2].map((pin) => ({ device: 2, pin })));
  assertEquals(pin(31, 2), { device: 2, pin: 3 });
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

/** A segment in which a function is reached only through bridges whose numbers lead to it. */
class RoutedBus extends FakeBus {
  /** The numbers of buses that each bridge has had, in order. */
  readonly numbered: string[] = [];

  /** Adds a bridge. */
  bridge(at: string, config = bridge()): FakeConfig {
    config.write8 = (offset, value) => {
      FakeConfig.prototype.write8.call(config, offset, value);
      if (offset === 0x1a) this.numbered.push(`${at} ${config.read8(0x19)}-${value}`);
    };
    this.functions.set(at, config);
    return config;
  }

  override open(address: PciAddress): Mmio {
    return this.#leadsTo(0, address.bus)
      ? super.open(address)
      : super.open({ ...address, bus: -1 });
  }

  #leadsTo(from: number, bus: number): boolean {
    if (from === bus) return true;
    return [...this.functions].some(([at, config]) => {
      const [secondary, last] = [config.read8(0x19), config.read8(0x1a)];
      if (!at.startsWith(`${from}:`) || config.read8(0x0e) !== 1 || secondary === 0) return false;
      return bus >= secondary && bus <= last && this.#leadsTo(secondary, bus);
    });
  }
}

Deno.test("scanPci gives a bridge all numbers that are free while it looks behind it, and then those it needs", () => {
  const bus = new RoutedBus(16);
  bus.bridge("0:1.0");
  bus.bridge("1:0.0");
  bus.bridge("2:0.0");
  bus.functions.set("3:0.0", endpoint([]).config);
  // A firmware has numbered one, with a bus for what may come; the last bridge is before it.
  const old = bus.bridge("0:2.0", bridge(8));
  old.view.setUint8(0x1a, 9);
  bus.bridge("0:3.0");
  const functions = scanPci(bus, { number: new Map() });
  assertEquals(functions.map(({ name, bridge }) => [name, bridge]), [
    ["0000:00:01.0", { bus: 1, last: 3, numbered: true }],
    ["0000:00:02.0", { bus: 8, last: 9, numbered: false }],
    ["0000:00:03.0", { bus: 4, last: 4, numbered: true }],
    ["0000:01:00.0", { bus: 2, last: 3, numbered: true }],
    ["0000:02:00.0", { bus: 3, last: 3, numbered: true }],
    ["0000:03:00.0", undefined],
  ]);
  assertEquals(bus.numbered, [
    ...["0:1.0 1-15", "1:0.0 2-15", "2:0.0 3-15", "2:0.0 3-3", "1:0.0 2-3", "0:1.0 1-3"],
    ...["0:3.0 4-7", "0:3.0 4-4"],
  ]);
});

Deno.test("scanPci takes no number that a bridge before has for what may come", () => {
  const bus = new RoutedBus(16);
  bus.bridge("0:1.0", bridge(1)).view.setUint8(0x1a, 3);
  bus.bridge("0:2.0");
  assertEquals(scanPci(bus, { number: new Map() }).map(({ bridge }) => bridge), [
    { bus: 1, last: 3, numbered: false },
    { bus: 4, last: 4, numbered: true },
  ]);
});

Deno.test("scanPci gives a bridge the numbers back that it had, if there are so many", () => {
  const had = (bus: number, last: number): unknown => {
    const segment = new RoutedBus(8);
    segment.bridge("0:1.0");
    const number = new Map([["0000:00:01.0", { bus, last }]]);
    const [found] = scanPci(segment, { number });
    return [found!.bridge, segment.numbered];
  };
  assertEquals(had(3, 5), [{ bus: 3, last: 5, numbered: true }, ["0:1.0 3-5"]]);
  assertEquals(had(7, 7), [{ bus: 7, last: 7, numbered: true }, ["0:1.0 7-7"]]);
  assertEquals(had(8, 8), [undefined, []]);
});
