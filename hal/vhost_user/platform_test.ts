import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
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

Deno.test("a vhost-user platform opens its memory, and no other", async () => {
  await using platform = new VhostUserPlatform({ devices: [], memorySize: 8192 });
  using region = platform.dma.alloc(4096);
  region.bytes.set([1, 2, 3]);
  using view = platform.openMemory(region.address + 1, 2);
  assertEquals(view.bytes, new Uint8Array([2, 3]));
  view.bytes[1] = 4;
  assertEquals(region.bytes[2], 4, "the same memory");
  const whole = platform.openMemory(0x1_0000_0000, 8192);
  assertEquals(whole.bytes.length, 8192);
  for (const [address, length] of [[0xffff_ffff, 2], [0x1_0000_0001, 8192]] as const) {
    const error = assertThrows(() => platform.openMemory(address, length), VireoError);
    assertEquals([error.code, error.seen], ["BAD_ACCESS", address]);
  }
});
