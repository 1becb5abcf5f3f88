import { assertEquals, assertThrows } from "@std/assert";
import { P9MessageWriter } from "./p9_message.ts";

/** The bytes after the header. */
function written(write: (out: P9MessageWriter) => P9MessageWriter): number[] {
  return [...write(new P9MessageWriter()).finish(0, 0)].slice(7);
}

Deno.test("p9 message: text is UTF-8 with its length in bytes, whatever its characters", () => {
  const encoder = new TextEncoder();
  for (
    const text of ["", "name", "\x00\x7f", "é", "aé", "日本", "x".repeat(300), "\ufeff", "\ud800"]
  ) {
    const bytes = encoder.encode(text);
    const expected = [bytes.length & 0xff, bytes.length >> 8, ...bytes];
    assertEquals(written((out) => out.text(text)), expected, text);
    assertEquals(written((out) => out.text(text).u8(9)), [...expected, 9], text);
  }
  for (const text of ["x".repeat(65_536), "é".repeat(32_768)]) {
    const message = "Cannot send text of 65536 bytes: expected at most 65535";
    assertThrows(() => written((out) => out.text(text)), RangeError, message);
  }
  assertEquals(written((out) => out.text("x".repeat(65_535))).length, 65_537);
});

Deno.test("p9 message: 64 bits are the same from a number and from a bigint", () => {
  for (
    const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x1234_5678_9abc, Number.MAX_SAFE_INTEGER, -1]
  ) {
    const expected = new Uint8Array(8);
    new DataView(expected.buffer).setBigUint64(0, BigInt(value), true);
    assertEquals(written((out) => out.u64(value)), [...expected], `${value}`);
    assertEquals(written((out) => out.u64(BigInt(value))), [...expected], `${value}`);
  }
  assertThrows(() => written((out) => out.u64(0.5)), RangeError);
});
