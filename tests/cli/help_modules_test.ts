import { assert, assertEquals } from "@std/assert";

interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier: string };
    readonly isDynamic?: boolean;
  }[];
}

Deno.test("vireo --help loads no driver, no device model and no board", async () => {
  const root = new URL("../../", import.meta.url);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", new URL("firmware/main.ts", root).pathname],
    cwd: root,
  }).output();
  const graph: { readonly roots: string[]; readonly modules: Module[] } = JSON.parse(
    new TextDecoder().decode(stdout),
  );
  const modules = new Map(graph.modules.map((module) => [module.specifier, module]));
  const loaded = new Set(graph.roots);
  for (const name of loaded) {
    for (const { code, isDynamic } of modules.get(name)?.dependencies ?? []) {
      if (code !== undefined && !isDynamic) loaded.add(code.specifier);
    }
  }
  const own = [...loaded].filter((name) => name.startsWith(root.href))
    .map((name) => name.slice(root.href.length));
  assert(own.includes("firmware/commands/table.ts"));
  assertEquals(own.filter((name) => /^(drivers|emu|firmware\/boards)\//.test(name)), []);
  assert(own.length < 40, `${own.length} modules`);
});
