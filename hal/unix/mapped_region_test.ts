import { assertEquals, assertThrows } from "@std/assert";
import { MappedRegion } from "./mapped_region.ts";

Deno.test("a mapped region shares ranges inside it alone, and is given back once", () => {
  let freed = 0;
  const region = new MappedRegion(0x1000, new Uint8Array(16), () => freed++);
  assertEquals([region.share(0, 16), region.share(4, 12), region.share(16, 0)], [
    0x1000,
    0x1004,
    0x1010,
  ]);
  for (const [offset, length] of [[0, 17], [-1, 1], [16, 1], [0, -1], [NaN, 1]] as const) {
    assertThrows(
      () => region.share(offset, length),
      RangeError,
      `Cannot share ${length} bytes at offset ${offset}: the region has 16`,
    );
  }
  region[Symbol.dispose]();
  region[Symbol.dispose]();
  assertEquals(freed, 1);
});
