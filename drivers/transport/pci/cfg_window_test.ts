import { assertEquals, assertThrows } from "@std/assert";
import type { Mmio } from "@vireo/hal";
import { PciCfgWindow } from "./cfg_window.ts";

/** A window of 256 bytes of BAR 4, by the capability at 0x40, and what is accessed in configuration space. */
function rig(): { window: PciCfgWindow; log: string[] } {
  const log: string[] = [];
  const read = (width: number) => (at: number): number => {
    log.push(`r ${at.toString(16)}:${width}`);
    return 7;
  };
  const write = (width: number) => (at: number, value: number): void => {
    log.push(`w ${at.toString(16)}:${width} ${value.toString(16)}`);
  };
  const config: Mmio = {
    name: "function",
    size: 256,
    read8: read(1),
    read16: read(2),
    read32: read(4),
    write8: write(1),
    write16: write(2),
    write32: write(4),
  };
  return { window: new PciCfgWindow(config, 0x40, 4, 256), log };
}

Deno.test("pci configuration window: an access points it at the BAR's word, and has its width (drv.pci.cfg-access.1)", () => {
  const accesses = [
    [1, (window: PciCfgWindow) => window.read8(0x21), (w: PciCfgWindow) => w.write8(0x21, 9)],
    [2, (window: PciCfgWindow) => window.read16(0x22), (w: PciCfgWindow) => w.write16(0x22, 9)],
    [4, (window: PciCfgWindow) => window.read32(0x24), (w: PciCfgWindow) => w.write32(0x24, 9)],
  ] as const;
  for (const [width, read, write] of accesses) {
    const { window, log } = rig();
    const offset = { 1: "21", 2: "22", 4: "24" }[width];
    // The BAR, the length and the offset, and then the data (virtio 1.4 §4.1.4.9).
    const aimed = ["w 44:1 4", `w 4c:4 ${width}`, `w 48:4 ${offset}`];
    assertEquals(read(window), 7);
    write(window);
    assertEquals(log, [...aimed, `r 50:${width}`, ...aimed, `w 50:${width} 9`]);
  }
  const { window } = rig();
  assertEquals([window.name, window.size], ["function BAR4", 256]);
});

Deno.test("pci configuration window: it is the size of its BAR, and takes aligned words only", () => {
  const { window, log } = rig();
  assertEquals([window.read8(255), window.read16(254), window.read32(252)], [7, 7, 7]);
  log.length = 0;
  for (const offset of [-4, 2, 0.5, NaN, Infinity]) {
    assertThrows(() => window.read32(offset), RangeError, `at offset ${offset}`);
  }
  for (const offset of [256, 260]) {
    assertThrows(() => window.read32(offset), RangeError, "the window has 256 bytes");
  }
  assertEquals(log, []);
});
