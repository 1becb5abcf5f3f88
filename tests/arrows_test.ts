import { assert, assertEquals } from "@std/assert";

/** Which rooms' packages each room may import; ARCHITECTURE.md draws the arrows. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  hal: [],
  drivers: ["hal"],
  emu: ["hal"],
  firmware: ["hal", "drivers", "emu"],
  examples: ["hal", "drivers", "emu", "firmware"],
};
const ROOT = new URL("../", import.meta.url);
/** `from "x"`, `import "x"` and `import("x")`; JSDoc examples are comments and so not looked at. */
const IMPORT = /^(?!\s*(?:\*|\/\/)).*?(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/gm;

/** A source file of a room: its path from the root, and what it imports. */
interface Source {
  readonly room: string;
  readonly path: string;
  readonly imports: readonly string[];
}

function* walk(directory: URL): Generator<URL> {
  for (const entry of Deno.readDirSync(directory)) {
    const at = new URL(entry.isDirectory ? `${entry.name}/` : entry.name, directory);
    if (entry.isDirectory) yield* walk(at);
    else if (entry.name.endsWith(".ts")) yield at;
  }
}

function relative(url: URL): string {
  return url.href.slice(ROOT.href.length);
}

/** The imports of a text, as they are written. */
export function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => match[1]!);
}

const sources: Source[] = Object.keys(ARROWS).flatMap((room) =>
  [...walk(new URL(`${room}/`, ROOT))].map((url) => ({
    room,
    path: relative(url),
    imports: importsOf(Deno.readTextFileSync(url)),
  }))
);
const targetOf = (path: string, name: string): string =>
  relative(new URL(name, new URL(path, ROOT)));

/** Tests and benches, and what only they import. */
const tests: ReadonlySet<string> = testFiles();

function testFiles(): Set<string> {
  const found = new Set(
    sources.map(({ path }) => path).filter((p) => /_(test|bench)\.ts$/.test(p)),
  );
  const importers = new Map<string, string[]>();
  for (const { path, imports } of sources) {
    for (const name of imports.filter((name) => name.startsWith("."))) {
      const target = targetOf(path, name);
      importers.set(target, [...(importers.get(target) ?? []), path]);
    }
  }
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const [path, by] of importers) if (by.every((file) => found.has(file))) found.add(path);
  }
  return found;
}

const isTest = (path: string): boolean => tests.has(path);

Deno.test("arrows: the walk finds every room's sources and their imports", () => {
  for (const room of Object.keys(ARROWS)) {
    assert(sources.some((source) => source.room === room), `No source in ${room}/`);
  }
  const bus = sources.find(({ path }) => path === "drivers/bus/bus.ts");
  assert(bus?.imports.includes("@vireo/hal") && bus.imports.includes("../transport/mmio.ts"));
  assertEquals(
    importsOf(`import type {\n  A,\n} from "a";\nexport * from "b";\nimport "c";\n * import "no";`),
    ["a", "b", "c"],
  );
});

Deno.test("arrows: packages are imported along the arrows only", () => {
  const wrong: string[] = [];
  for (const { room, path, imports } of sources) {
    if (isTest(path)) continue;
    for (const name of imports) {
      const target = /^@vireo\/([a-z]+)/.exec(name)?.[1];
      if (target === undefined || target === room) continue;
      if (!ARROWS[room]!.includes(target)) wrong.push(`${path} imports ${name}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("arrows: relative imports stay in their room", () => {
  const wrong: string[] = [];
  for (const { room, path, imports } of sources) {
    for (const name of imports.filter((name) => name.startsWith("."))) {
      const target = targetOf(path, name);
      const inside = target.startsWith(`${room}/`);
      if (!inside && !isTest(path)) wrong.push(`${path} imports ${name}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("arrows: private files are imported in their own folder only", () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    for (const name of imports.filter((name) => name.startsWith("."))) {
      const target = targetOf(path, name);
      const [, folder, file] = /^(.*\/)([^/]+)$/.exec(target) ?? [];
      // A room's own private files serve the folders below it as well.
      if (file?.startsWith("_") && !path.startsWith(folder!)) wrong.push(`${path} imports ${name}`);
    }
  }
  assertEquals(wrong, []);
});
