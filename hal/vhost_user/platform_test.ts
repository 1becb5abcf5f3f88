import { assertEquals, assertThrows } from "@std/assert";
import { VhostUserPlatform } from "./platform.ts";

Deno.test("a vhost-user platform has whole pages of memory, and 1 to 128 pairs", async () => {
  const expected = "expected a multiple of 4096";
  for (const memorySize of [0, -4096, 100, 4097, 4096.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => new VhostUserPlatform({ devices: [], memorySize }), RangeError, expected);
  }
  for (const pairs of [0, 129, 1.5, NaN]) {
    const why = `Cannot use ${pairs} queue pairs: expected 1 to 128`;
    assertThrows(() => new VhostUserPlatform({ devices: [], pairs }), RangeError, why);
  }
  for (const pairs of [1, 128]) {
    await using platform = new VhostUserPlatform({ devices: [], memorySize: 4096, pairs });
    assertEquals(platform.nodes(), []);
    assertEquals(platform.dma.alloc(4096).bytes.length, 4096);
  }
});
