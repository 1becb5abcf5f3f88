import { assertEquals } from "@std/assert";
import {
  type Code,
  DECLARED,
  importsOf,
  packageModules,
  publishedBy,
  REEXPORT,
  SOURCES,
  targetOf,
} from "./sources.ts";

const ROOT = new URL("../../", import.meta.url);
/** A file's code without comments, whose words would count as uses. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/ .*$/gm, "");
}

/** By each file the files that import it, be it by a module that exports what is in it. */
function importersOf(code: Code): (file: string) => ReadonlySet<string> {
  const importers = new Map<string, Set<string>>();
  const passesOn = new Set<string>();
  for (const [file, text] of code) {
    for (const { name } of importsOf(text)) {
      if (!name.startsWith(".")) continue;
      const target = targetOf(file, name);
      importers.set(target, (importers.get(target) ?? new Set()).add(file));
    }
    for (const [, , , from] of text.matchAll(REEXPORT)) {
      passesOn.add(`${file} ${targetOf(file, from!)}`);
    }
  }
  return (file) => {
    const found = new Set(importers.get(file));
    for (const other of found) {
      if (!passesOn.has(`${other} ${file}`)) continue;
      for (const next of importers.get(other) ?? []) found.add(next);
    }
    return found;
  };
}

/** The exported names that no published module exports and no other file that imports the file mentions. */
function unused(
  code: Code,
  modules: ReadonlyMap<string, string>,
  counts: (file: string) => boolean = () => true,
): string[] {
  const published = new Set(
    [...modules.values()].flatMap((file) => publishedBy(file, code, modules)),
  );
  const words = new Map([...code].map(([file, text]) => [file, new Set(text.match(/\w+/g))]));
  const importers = importersOf(code);
  const found: string[] = [];
  for (const [file, text] of code) {
    // What `vireo new` writes is used where it was written.
    if (!counts(file) || file.startsWith("firmware/templates/")) continue;
    const names = [...text.matchAll(DECLARED)].map(([, name]) => name!)
      .filter((name) => !published.has(`${file}:${name}`));
    if (names.length === 0) continue;
    const others = [...importers(file)].filter(counts);
    for (const name of names) {
      if (!others.some((other) => words.get(other)!.has(name))) found.push(`${file}: ${name}`);
    }
  }
  return found;
}

Deno.test("exports: a name that nothing uses is found, one that is published or used is not", () => {
  const code = new Map([
    ["a/mod.ts", `export * from "./one.ts";\nexport { type B } from "./two.ts";\n`],
    ["a/one.ts", codeOf("export const A = 1;\n")],
    ["a/two.ts", codeOf("export interface B {}\nexport class C {}\nexport function d() {}\n")],
    ["a/three.ts", codeOf(`import { d } from "./two.ts";\n// C is only mentioned.\nd();\n`)],
  ]);
  assertEquals(unused(code, new Map([["@a", "a/mod.ts"]])), ["a/two.ts: C"]);
  // A word of a file that does not import it is no use of it.
  code.set("a/four.ts", codeOf("const d = 1, E = d;\nexport const F = E;\n"));
  code.set("a/five.ts", codeOf(`export * from "./six.ts";\n`));
  code.set("a/six.ts", codeOf("export const d = 1;\nexport const E = 2;\n"));
  code.set("a/seven.ts", codeOf(`import { E } from "./five.ts";\nE;\n`));
  assertEquals(unused(code, new Map([["@a", "a/mod.ts"]])), [
    "a/two.ts: C",
    "a/four.ts: F",
    "a/six.ts: d",
  ]);
});

Deno.test("exports: no file exports a name that nothing uses and no module publishes", () => {
  const code = new Map(SOURCES.map(({ path }) => {
    return [path, codeOf(Deno.readTextFileSync(new URL(path, ROOT)))];
  }));
  assertEquals(unused(code, packageModules()), []);
  // What tests alone import, the product must at least use itself.
  const product = (file: string): boolean =>
    /^(?:hal|drivers|emu|firmware|examples)\//.test(file) &&
    !/_(?:test|bench)\.ts$|test_util\.ts$|\/_?test_\w+\.ts$|\/testing\//.test(file);
  const forTests = unused(code, packageModules(), product).filter((found) => {
    const [file, name] = found.split(": ");
    return code.get(file!)!.match(new RegExp(`\\b${name}\\b`, "g"))!.length === 1;
  });
  assertEquals(forTests, []);
});
