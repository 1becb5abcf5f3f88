import { assertEquals } from "@std/assert";
import { ScriptedPci } from "@vireo/drivers/testing";
import type { Mmio, PciNode } from "@vireo/hal";
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

/** Capabilities of each kind, each in a part of BAR 4 of its own: common, notify, ISR, device, a second of each, MSI-X. */
const SPACE: readonly (readonly [at: number, bytes: string])[] = [
  [0, "f41a4210"],
  [6, "1000"],
  [8, "01"],
  [0x2e, "0200"],
  [0x34, "43"],
  [0x40, "0950100104050000" + "00010000" + "38000000"],
  [0x50, "0964140204060000" + "00020000" + "00010000" + "04000000"],
  [0x64, "0974100304070000" + "00030000" + "01000000"],
  [0x74, "0984100404080000" + "00040000" + "3c000000"],
  [0x84, "1194ff07"],
  [0x94, "0900100104090000" + "00050000" + "38000000"],
];

/** A function whose windows are bytes and note each access; a legacy one has no capabilities. */
function noted(
  device = 0x1042,
  legacy = false,
): { raw: RawPci; told: string[] } {
  const told: string[] = [];
  const window = (name: string, bytes: Uint8Array): Mmio => {
    const view = new DataView(bytes.buffer);
    const read = (width: number, value: number): number => {
      told.push(`${name} read${width}`);
      return value;
    };
    const write = (width: number, offset: number, value: number): void =>
      void told.push(`${name} write${width} ${offset} 0x${value.toString(16)}`);
    return {
      ...{ name, size: bytes.length },
      read8: (at) => read(8, view.getUint8(at)),
      read16: (at) => read(16, view.getUint16(at, true)),
      read32: (at) => read(32, view.getUint32(at, true)),
      write8: (at, value) => write(8, at, value),
      write16: (at, value) => write(16, at, value),
      write32: (at, value) => write(32, at, value),
    };
  };
  const config = new Uint8Array(256);
  for (const [at, bytes] of SPACE) config.set(Uint8Array.fromHex(bytes), at);
  if (legacy) config[0x34] = 0;
  // Each byte tells where it is, in three bits of the place and five of the register.
  const bar = Uint8Array.from({ length: 0x600 }, (_, at) => at >> 8 << 5 ^ at & 0x1f);
  const node = {
    ...{ kind: "pci", name: "fn", vendor: 0x1af4, device },
    open: () => ({
      config: window("config", config),
      bars: [{ index: 0, size: 64 }, { index: 4, size: 0x600 }],
      openBar: (index: number) => window(`bar${index}`, bar),
      [Symbol.dispose]: () => void told.push("close"),
    }),
  } as unknown as PciNode;
  const raw = RawPci.open(node, new Log())!;
  // Memory and I/O decoding, and bus mastering, before anything else.
  assertEquals(told[0], "config write16 4 0x7");
  told.length = 0;
  return { raw, told };
}

const word = (at: number): number => at >> 8 << 5 ^ at & 0x1f;
/** What reads of 2 and 4 bytes of the BAR give. */
const u16 = (at: number): number => word(at) + 256 * word(at + 1);
const u32 = (at: number): number => u16(at) + 65536 * u16(at + 2);

Deno.test("raw pci: the capabilities, with all that they say", () => {
  const { raw } = noted();
  assertEquals(raw.capabilities.length, 5);
  assertEquals(raw.capabilities[1], {
    ...{ at: 0x50, length: 0x14, type: 2, bar: 4, id: 6, offset: 0x200, size: 0x100 },
  });
  assertEquals([raw.capability(1)?.id, raw.capability(8), raw.msix], [5, undefined, 0x84]);
  assertEquals([raw.name, raw.bus, raw.id, raw.legacy, raw.configSize], [
    "fn",
    "pci",
    2,
    false,
    60,
  ]);
  assertEquals(raw.identity(), { vendor: 0x1af4, device: 0x1042, revision: 1, subsystem: 2 });
  assertEquals([raw.pciStatus(), raw.registers["device_status"]?.offset], [16, 20]);
  assertEquals(raw.notification(), { at: 0x50, bar: 4, offset: 0x200, size: 0x100, multiplier: 4 });
  const ids = [0x1000, 0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1009, 0x1041, 0x1059];
  assertEquals(ids.map((device) => noted(device).raw.id), [1, 2, 5, 3, 8, 4, 9, 1, 25]);
});

