import { assertEquals } from "@std/assert";
import { edidOf } from "./edid.ts";

/** Byte by byte, from VESA E-EDID release A.2 (version 1.4), all numbers typed again. */
Deno.test("edid: a block of version 1.4 with one timing and a name", () => {
  const sizes = [[640, 480, 60], [1920, 1080, 60], [4095, 2300, 60], [4095, 4095, 37]] as const;
  for (const [width, height, rate] of sizes) {
    const bytes = edidOf(width, height);
    const words = new DataView(bytes.buffer);
    assertEquals(bytes.length, 128);
    assertEquals([...bytes.subarray(0, 8)], [0, 255, 255, 255, 255, 255, 255, 0]);
    // Three letters of 5 bits: V is 22, I is 9, R is 18. Then the product.
    assertEquals([words.getUint16(8), words.getUint16(10, true)], [0b0_10110_01001_10010, 1]);
    // Week 1 of 2026, version 1.4, a digital input.
    assertEquals([...bytes.subarray(16, 21)], [1, 36, 1, 4, 0xa5]);
    const [active, blank] = [
      bytes[56]! | bytes[58]! >> 4 << 8,
      bytes[57]! | (bytes[58]! & 15) << 8,
    ];
    const [lines, blankLines] = [
      bytes[59]! | bytes[61]! >> 4 << 8,
      bytes[60]! | (bytes[61]! & 15) << 8,
    ];
    assertEquals([active, blank, lines, blankLines], [width, 160, height, 30]);
    // In units of 10 kHz, of which it can have 65535: 60 frames a second, or fewer.
    const clock = words.getUint16(54, true);
    assertEquals(Math.round(clock * 10_000 / ((active + blank) * (lines + blankLines))), rate);
    assertEquals([...bytes.subarray(72, 77)], [0, 0, 0, 0xfc, 0]);
    assertEquals(new TextDecoder().decode(bytes.subarray(77, 90)), "Vireo\n       ");
    assertEquals(bytes.reduce((sum, byte) => sum + byte, 0) % 256, 0, "the checksum");
  }
  assertEquals(edidOf(16384, 5000), edidOf(4095, 4095), "12 bits for each");
});
