import { assertEquals, assertThrows } from "@std/assert";
import { FakeConfig } from "./fake_pci_test_util.ts";
import { MmioPart } from "./mod.ts";

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
