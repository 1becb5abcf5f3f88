import { assertEquals } from "@std/assert";
import { EQUIVALENTS } from "./_equivalents.ts";
import { candidates } from "./_mutations.ts";

Deno.test("mutate: changes are made of code alone, one at a time", () => {
  const text = [
    "// a < b",
    "  if (a < b && !c) return true;",
    "  this.#count++;",
    "  this.#look(`a + b`);",
    "  const x = Math.min(a, b + 1);",
    "  let it: Promise<true>;",
  ].join("\n");
  assertEquals(candidates("x.ts", text).map(({ line, what }) => [line, what.split(" -> ")[1]]), [
    [2, "if (a <= b && !c) return true;"],
    [2, "if (a < b || !c) return true;"],
    [2, "if (a < b && !c) return false;"],
    [4, "nothing"],
    [5, "const x = Math.min(a, b);"],
    [5, "const x = Math.min(a, b - 1);"],
    [5, "const x = Math.max(a, b + 1);"],
  ]);
});

Deno.test("mutate: each change that counts as no change is still one of its file", () => {
  const gone = EQUIVALENTS.filter(({ path, what }) => {
    const text = Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
    return !candidates(path, text).some((mutation) => mutation.what === what);
  });
  assertEquals(gone, []);
});
