import { assertEquals } from "@std/assert";
import { bundle } from "./bundle.ts";
import { kept } from "./_kept.ts";

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-kept-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("kept makes a result once for the same things, and again for others", async () => {
  await withDir(async (dir) => {
    let times = 0;
    const get = async (...from: string[]): Promise<string> => {
      const made = await kept(from, () => Promise.resolve(bytes(`made ${++times}`)), dir);
      return new TextDecoder().decode(made);
    };
    assertEquals(await get("a", "b"), "made 1");
    assertEquals(await get("a", "b"), "made 1");
    assertEquals(await get("ab"), "made 2");
    assertEquals(await get("ab", ""), "made 3");
    assertEquals(await get("a", "b"), "made 1");
    // Others make room by then, but not for what was just used.
    for (let i = 0; i < 40; i++) {
      await get(`other ${i}`);
      assertEquals(await get("a", "b"), "made 1");
    }
    assertEquals([...Deno.readDirSync(dir)].length, 36);
    assertEquals(await get("ab"), "made 44");
  });
});

Deno.test("kept returns a result that it cannot keep", async () => {
  const make = (): Promise<Uint8Array<ArrayBuffer>> => Promise.resolve(bytes("made"));
  assertEquals(await kept(["a"], make, "/proc/vireo"), bytes("made"));
  assertEquals(await kept(["a"], make, "/dev/null"), bytes("made"));
});

Deno.test("a bundle is made once for the same sources, and again if a module that it imports changes", async () => {
  await withDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/part.ts`, 'export const part = "first";\n');
    await Deno.writeTextFile(`${dir}/program.ts`, 'export * from "./part.ts";\n');
    const made = async (): Promise<{ part: string }> => {
      const text = (await bundle(`${dir}/program.ts`, { kept: `${dir}/kept` })).get("program.js")!;
      return await import(`data:text/javascript,${encodeURIComponent(text)}`);
    };
    assertEquals((await made()).part, "first");
    const [{ name }, ...more] = [...Deno.readDirSync(`${dir}/kept`)] as [Deno.DirEntry];
    assertEquals(more, []);
    // What is kept is taken as it is.
    const path = `${dir}/kept/${name}`;
    await Deno.writeTextFile(path, (await Deno.readTextFile(path)).replace("first", "kept"));
    assertEquals((await made()).part, "kept");
    await Deno.writeTextFile(`${dir}/part.ts`, 'export const part = "second";\n');
    assertEquals((await made()).part, "second");
  });
});
