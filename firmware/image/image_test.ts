import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { VireoError } from "@vireo/hal";
import { cpio, type CpioEntry } from "./cpio.ts";
import { elfNeeds } from "./elf.ts";
import { moduleCaches } from "./module_cache.ts";
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

/** The rows of a cache's table, by module; `Deno's own` modules are left out. */
async function cacheRows(
  entry: CpioEntry | undefined,
  name: string,
  [table, column]: readonly [table: string, column: string],
): Promise<Map<string, unknown>> {
  assert(entry?.kind === "file");
  assertEquals(entry.path, `vireo/deno/${name}`);
  const path = await Deno.makeTempFile({ prefix: "vireo-cache-" });
  try {
    await Deno.writeFile(path, entry.data);
    using database = new DatabaseSync(path, { readOnly: true });
    const rows = database.prepare(`SELECT specifier, ${column} FROM ${table}`).all();
    return new Map(
      rows.map((row): [string, unknown] => [String(row["specifier"]), row[column]])
        .filter(([name]) => !name.startsWith("ext:")).sort(),
    );
  } finally {
    await Deno.remove(path);
  }
}

const ANALYSED = ["dep_analysis_cache_v2", ["moduleinfocache", "module_info"]] as const;
const COMPILED = ["v8_code_cache_v2", ["codecache", "data"]] as const;
const NAMES = ["late.js", "lib.js", "program.js"].map((name) => `file:///vireo/${name}`);

Deno.test("moduleCaches have a program's modules as the guest's Deno looks them up, and run none of them", async () => {
  // A program that is run fails otherwise than one that is stopped: no cache would have all of them.
  const program = new Map([
    ["program.js", 'import "./lib.js"; export default () => import("./late.js");'],
    ["program.js.map", "{}"],
    ["lib.js", `throw new Error("run ${crypto.randomUUID()}");`],
    ["late.js", "Deno.exit(3);"],
  ]);
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  const foreign = await moduleCaches(program, other);
  const own = await moduleCaches(program, Deno.build.arch);
  assertEquals([foreign.length, own.length], [1, 2]);
  for (const [analysis] of [foreign, own]) {
    const found = await cacheRows(analysis, ...ANALYSED);
    assertEquals([...found.keys()], NAMES);
    const imports = String(found.get("file:///vireo/program.js"));
    for (const name of ["./lib.js", "./late.js"]) assertStringIncludes(imports, name);
  }
  const code = await cacheRows(own[1], ...COMPILED);
  assertEquals([...code.keys()], NAMES);
  for (const data of code.values()) assert(data instanceof Uint8Array && data.length > 100);
});

Deno.test("moduleCaches have what there is of a program that fails when it is linked", async () => {
  const program = new Map([["program.js", 'import { none } from "node:fs"; none();']]);
  const [analysis] = await moduleCaches(program, Deno.build.arch);
  assertEquals([...(await cacheRows(analysis, ...ANALYSED)).keys()], ["file:///vireo/program.js"]);
  // Some texts that V8 refuses pass Deno's parser: a name without a value is one.
  const wrong = new Map([["program.js", `const 1 = "${crypto.randomUUID()}";`]]);
  const error = await assertRejects(() => moduleCaches(wrong, Deno.build.arch), VireoError);
  assertEquals(error.code, "HOST_ERROR");
});
