import { assertEquals } from "@std/assert";
import { doubleCommas, nameAndWords, splitCommas } from "./commas.ts";

Deno.test("splitCommas undoes doubleCommas", () => {
  assertEquals(splitCommas("a,,b,ro,,,x"), ["a,b", "ro,", "x"]);
  assertEquals(splitCommas(""), [""]);
  for (const text of ["", ",", ",,a,", "a,b,,c"]) {
    assertEquals(splitCommas(doubleCommas(text)), [text]);
  }
});

Deno.test("nameAndWords takes a name with commas as it is if something of that name is there", () => {
  const dir = Deno.makeTempDirSync();
  try {
    for (const name of ["a,b", "c", "c,ro", "d,,e"]) Deno.writeTextFileSync(`${dir}/${name}`, "");
    const take = (text: string): [string, readonly string[]] => {
      const { name, words } = nameAndWords(`${dir}/${text}`, (word) => word === "ro");
      return [name.slice(dir.length + 1), words];
    };
    assertEquals(take("a,b"), ["a,b", []]);
    assertEquals(take("a,b,ro"), ["a,b", ["ro"]]);
    assertEquals(take("a,,b,ro"), ["a,b", ["ro"]]);
    assertEquals(take("c,ro"), ["c", ["ro"]], "words are words");
    assertEquals(take("c,,ro"), ["c,ro", []]);
    assertEquals(take("a,x"), ["a", ["x"]]);
    assertEquals(take("d,,,,e"), ["d,,e", []]);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
