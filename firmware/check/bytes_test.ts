import { assertEquals } from "@std/assert";
import { get, join, u16, u32, u64, zeroes } from "./bytes.ts";
import { Random } from "./random.ts";

Deno.test("bytes: little-endian integers, one after the other", () => {
  assertEquals(u16(0x0102, 0x1ffff).toHex(), "0201ffff");
  assertEquals(u32(0x01020304, 0xfffffffe).toHex(), "04030201feffffff");
  assertEquals(u64(0x0102030405n, 2 ** 53 - 1).toHex(), "0504030201000000ffffffffffff1f00");
  assertEquals(join(u16(1), [2, 3], zeroes(2), [], [4]).toHex(), "010002030000" + "04");
  const bytes = Uint8Array.of(9, 1, 2, 3, 0xff);
  assertEquals([get(bytes, 1, 1), get(bytes, 1, 2), get(bytes, 1, 4), get(bytes, 4, 4)], [
    ...[1, 0x201, 0xff030201, 0xff],
  ]);
});

Deno.test("random: the numbers of mulberry32, below a bound and from a list", () => {
  // The reference's first numbers of seed 1, of 32 bits.
  const numbers = new Random(1);
  assertEquals([1, 2, 3].map(() => numbers.below(2 ** 32)), [2693262067, 11749833, 2265367787]);
  assertEquals(new Random(1).below(100), 62);
  assertEquals(new Random(2 ** 32 + 1).bytes(4).toHex(), new Random(1).bytes(4).toHex());
  assertEquals(new Random(1).bytes(3).toHex(), "a00087");
  assertEquals(new Random(1).pick(["a", "b", "c"]), "b");
});
