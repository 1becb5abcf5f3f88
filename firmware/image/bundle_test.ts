import { assertEquals } from "@std/assert";
import { bundleSource, IMPORT_MAP, publishedModules } from "./bundle.ts";

Deno.test("what a REPL of a bundle imports by name is the same module that the program has", async () => {
  const published = await publishedModules();
  assertEquals(
    ["@vireo/hal", "@vireo/drivers/rng", "@vireo/emu/core", "@vireo/firmware"]
      .filter((name) => !published.includes(name)),
    [],
  );
  const modules = ["@vireo/hal", "@vireo/drivers/wait"];
  const program = await bundleSource('export { VireoError } from "@vireo/hal";\n', { modules });
  const dir = await Deno.makeTempDir({ prefix: "vireo-bundle-test-" });
  try {
    for (const [name, text] of program) await Deno.writeTextFile(`${dir}/${name}`, text);
    const text = `
      const [mine, hal, wait] = await Promise.all(
        ["file://${dir}/program.js", "@vireo/hal", "@vireo/drivers/wait"].map((name) => import(name)),
      );
      console.log(mine.VireoError === hal.VireoError, typeof wait.waitFor);`;
    const flags = ["--no-config", "--no-lock", "--no-remote", `--import-map=${dir}/${IMPORT_MAP}`];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", ...flags, text],
    }).output();
    assertEquals(
      [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)),
      ["true function\n", ""],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a bundle without modules for a REPL has no import map", async () => {
  assertEquals([...(await bundleSource("export {};\n")).keys()].includes(IMPORT_MAP), false);
});
