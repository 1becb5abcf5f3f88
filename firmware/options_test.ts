import { assertEquals, assertThrows } from "@std/assert";
import { parseBlk, parseNet, parseQueueSize } from "./options.ts";
import { parseCount, parseHexBytes, parseSize, UsageError } from "./usage.ts";

Deno.test("parseBlk() takes a file and its options, commas doubled", () => {
  assertEquals(parseBlk("disk.img"), {
    path: "disk.img",
    readOnly: false,
    serial: undefined,
    blockSize: undefined,
  });
  assertEquals(parseBlk("a,,b.img,ro,serial=S 1,block-size=4096"), {
    path: "a,b.img",
    readOnly: true,
    serial: "S 1",
    blockSize: 4096,
  });
});

Deno.test("parseBlk() names the part it does not know", () => {
  assertThrows(() => parseBlk("d.img,rw"), UsageError, "got 'rw'");
  assertThrows(() => parseBlk(",ro"), UsageError, "expected FILE");
  assertThrows(() => parseBlk("d,serial=123456789012345678901"), UsageError, "20 bytes");
  assertThrows(() => parseBlk("d,block-size=1000"), UsageError, "power of two");
  assertThrows(() => parseBlk("d,block-size=256"), UsageError, "512 to 65536");
});

Deno.test("parseNet() takes hub, tap and none", () => {
  assertEquals(parseNet("hub"), { kind: "hub" });
  assertEquals(parseNet("tap:vireo0"), { kind: "tap", name: "vireo0" });
  assertEquals(parseNet("none"), { kind: "none" });
  assertThrows(() => parseNet("tap:"), UsageError, "got 'tap:'");
  assertEquals(parseNet("user"), { kind: "user" });
  assertThrows(() => parseNet("wifi"), UsageError, "got 'wifi'");
});

Deno.test("parseQueueSize() takes powers of two only", () => {
  assertEquals(parseQueueSize("256"), 256);
  assertEquals(parseQueueSize("32K"), 32768);
  assertThrows(() => parseQueueSize("100"), UsageError, "power of two");
  assertThrows(() => parseQueueSize("0"), UsageError, "1 to 32768");
  assertThrows(() => parseQueueSize("64K"), UsageError, "1 to 32768");
});

Deno.test("parseSize(), parseCount() and parseHexBytes() refuse what is not a number", () => {
  assertEquals(parseSize("0x10", "n"), 16);
  assertEquals(parseSize("3M", "n"), 3 * 1024 * 1024);
  assertThrows(() => parseSize("-1", "n"), UsageError, "got '-1'");
  assertThrows(() => parseSize("1e3", "n"), UsageError, "got '1e3'");
  assertThrows(() => parseCount("9", "n", 1, 8), UsageError, "expected 1 to 8");
  assertEquals(parseHexBytes("de:ad be ef", "x"), new Uint8Array([0xde, 0xad, 0xbe, 0xef]));
  assertThrows(() => parseHexBytes("abc", "x"), UsageError, "pairs of hex digits");
});
