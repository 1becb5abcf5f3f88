import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
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

Deno.test("trace file: it begins empty, and what is kept is written at the end of each turn", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  const path = `${folder}/trace`;
  try {
    let size = 0;
    // The first one makes the file, and the second one finds it longer than its own.
    for (const long of [true, false]) {
      const file = new TraceFile(path);
      const writes: readonly (() => number)[] = [
        () => (file.text("a"), 1),
        () => (file.write(Uint8Array.of(1, 2)), 2),
        () => (file.text("b".repeat(20_000)), 20_000),
        () => (file.write(new Uint8Array(0)), 0),
      ];
      size = 0;
      for (const write of long ? writes : writes.slice(0, 2)) {
        size += write();
        await new Promise((resolve) => setTimeout(resolve));
        assertEquals((await Deno.stat(path)).size, size);
      }
      file[Symbol.dispose]();
    }
    assertEquals((await Deno.readFile(path)).length, 3);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("trace file: a path that cannot be written is refused by name, and so is a full disk", () => {
  const folder = assertThrows(() => new TraceFile("/"), VireoError);
  assertEquals([folder.code, folder.message.startsWith("Cannot write the trace to /")], [
    "HOST_ERROR",
    true,
  ]);
  const full = new TraceFile("/dev/full", "recording");
  full.write(Uint8Array.of(1));
  const error = assertThrows(() => full[Symbol.dispose](), VireoError);
  assertEquals(error.message.startsWith("Cannot write the recording to /dev/full"), true);
});
