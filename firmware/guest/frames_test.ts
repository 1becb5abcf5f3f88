import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeFrame, FrameDecoder, printable } from "./_frames.ts";

/** What a decoder finds in bytes that arrive in these pieces. */
function decode(chunks: readonly Uint8Array[]): { frames: [string, number[]][]; text: string } {
  const frames: [string, number[]][] = [];
  let text = "";
  const decoder = new FrameDecoder({
    frame: (kind, payload) => frames.push([kind, [...payload]]),
    text: (bytes) => text += new TextDecoder("latin1").decode(bytes),
  });
  for (const chunk of chunks) decoder.push(chunk);
  decoder.end();
  return { frames, text };
}

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

Deno.test("FrameDecoder tells frames from what the kernel says between them", () => {
  const line = "[0.1] boot\r\n\x16Vo0005hello\x16oops\x16Vx00013[9.9] down\n\x16";
  assertEquals(decode([bytes(line)]), {
    frames: [["o", [...bytes("hello")]], ["x", [...bytes("3")]]],
    text: "[0.1] boot\r\n\x16oops[9.9] down\n\x16",
  });
});

Deno.test("FrameDecoder passes a broken header on as text", () => {
  assertEquals(decode([bytes("\x16Vozzzz\x16Vo9999..\x16Ve0001!")]), {
    frames: [["e", [33]]],
    text: "\x16Vozzzz\x16Vo9999..",
  });
});

Deno.test("FrameDecoder finds the same however the bytes are cut", () => {
  const part = fc.record({
    kind: fc.constantFrom("o", "e", "a"),
    payload: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.array(fc.nat(60)), (parts, cuts) => {
      const whole = parts.flatMap(({ kind, payload }) => [...encodeFrame(kind, payload)]);
      const chunks: Uint8Array[] = [];
      let at = 0;
      for (const cut of cuts) chunks.push(Uint8Array.from(whole.slice(at, at += cut)));
      chunks.push(Uint8Array.from(whole.slice(at)));
      const expected = parts.map(({ kind, payload }) => [kind, [...payload]]);
      assertEquals(decode(chunks), { frames: expected as [string, number[]][], text: "" });
    }),
    { seed: 42, numRuns: 200 },
  );
});

Deno.test("printable() shows text as it is, and what is none as dots, in lines that end", () => {
  assertEquals(
    printable(["Kernel panic - not\tsyncing\r", "ok"]),
    "Kernel panic - not\tsyncing\nok",
  );
  assertEquals(printable(["a\x00\x01\ufffd\x1bb"]), "a...b");
  assertEquals(printable(["x".repeat(5000)]).length, 203);
});
