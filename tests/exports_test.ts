import { assertEquals } from "@std/assert";
import { packageModules, SOURCES, targetOf } from "./sources.ts";

const ROOT = new URL("../", import.meta.url);
const DECLARED =
  /^export (?:async |abstract )?(?:const|let|function\*?|class|interface|type) (\w+)/gm;
const REEXPORT = /^export (?:type )?(\*|\{[^}]*\}) from "([^"]+)"/gm;

/** A file's code without comments, whose words would count as uses. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/ .*$/gm, "");
}

type Code = ReadonlyMap<string, string>;

/** The names that a module's `export ... from` publishes, as `file:name`. */
function publishedBy(
  file: string,
  code: Code,
  modules: ReadonlyMap<string, string>,
  names?: readonly string[],
): string[] {
  const text = code.get(file) ?? "";
  const own = [...text.matchAll(DECLARED)].map(([, name]) => name!);
  const found = own.filter((name) => names?.includes(name) ?? true).map((name) =>
    `${file}:${name}`
  );
  for (const [, what, from] of text.matchAll(REEXPORT)) {
    const target = from!.startsWith(".") ? targetOf(file, from!) : modules.get(from!) ?? "";
    const list = what === "*"
      ? names
      : what!.slice(1, -1).split(",").map((name) => name.trim().replace(/^type | as .*$/g, ""));
    found.push(...publishedBy(target, code, modules, list));
  }
  return found;
}

/** The exported names that no published module exports and no other file mentions. */
function unused(code: Code, modules: ReadonlyMap<string, string>): string[] {
  const published = new Set(
    [...modules.values()].flatMap((file) => publishedBy(file, code, modules)),
  );
  const words = new Map([...code].map(([file, text]) => [file, new Set(text.match(/\w+/g))]));
  const found: string[] = [];
  for (const [file, text] of code) {
    // What `vireo new` writes is used where it was written.
    if (file.startsWith("firmware/templates/")) continue;
    for (const [, name] of text.matchAll(DECLARED)) {
      if (published.has(`${file}:${name}`)) continue;
      const used = [...words].some(([other, has]) => other !== file && has.has(name!));
      if (!used) found.push(`${file}: ${name}`);
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
});

Deno.test("exports: no file exports a name that nothing uses and no module publishes", () => {
  const code = new Map(SOURCES.map(({ path }) => {
    return [path, codeOf(Deno.readTextFileSync(new URL(path, ROOT)))];
  }));
  assertEquals(unused(code, packageModules()), []);
});
