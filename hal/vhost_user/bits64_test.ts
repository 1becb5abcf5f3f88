import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { bitsBytes, readBits, readU32, readU64, u32s, u64s } from "./bits64.ts";

Deno.test("vhost-user: numbers are little-endian, at any place, and safe ones", () => {
  const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 0, 0, 9);
  assertEquals(readU32(bytes, 1), 0x0403_0201);
  assertEquals(readU64(bytes, 1, "number"), 0x06_0504_0302_01);
  assertEquals(readU64(bytes.subarray(1), 0, "number"), 0x06_0504_0302_01);
  assertEquals(readU64(u64s(2 ** 53 - 1), 0, "number"), 2 ** 53 - 1);
  const error = assertThrows(() => readU64(u32s(5, 0x20_0000), 0, "number"), VireoError);
  assertEquals(
    [error.code, error.seen, error.message.includes("Cannot hold the number")],
    ["BAD_MESSAGE", "0x20000000000005", true],
  );
});

Deno.test("vhost-user: sets of bits are 64 bits in little-endian, at any place", () => {
  const bytes = Uint8Array.of(9, 2, 0, 0, 0x80, 1, 0, 0, 0x40);
  const set = readBits(bytes, 1);
  assertEquals([...set], [1, 31, 32, 62]);
  assertEquals([...bitsBytes(set)], [...bytes.subarray(1)]);
});
