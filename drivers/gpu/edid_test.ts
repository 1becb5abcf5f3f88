import { assertEquals } from "@std/assert";
import { decodeEdid } from "./edid.ts";

/** An EDID of "VIR", with bytes at places and a sum that is right. */
function edid(bytes: Readonly<Record<number, readonly number[]>>, length = 128): Uint8Array {
  const block = new Uint8Array(length);
  block.set([0, 255, 255, 255, 255, 255, 255, 0, 0x59, 0x32]);
  for (const [at, some] of Object.entries(bytes)) block.set(some, Number(at));
  block[127] = -block.subarray(0, 127).reduce((sum, byte) => sum + byte, 0) & 255;
  return block;
}

const NAME = [0, 0, 0, 0xfc, 0, ...new TextEncoder().encode("left one\n   x")];

Deno.test("edid: a display's maker, name and mode are read from where they are", () => {
  const plain = { manufacturer: "VIR", name: undefined, preferred: undefined };
  const cases = [
    [{}, plain],
    // 0x7b0 by 0x4a1 pixels: four bits of each are elsewhere.
    [{ 54: [1, 0, 0xb0, 0xff, 0x7f, 0xa1, 0xff, 0x4f] }, {
      ...plain,
      preferred: { width: 0x7b0, height: 0x4a1 },
    }],
    [{ 54: [0, 1, 0x40] }, { ...plain, preferred: { width: 0x40, height: 0 } }],
    ...[54, 72, 90, 108].map((at) => [{ [at]: NAME }, { ...plain, name: "left one" }] as const),
    // Neither a name of another kind of descriptor, nor what is no descriptor.
    ...[[1, 0], [0, 1]].map((mark) => [{ 72: [...mark, ...NAME.slice(2)] }, plain] as const),
    [{ 72: [0, 0, 0, 0xff, ...NAME.slice(4)] }, plain],
    [{ 109: NAME }, plain],
    // The block behind has a sum of its own.
    [{ 128: [1, 2, 3] }, plain],
  ] as const;
  for (const [bytes, expected] of cases) {
    assertEquals(
      decodeEdid(edid(bytes, 128 in bytes ? 256 : 128)),
      expected,
      JSON.stringify(bytes),
    );
  }
});

Deno.test("edid: one that is too short, or has another header or sum, says nothing", () => {
  const right = edid({});
  assertEquals(decodeEdid(right.subarray(0, 127)), undefined);
  for (const at of [0, 1, 7, 8, 126, 127]) {
    assertEquals(decodeEdid(right.with(at, right[at]! + 1)), undefined, `${at}`);
  }
  // A sum of 256 is as good as 0, and one of 255 is not.
  assertEquals(decodeEdid(edid({ 20: [200, 200] }))?.manufacturer, "VIR");
});
