import { assertEquals } from "@std/assert";
import { ScriptedPci } from "@vireo/drivers/testing";
import { Log } from "./log.ts";
import { RawPci } from "./pci.ts";

Deno.test("raw pci: capabilities are those of the list, each once though it leads around", () => {
  const places = (patch: Readonly<Record<number, number>>, vectors = 0): number[] => {
    using raw = RawPci.open(new ScriptedPci({ patch, vectors }), new Log())!;
    return [...raw.capabilities.map(({ at }) => at), raw.msix];
  };
  const all = places({});
  assertEquals([all[0], all.at(-1)], [0x40, 0]);
  // The first one leads to itself, to the header, or nowhere.
  for (const next of [0x40, 0x3f, 0]) assertEquals(places({ 0x41: next }), [0x40, 0]);
  // The list ends with its second one, which leads back; the lowest two bits are no part of a pointer.
  const second = all[1]!;
  assertEquals(places({ [second + 1]: 0x43 }), [0x40, second, 0]);
  assertEquals(places({}, 2).at(-1)! > 0x40, true);
});

Deno.test("raw pci: a function is virtio's by its vendor and the range of its ids", () => {
  const opens = (vendor: number, device: number): boolean => {
    const raw = RawPci.open(new ScriptedPci({ vendor, device }), new Log());
    raw?.[Symbol.dispose]();
    return raw !== undefined;
  };
  assertEquals([0xfff, 0x1000, 0x1041, 0x10ff, 0x1100].map((device) => opens(0x1af4, device)), [
    false,
    true,
    true,
    true,
    false,
  ]);
  assertEquals(opens(0x1b36, 0x1041), false);
});

Deno.test("raw pci: a BAR is opened once, and all is given back with the function", () => {
  const fn = new ScriptedPci();
  const raw = RawPci.open(fn, new Log())!;
  const [first, second] = [raw.bar(4), raw.bar(4)];
  assertEquals([first === second, fn.leases], [true, 1]);
  raw[Symbol.dispose]();
  assertEquals(fn.leases, 0);
});
