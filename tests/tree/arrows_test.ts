import { assert, assertEquals } from "@std/assert";
import { ARROWS, importsOf, SOURCES, targetOf } from "./sources.ts";

/** The rooms that may reach into the others by relative paths; nobody imports them. */
const JOINERS: ReadonlySet<string> = new Set(["tests", "bench"]);

Deno.test("arrows: the walk finds every room's sources and their imports", () => {
  const bus = SOURCES.find(({ path }) => path === "drivers/bus/bus.ts");
  const names = bus?.imports.map(({ name }) => name) ?? [];
  assert(names.includes("@vireo/hal") && names.includes("../transport/mmio.ts"));
  assertEquals(
    importsOf(
      `import type {\n  A,\n} from "a";\nexport * from "b";\nimport "c";\n * import "no";\n` +
        `import { type D, type E } from "d";\nimport { type F, g } from "f";\n` +
        `await import("h");\nlet i: typeof import("i");\nnew Worker(new URL("./j.ts", here));\n`,
    ).map(({ name, typeOnly, url }) => `${name}${typeOnly ? " type" : ""}${url ? " url" : ""}`),
    ["a type", "b", "d type", "f", "c", "h", "i type", "./j.ts url"],
  );
});

Deno.test("arrows: packages are imported along the arrows only", () => {
  const wrong: string[] = [];
  for (const { room, path, imports } of SOURCES) {
    for (const { name } of imports) {
      const target = /^@vireo\/([a-z]+)/.exec(name)?.[1];
      if (target === undefined || target === room) continue;
      if (!ARROWS[room]!.includes(target)) wrong.push(`${path} imports ${name}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("arrows: relative imports stay in their room, except from tests/ and bench/", () => {
  const wrong: string[] = [];
  for (const { room, path, imports } of SOURCES) {
    for (const { name } of imports.filter(({ name }) => name.startsWith("."))) {
      const into = targetOf(path, name).split("/")[0]!;
      if (into === room) continue;
      if (!JOINERS.has(room) || JOINERS.has(into) || !ARROWS[room]!.includes(into)) {
        wrong.push(`${path} imports ${name}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("arrows: private files are imported in their own folder only", () => {
  const wrong: string[] = [];
  for (const { path, imports } of SOURCES) {
    for (const { name } of imports.filter(({ name }) => name.startsWith("."))) {
      const target = targetOf(path, name);
      const [, folder, file] = /^(.*\/)([^/]+)$/.exec(target) ?? [];
      // A room's own private files serve the folders below it as well.
      if (file?.startsWith("_") && !path.startsWith(folder!)) wrong.push(`${path} imports ${name}`);
    }
  }
  assertEquals(wrong, []);
});
