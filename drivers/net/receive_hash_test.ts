import { assertEquals, assertThrows } from "@std/assert";
import { hashConfig, rssConfig } from "./receive_hash.ts";

const LIMITS = { keySize: 52, tableLength: 200, types: 0b1011 };
const random = (into: Uint8Array): void => void into.fill(7);

Deno.test("net hash: types are a mask of those that the device supports, none and all included", () => {
  for (const types of [0, 0b1000, 0b1011]) {
    assertEquals(hashConfig({ types }, LIMITS, random).types, types);
  }
  assertEquals(hashConfig({}, LIMITS, random).types, 0b1011);
  for (const types of [0b100, -1, 0.5, NaN]) {
    assertThrows(() => hashConfig({ types }, LIMITS, random), RangeError, "supports 0xb");
  }
});

Deno.test("net hash: a key has 40 bytes unless it is given, and at most what the device takes", () => {
  assertEquals(hashConfig({}, LIMITS, random).key, new Uint8Array(40).fill(7));
  for (const length of [1, 52]) {
    assertEquals(hashConfig({ key: new Uint8Array(length) }, LIMITS, random).key.length, length);
  }
  for (const length of [0, 53]) {
    const key = new Uint8Array(length);
    assertThrows(() => hashConfig({ key }, LIMITS, random), RangeError, "expected 1 to 52");
  }
});

Deno.test("net hash: a table has 128 entries unless it is given, a power of two that the device takes", () => {
  const { table } = rssConfig({}, LIMITS, 3, random);
  assertEquals([table.length, ...table.slice(0, 4)], [128, 0, 1, 2, 0]);
  for (const [tableLength, length] of [[1000, 128], [128, 128], [127, 64], [1, 1]] as const) {
    assertEquals(rssConfig({}, { ...LIMITS, tableLength }, 3, random).table.length, length);
  }
  assertEquals(rssConfig({ table: [1] }, LIMITS, 2, random).table, [1]);
  for (const length of [0, 3, 256]) {
    const table = Array<number>(length).fill(0);
    assertThrows(() => rssConfig({ table }, LIMITS, 2, random), RangeError, "at most 200");
  }
  for (const queue of [-1, 2, 0.5]) {
    assertThrows(() => rssConfig({ table: [queue] }, LIMITS, 2, random), RangeError, "0 to 1");
    assertThrows(() => rssConfig({ unclassified: queue }, LIMITS, 2, random), RangeError, "0 to 1");
  }
});
