import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { cpio } from "./cpio.ts";
import { elfNeeds } from "./elf.ts";
import { moduleCache } from "./module_cache.ts";
import { DatabaseSync } from "node:sqlite";

/** Reads an archive back, by the rules of Linux's initramfs/buffer-format.rst. */
function unpack(pieces: readonly Uint8Array[]): { path: string; mode: number; data: string }[] {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  pieces.reduce((at, piece) => (bytes.set(piece, at), at + piece.length), 0);
  const text = (from: number, to: number): string =>
    new TextDecoder().decode(bytes.slice(from, to));
  const out = [];
  for (let at = 0;;) {
    assertEquals(text(at, at + 6), "070701");
    const field = (n: number): number => parseInt(text(at + 6 + n * 8, at + 14 + n * 8), 16);
    const path = text(at + 110, at + 110 + field(11) - 1);
    const start = (at + 110 + field(11) + 3) & ~3;
    if (path === "TRAILER!!!") return out;
    out.push({ path, mode: field(1), data: text(start, start + field(6)) });
    at = (start + field(6) + 3) & ~3;
  }
}

Deno.test("cpio writes files, links and devices with their parents first", () => {
  const data = new TextEncoder().encode("hello");
  const archive = cpio([
    { kind: "file", path: "bin/sub/tool", data, executable: true },
    { kind: "link", path: "bin/sh", target: "sub/tool" },
    { kind: "character", path: "dev/console", major: 5, minor: 1 },
    { kind: "file", path: "bin/sub/text", data: new Uint8Array() },
  ]);
  assertEquals(unpack(archive), [
    { path: "bin", mode: 0o40755, data: "" },
    { path: "bin/sub", mode: 0o40755, data: "" },
    { path: "bin/sub/tool", mode: 0o100755, data: "hello" },
    { path: "bin/sh", mode: 0o120777, data: "sub/tool" },
    { path: "dev", mode: 0o40755, data: "" },
    { path: "dev/console", mode: 0o20600, data: "" },
    { path: "bin/sub/text", mode: 0o100644, data: "" },
  ]);
});

Deno.test("cpio refuses paths that are not below the root", () => {
  for (const path of ["", "/bin", "a/../../b"]) {
    assertThrows(() => cpio([{ kind: "directory", path }]), RangeError, "below the root");
  }
});

Deno.test("elfNeeds finds what Deno itself needs", () => {
  const needs = elfNeeds(Deno.readFileSync(Deno.execPath()), "deno");
  assertEquals(needs.machine, Deno.build.arch);
  assertStringIncludes(needs.interpreter ?? "", "/ld-linux-");
  assert(needs.libraries.includes("libc.so.6"));
  const error = assertThrows(() => elfNeeds(new Uint8Array(100), "x"), VireoError, "ELF");
  assertEquals(error.code, "HOST_ERROR");
});

Deno.test("moduleCache has the imports of a program's modules, as the guest's Deno looks them up", async () => {
  const entry = await moduleCache(
    new Map([
      ["program.js", 'import "./lib.js"; export default () => import("./late.js");'],
      ["program.js.map", "{}"],
      ["lib.js", "export {};"],
      ["late.js", "export {};"],
    ]),
  );
  assert(entry.kind === "file");
  assertEquals(entry.path, "vireo/deno/dep_analysis_cache_v2");
  const path = await Deno.makeTempFile({ prefix: "vireo-cache-" });
  try {
    await Deno.writeFile(path, entry.data);
    using database = new DatabaseSync(path, { readOnly: true });
    const rows = database.prepare("SELECT specifier, module_info FROM moduleinfocache").all();
    const found = new Map(rows.map((row) => [row["specifier"], String(row["module_info"])]));
    assertEquals([...found.keys()].sort(), [
      "file:///vireo/late.js",
      "file:///vireo/lib.js",
      "file:///vireo/program.js",
    ]);
    const imports = found.get("file:///vireo/program.js")!;
    for (const name of ["./lib.js", "./late.js"]) assertStringIncludes(imports, name);
  } finally {
    await Deno.remove(path);
  }
});
