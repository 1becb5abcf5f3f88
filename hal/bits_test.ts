import { assertEquals, assertThrows } from "@std/assert";
import {
  alignUp,
  counted,
  FeatureSet,
  hex,
  hi32,
  isPowerOfTwo,
  join64,
  joinBytes,
  lo32,
  nameIn,
  needEvent,
  setU64,
} from "./bits.ts";

Deno.test("bits: 64-bit values are split and joined, up to the last safe one", () => {
  for (
    const [value, lo, hi] of [
      [0, 0, 0],
      [0xffff_ffff, 0xffff_ffff, 0],
      [2 ** 32, 0, 1],
      [2 ** 53 - 1, 0xffff_ffff, 0x1f_ffff],
    ] as const
  ) {
    assertEquals([lo32(value), hi32(value), join64(lo, hi)], [lo, hi, value]);
    const view = new DataView(new ArrayBuffer(12));
    setU64(view, 2, value);
    assertEquals([view.getUint32(2, true), view.getUint32(6, true)], [lo, hi]);
  }
  // As words of signed arithmetic.
  assertEquals(join64(-1, 1), 2 ** 33 - 1);
  assertThrows(
    () => join64(5, 0x20_0000),
    RangeError,
    "Cannot hold 0x20000000000005 in a number: it must be at most 2^53-1",
  );
});

Deno.test("bits: alignment, and powers of two beyond 32 bits", () => {
  assertEquals([0, 1, 4096, 4097].map((value) => alignUp(value, 4096)), [0, 4096, 4096, 8192]);
  const values = [1, 2, 3, 0, -2, 0.5, 2.5, 2 ** 40, 2 ** 40 + 1, 2 ** 52, 2 ** 53, Infinity, NaN];
  assertEquals(values.filter(isPowerOfTwo), [1, 2, 2 ** 40, 2 ** 52]);
});

Deno.test("bits: an event is due when the index passes it, over the wrap too", () => {
  for (const base of [0, 0xfffe, 0xffff]) {
    const at = (steps: number): number => (base + steps) & 0xffff;
    // From index 1 to 4, the entries 1, 2 and 3 were added.
    assertEquals(
      [0, 1, 2, 3, 4].map((event) => needEvent(at(event), at(4), at(1))),
      [false, true, true, true, false],
    );
    assertEquals(needEvent(at(1), at(1), at(1)), false);
  }
});

Deno.test("FeatureSet: bits of all four words, and what is made of two sets", () => {
  const set = FeatureSet.of(0, 31, 32, 127);
  assertEquals([0, 1, 2, 3, 4].map((i) => set.word(i)), [0x8000_0001, 1, 0, 0x8000_0000, 0]);
  assertEquals(FeatureSet.fromWords(0x8000_0001, 1, 0, 0x8000_0000).equals(set), true);
  assertEquals([...set], [0, 31, 32, 127]);
  assertEquals([0, 1, 30, 31, 32, 126, 127].filter((bit) => set.has(bit)), [0, 31, 32, 127]);
  const other = FeatureSet.of(31, 33);
  assertEquals([...set.and(other)], [31]);
  assertEquals([...set.or(other)], [0, 31, 32, 33, 127]);
  assertEquals([...set.minus(other)], [0, 32, 127]);
  assertEquals([...set.with(5)], [0, 5, 31, 32, 127]);
  assertEquals([...set.without(0, 127)], [31, 32]);
  assertEquals([set.equals(other), set.equals(FeatureSet.of(...set))], [false, true]);
  assertEquals([set.isEmpty, FeatureSet.NONE.isEmpty, FeatureSet.of(100).isEmpty], [
    false,
    true,
    false,
  ]);
  const text = set.toBitString();
  assertEquals([text.length, [...text].flatMap((digit, bit) => digit === "1" ? [bit] : [])], [
    128,
    [0, 31, 32, 127],
  ]);
});

Deno.test("FeatureSet: a bit that it cannot hold is refused", () => {
  for (const bit of [-1, 128, 1.5, NaN]) {
    assertThrows(
      () => FeatureSet.of(bit),
      RangeError,
      `Cannot use feature bit ${bit}: expected an integer from 0 to 127`,
    );
  }
});

Deno.test("joinBytes() puts parts one behind another", () => {
  const parts = [[1, 2], [], [3]].map((bytes) => Uint8Array.from(bytes));
  assertEquals([...joinBytes(...parts)], [1, 2, 3]);
  assertEquals(joinBytes().length, 0);
});

Deno.test("bits: numbers, counts and names read as they do in messages", () => {
  assertEquals([0, 255, -1].map((value) => hex(value)), ["0x0", "0xff", "-0x1"]);
  assertEquals(hex(5, 4), "0x0005");
  assertEquals([0, 1, 1n, 2].map((count) => counted(count, "byte")), [
    ...["0 bytes", "1 byte", "1 byte", "2 bytes"],
  ]);
  const table = { A: 1, B: 2, C: 2 };
  assertEquals([1, 2, 3].map((value) => nameIn(table, value)), ["A", "B", undefined]);
});

Deno.test("bits: 64 bits are written in little-endian, and a set has its last bit", () => {
  const view = new DataView(new ArrayBuffer(8));
  setU64(view, 0, 0x12_3456_789a);
  assertEquals([...new Uint8Array(view.buffer)], [0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0]);
  const set = FeatureSet.fromWords(1, 0, 0, 0x8000_0000);
  assertEquals([...set], [0, 127]);
});
