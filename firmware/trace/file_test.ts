import { assertEquals } from "@std/assert";
import { TraceFile } from "./file.ts";

Deno.test("trace file: bytes and text are in the order in which they came, and none behind the end", async () => {
  const path = await Deno.makeTempFile({ prefix: "vireo-" });
  try {
    const file = new TraceFile(path);
    file.text("a");
    file.write(Uint8Array.of(98));
    file.text("c\n");
    // More than is kept, as text and as bytes.
    file.text("d".repeat(1 << 17));
    file.write(new Uint8Array((1 << 17) + 1).fill(101));
    file.text("é");
    // What is not written at the end of the turn is written at the end of the file.
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals((await Deno.stat(path)).size, 4 + (1 << 17) + (1 << 17) + 1 + 2);
    file.text("f");
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    file.text("lost");
    file.write(Uint8Array.of(1));
    await new Promise((resolve) => setTimeout(resolve));
    const text = await Deno.readTextFile(path);
    assertEquals(
      text.replace(/d+/, ({ length }) => `${length} d, `).replace(
        /e+/,
        ({ length }) => `${length} e, `,
      ),
      `abc\n${1 << 17} d, ${(1 << 17) + 1} e, éf`,
    );
  } finally {
    await Deno.remove(path);
  }
});
