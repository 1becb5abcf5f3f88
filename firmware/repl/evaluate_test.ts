import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { evaluate } from "./evaluate.ts";

async function value(text: string): Promise<unknown> {
  const evaluation = evaluate(text);
  return evaluation.kind === "running" ? (await evaluation.done).value : "incomplete";
}

Deno.test("evaluate gives the last expression's value, awaits, and strips types", async () => {
  const cases: [string, unknown][] = [
    ["1 + 1", 2],
    ["await Promise.resolve(3)", 3],
    ["const n: number = 40; n + 2", 42],
    ["{a: 1}", { a: 1 }],
    ["({ a: await 1,\n b: 2 })", { a: 1, b: 2 }],
    ["const x = 4", undefined],
    ["for (const i of [1]) i;", undefined],
    ["Promise.resolve(5) instanceof Promise", true],
    ["let s = 0; for (const i of [1, 2]) { s += i }\ns", 3],
    ["function f(a: string): string { return a + '}' }\nf('x')", "x}"],
    ["interface A { a: 1 }", undefined],
    ["[1, 2].map((x) => {\n  return x * 2;\n})", [2, 4]],
    ["'; 5'", "; 5"],
    ["3 // three", 3],
    ["// nothing", undefined],
    ["1;2;", 2],
    ["", undefined],
  ];
  for (const [text, expected] of cases) {
    assertEquals([text, await value(text)], [text, expected]);
  }
});

Deno.test("evaluate keeps declarations, also after await, and lets them be made again", async () => {
  const scope = globalThis as unknown as Record<string, unknown>;
  const names = (): string[] => Object.keys(scope).filter((name) => !before.has(name)).sort();
  const before = new Set(Object.keys(scope));
  await value(
    "const { a, b: [c, ...d], e = 5 } = await { a: 1, b: [2, 3, 4] }; var v = 6",
  );
  assertEquals(names().map((name) => scope[name]), [1, 2, [3, 4], 5, 6]);
  await value("class K { static k = 7 } function g(z) { const y = 1; return z + y } a");
  assertEquals(names(), ["K", "a", "c", "d", "e", "g", "v"]);
  await value("const a: string = 'again'");
  assertEquals(await value("a"), "again");
  for (const name of names()) delete scope[name];
});

Deno.test("evaluate waits for the rest of a text and refuses a wrong one", async () => {
  for (const text of ["for (;;", "foo(", "`a ${b", "`a", "const a: number = {", "/* x", "f('(',"]) {
    assertEquals([text, await value(text)], [text, "incomplete"]);
  }
  for (const text of ["a b", "foo)", "'abc", "const a: = 4", "'(' b"]) {
    assertThrows(() => evaluate(text), SyntaxError);
  }
  await assertRejects(() => value("throw new RangeError('x')"), RangeError, "x");
});

Deno.test("evaluate keeps a function or a class that stands alone, and what is imported", async () => {
  const scope = globalThis as unknown as Record<string, unknown>;
  const before = new Set(Object.keys(scope));
  for (
    const text of ["function lone() { return 1 }", "class Lone {}", "async function later() {}"]
  ) {
    assertEquals([text, await value(text)], [text, undefined]);
  }
  assertEquals(await value("lone() + (new Lone() instanceof Lone ? 1 : 0)"), 2);
  const cases: [string, unknown][] = [
    [`import { join, sep as slash } from "node:path";\njoin("a", slash)`, "a/"],
    [`import * as path from 'node:path'\npath.basename("/x/y")`, "y"],
    [`import whole, { dirname } from "node:path"\nwhole.dirname === dirname`, true],
    [`import "node:path"`, undefined],
    [`import type { A } from "nowhere"`, undefined],
    [`import { type B, resolve } from "node:path"; typeof resolve`, "function"],
    [`'import x from "y"'`, 'import x from "y"'],
    [`(await import("node:path")).sep`, "/"],
  ];
  for (const [text, expected] of cases) {
    assertEquals([text, await value(text)], [text, expected]);
  }
  for (const name of Object.keys(scope)) if (!before.has(name)) delete scope[name];
});
