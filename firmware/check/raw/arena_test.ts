import { assertEquals, assertThrows } from "@std/assert";
import { TestDma } from "@vireo/drivers/testing";
import { Arena } from "./arena.ts";
import { Log } from "./log.ts";

function make(size = 256): { arena: Arena; bytes: Uint8Array; log: Log } {
  const region = new TestDma({ size: 4096 }).alloc(size, { align: 64 });
  const log = new Log();
  return { arena: new Arena(region, log), bytes: region.bytes, log };
}

Deno.test("arena: pieces are aligned, with 32 blank bytes before and after each, up to its end", () => {
  const { arena } = make();
  assertEquals([arena.base, arena.size, arena.address(5)], [0x4000_0000, 256, 0x4000_0005]);
  // 32 before it; 32 behind it and 32 before the next.
  assertEquals([arena.take(4), arena.take(1, 1), arena.take(8, 4)], [32, 100, 168]);
});

Deno.test("arena: what is written is noted, so that it can be written again", () => {
  const { arena, bytes, log } = make();
  const own = Uint8Array.of(1, 2, 3);
  arena.put(32, own);
  own[0] = 9;
  arena.fill(40, 2, 7);
  arena.put16(48, 0x18182);
  arena.put32(52, 0x84838281);
  arena.putAddress(64, arena.base + 255);
  arena.putAddress(72, arena.base);
  arena.putAddress(80, arena.base + 256);
  arena.putAddress(88, arena.base - 1);
  arena.putAddress(96, 0x8182_8384_8586_8788n);
  assertEquals(
    log.entries.map((entry) =>
      entry.op === "bytes"
        ? `${entry.at} ${entry.bytes.toHex()}`
        : entry.op === "pointer"
        ? `${entry.at} -> ${entry.to}`
        : entry.op
    ),
    [
      ...["32 010203", "40 0707", "48 8281", "52 81828384", "64 -> 255", "72 -> 0"],
      ...["80 0001004000000000", "88 ffffff3f00000000", "96 8887868584838281"],
    ],
  );
  assertEquals(bytes.subarray(32, 36).toHex(), "010203ee");
  assertEquals(bytes.subarray(64, 80).toHex(), "ff000040000000000000004000000000");
  assertEquals([arena.get16(48), arena.get32(52)], [0x8182, 0x84838281]);
  assertEquals(arena.get(96, 2).toHex(), "8887");
  const copy = arena.get(32, 1);
  copy[0] = 5;
  assertEquals(bytes[32], 1);
});

Deno.test("arena: a byte that changed is damage unless it was lent or written by the driver", () => {
  const { arena, bytes } = make();
  const [first, second] = [arena.take(8), arena.take(8)];
  assertEquals([first, second, arena.damage()], [32, 112, undefined]);
  arena.put(first, Uint8Array.of(1, 2, 3, 4, 5));
  arena.putAddress(second, arena.base);
  arena.putAddress(second - 16, 1n);
  assertEquals(arena.damage(), undefined);
  arena.lend(first + 2, 3);
  for (const at of [first + 2, first + 4]) bytes[at]!++;
  assertEquals(arena.damage(), undefined);
  // Just before and behind what was lent, behind the last piece, and before the first one.
  for (const at of [first + 1, first + 5, second + 8, second + 39, 0]) {
    const old = bytes[at]!;
    bytes[at] = old + 1;
    assertEquals(arena.damage(), at);
    bytes[at] = old;
  }
  // Further behind nothing was given to anybody.
  bytes[second + 40] = 1;
  assertEquals(arena.damage(), undefined);
});

Deno.test("arena: it is blank and free again, as far as it was used", () => {
  const { arena, bytes } = make();
  assertEquals(bytes.every((byte) => byte === 0xee), true);
  const at = arena.take(8);
  arena.put32(at, 1);
  arena.lend(at, 8);
  bytes[0] = bytes[at + 39] = 1;
  arena.clear();
  assertEquals(bytes.every((byte) => byte === 0xee), true);
  assertEquals([arena.take(8), arena.damage()], [at, undefined]);
  // The range was lent before.
  bytes[at] = 1;
  assertEquals(arena.damage(), at);
});

Deno.test("arena: no piece ends behind its last 32 bytes", () => {
  const { arena } = make();
  assertThrows(() => arena.take(193), RangeError, "Cannot take more memory of the arena");
  assertEquals(arena.take(192), 32);
  assertThrows(() => arena.take(0), RangeError);
});
