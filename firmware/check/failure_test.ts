import { assertEquals } from "@std/assert";
import { show } from "./failure.ts";

Deno.test("show() writes addresses and counts in hex, and 32 bytes at most", () => {
  const texts = [
    [0, "0x0"],
    [255, "0xff"],
    [-1, "-1"],
    [0.5, "0.5"],
    [new Uint8Array(0), "no bytes"],
    [new Uint8Array(32).fill(0xa5), "a5".repeat(32)],
    [new Uint8Array(33).fill(0xa5), `${"a5".repeat(32)}... (33 bytes)`],
    [true, "true"],
    [undefined, "undefined"],
  ] as const;
  for (const [value, text] of texts) assertEquals(show(value), text);
});
