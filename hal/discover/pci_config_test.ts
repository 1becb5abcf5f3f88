import { assertEquals, assertThrows } from "@std/assert";
import type { Mmio } from "@vireo/hal";
import { ecamConfig, portConfig } from "./mod.ts";

/** A window that notes each access. */
function recording(size: number, log: string[]): Mmio {
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
}

Deno.test("ecamConfig and portConfig reach the same registers, each access in its width", () => {
  const address = { segment: 0, bus: 3, device: 31, function: 5 };
  for (
    const [config, registers] of [
      [ecamConfig, ["3fd03e", "3fd03d", "3fd03c"]],
      [portConfig, ["cfe", "cfd", "cfc"]],
    ] as const
  ) {
    const log: string[] = [];
    const fn = config(recording(0x1000_0000, log)).open(address);
    assertEquals(fn.name, "0000:03:1f.5");
    fn.read16(0x3e);
    fn.read8(0x3d);
    fn.read32(0x3c);
    fn.write16(0x3e, 0xabcd);
    fn.write8(0x3d, 7);
    fn.write32(0x3c, 0xdead_beef);
    const [half, byte, word] = registers;
    const all = [
      ...[`r16 ${half}`, `r8 ${byte}`, `r32 ${word}`],
      ...[`w16 ${half} abcd`, `w8 ${byte} 7`, `w32 ${word} deadbeef`],
    ];
    // Each access through the ports selects its word first.
    const select = "w32 cf8 8003fd3c";
    assertEquals(log, config === ecamConfig ? all : all.flatMap((access) => [select, access]));
  }
});

Deno.test("ecamConfig and portConfig have 4096 and 256 bytes of a function, and no more", () => {
  const address = { segment: 0, bus: 0, device: 0, function: 0 };
  const log: string[] = [];
  for (
    const [config, size, last] of [
      [ecamConfig(recording(0x10_0000, log)), 4096, "w32 ffc 1"],
      [portConfig(recording(0x1_0000, log)), 256, "w32 cfc 1"],
    ] as const
  ) {
    const fn = config.open(address);
    assertEquals(fn.size, size);
    fn.write32(size - 4, 1);
    assertEquals(log.at(-1), last);
    for (const at of [size, -4, 2, NaN]) assertThrows(() => fn.read32(at), RangeError);
  }
});

Deno.test("ecamConfig has a bus for each MiB, of 1 to 256; portConfig has 256", () => {
  const log: string[] = [];
  const ecam = (size: number) => ecamConfig(recording(size, log), 2);
  assertEquals([ecam(0x10_0000).buses, ecam(0x1f_ffff).buses, ecam(0x1000_0000).buses], [
    1,
    1,
    256,
  ]);
  for (const size of [0, 0xf_ffff, 0x1010_0000]) {
    assertThrows(() => ecam(size), RangeError, `${size} bytes: expected 1 to 256 MiB`);
  }
  assertEquals(ecam(0x10_0000).segment, 2);
  const ports = portConfig(recording(0x1_0000, log));
  assertEquals([ports.segment, ports.buses], [0, 256]);
});

Deno.test("ecamConfig and portConfig refuse an address that is none", () => {
  const log: string[] = [];
  const all = { segment: 0, bus: 1, device: 31, function: 7 };
  for (
    const [config, buses] of [
      [ecamConfig(recording(0x20_0000, log)), 2],
      [portConfig(recording(0x1_0000, log)), 256],
    ] as const
  ) {
    const last = { ...all, bus: buses - 1 };
    config.open(last);
    for (
      const wrong of [
        ...[{ bus: buses }, { bus: -1 }, { bus: 0.5 }, { device: 32 }, { device: -1 }],
        ...[{ device: 0.5 }, { function: 8 }, { function: -1 }, { function: NaN }],
      ]
    ) {
      assertThrows(
        () => config.open({ ...last, ...wrong }),
        RangeError,
        `expected a bus below ${buses}, a device below 32 and a function below 8`,
      );
    }
  }
  assertEquals(log, []);
});