Deno.test("raw pci: each access of a modern function is at its place and width", () => {
  const cases: readonly (readonly [act: (raw: RawPci) => unknown, gives: unknown, told: string])[] =
    [
      [(raw) => raw.status(), word(0x114), "bar4 read8"],
      [(raw) => raw.writeStatus(7), undefined, "bar4 write8 276 0x7"],
      [(raw) => raw.features(1), u32(0x104), "bar4 write32 256 0x1,bar4 read32"],
      [(raw) => raw.accept(2, 5), undefined, "bar4 write32 264 0x2,bar4 write32 268 0x5"],
      [(raw) => raw.select(3), undefined, "bar4 write16 278 0x3"],
      [(raw) => raw.sizeMax(), u16(0x118), "bar4 read16"],
      [(raw) => raw.writeSize(8), undefined, "bar4 write16 280 0x8"],
      [
        (raw) => raw.place({ desc: 0x10, driver: 0x20, device: 0x30 }, 2 ** 33),
        undefined,
        "bar4 write32 288 0x10,bar4 write32 292 0x2,bar4 write32 296 0x20,bar4 write32 300 0x2," +
        "bar4 write32 304 0x30,bar4 write32 308 0x2",
      ],
      [(raw) => raw.enable(0, 0), undefined, "bar4 write16 284 0x1"],
      [(raw) => raw.enabled(), u16(0x11c), "bar4 read16"],
      [
        (raw) => raw.notify(3),
        undefined,
        `config read32,bar4 write16 278 0x3,bar4 read16,bar4 write16 ${0x200 + 4 * u16(0x11e)} 0x3`,
      ],
      [
        (raw) => raw.notifyValue(1, 0x10000),
        undefined,
        `config read32,bar4 write16 278 0x1,bar4 read16,bar4 write32 ${
          0x200 + 4 * u16(0x11e)
        } 0x10000`,
      ],
      [
        (raw) => raw.notifyValue(0, 0xffff),
        undefined,
        `config read32,bar4 write16 278 0x0,bar4 read16,bar4 write16 ${
          0x200 + 4 * u16(0x11e)
        } 0xffff`,
      ],
      [(raw) => raw.causes(), word(0x300), "bar4 read8"],
      [(raw) => raw.config(2, 2), u16(0x402), "bar4 read16"],
      [(raw) => raw.writeConfig(3, 4, 9), undefined, "bar4 write32 1027 0x9"],
      [(raw) => raw.generation(), word(0x115), "bar4 read8"],
      [(raw) => raw.resetQueue(), undefined, "bar4 write16 314 0x1"],
      [(raw) => raw.queueReset(), u16(0x13a), "bar4 read16"],
      [(raw) => raw.peek(1, 1), word(0x101), "bar4 read8"],
      [(raw) => raw.poke(1, 1, 2), undefined, "bar4 write8 257 0x2"],
      [(raw) => raw[Symbol.dispose](), undefined, "close"],
    ];
  for (const [act, gives, said] of cases) {
    const { raw, told } = noted();
    assertEquals([said, act(raw), told.join(",")], [said, gives, said]);
  }
});

Deno.test("raw pci: each access of a legacy function is one of its header in BAR 0, or does nothing", () => {
  const cases: readonly (readonly [act: (raw: RawPci) => unknown, gives: unknown, told: string])[] =
    [
      [(raw) => raw.status(), 18, "bar0 read8"],
      [(raw) => raw.writeStatus(7), undefined, "bar0 write8 18 0x7"],
      [(raw) => raw.features(0), u32(0), "bar0 read32"],
      [(raw) => raw.features(1), 0, ""],
      [(raw) => raw.accept(0, 5), undefined, "bar0 write32 4 0x5"],
      [(raw) => raw.accept(1, 5), undefined, ""],
      [(raw) => raw.select(3), undefined, "bar0 write16 14 0x3"],
      [(raw) => raw.sizeMax(), u16(12), "bar0 read16"],
      [(raw) => raw.writeSize(8), undefined, ""],
      [(raw) => raw.place({ desc: 0x10, driver: 0x20, device: 0x30 }, 0), undefined, ""],
      [(raw) => raw.enable(0x1000, 0x10000), undefined, "bar0 write32 8 0x11"],
      [(raw) => raw.enabled(), u32(8), "bar0 read32"],
      [(raw) => raw.notify(3), undefined, "bar0 write16 16 0x3"],
      [(raw) => raw.causes(), 19, "bar0 read8"],
      [(raw) => raw.config(2, 2), u16(22), "bar0 read16"],
      [(raw) => raw.writeConfig(3, 4, 9), undefined, "bar0 write32 23 0x9"],
      [(raw) => raw.generation(), 0, ""],
      [(raw) => raw.peek(1, 1), 1, "bar0 read8"],
      [(raw) => raw.poke(1, 1, 2), undefined, "bar0 write8 1 0x2"],
    ];
  for (const [act, gives, said] of cases) {
    const { raw, told } = noted(0x1001, true);
    assertEquals([said, act(raw), told.join(",")], [said, gives, said]);
  }
  const { raw } = noted(0x1001, true);
  // The size of BAR 0 without the header of 20 bytes.
  assertEquals([raw.legacy, raw.id, raw.configSize, raw.msix], [true, 2, 44, 0]);
  assertEquals(raw.registers["device_status"]?.offset, 18);
});
