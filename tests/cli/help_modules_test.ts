import { assert, assertEquals, assertMatch } from "@std/assert";
import { packageModules } from "../tree/sources.ts";

const ROOT = new URL("../../", import.meta.url);

/** A module as `deno info --json` shows it. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly code?: { readonly specifier: string };
    readonly isDynamic?: boolean;
  }[];
}

/** What `deno info` knows of a module and of all that it imports. */
async function graphOf(path: string): Promise<ReadonlyMap<string, Module>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", "deno.json", path],
    cwd: ROOT.pathname,
  }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: Module[] };
  return new Map(modules.map((module) => [module.specifier, module]));
}

/** The files of this repository that are loaded when some of them are; what is imported later is not. */
async function loaded(...paths: readonly string[]): Promise<ReadonlySet<string>> {
  const packages = packageModules();
  const graphs = new Map<string, Module>();
  const found = new Set(paths);
  for (const path of found) {
    const url = new URL(path, ROOT).href;
    if (!graphs.has(url)) {
      for (const [specifier, module] of await graphOf(path)) graphs.set(specifier, module);
    }
    for (const { specifier, code, isDynamic } of graphs.get(url)?.dependencies ?? []) {
      if (code === undefined || isDynamic) continue;
      const target = packages.get(specifier) ?? code.specifier;
      if (target.startsWith(ROOT.href)) found.add(target.slice(ROOT.href.length));
      else if (packages.has(specifier)) found.add(target);
    }
  }
  return found;
}

Deno.test("modules: the help of vireo loads its text, that of a command the parser and the tables", async () => {
  const quick = await loaded("firmware/main.ts", "firmware/cli/quick_help.ts");
  assert(quick.size <= 4, `--help loads ${quick.size} modules: ${[...quick].join(", ")}`);
  const files = await loaded("firmware/main.ts", "firmware/cli/program.ts");
  assert(files.has("firmware/commands/table.ts"));
  assertEquals([...files].filter((path) => /^(drivers|emu|firmware\/boards)\//.test(path)), []);
  assert(files.size <= 28, `probe --help loads ${files.size} modules: ${[...files].join(", ")}`);
  // Else Deno loads all that some command may import as well, 480 modules.
  const launcher = await Deno.readTextFile(new URL("vireo", ROOT));
  assertMatch(launcher, /^exec "\$deno" run .*--unstable-lazy-dynamic-imports/m);
});

Deno.test("modules: a probe loads the drivers of a board, and those of no other device", async () => {
  const files = await loaded(
    "firmware/main.ts",
    "firmware/cli/program.ts",
    "firmware/cli/dispatch.ts",
    "firmware/commands/probe.ts",
    "firmware/target/emulated_board.ts",
  );
  const folders = new Set([...files].map((path) => /^drivers\/(\w+)\//.exec(path)?.[1]));
  for (
    const name of ["balloon", "caif", "crypto", "gpu", "input", "p9", "rpmsg", "scsi", "vsock"]
  ) {
    assertEquals(folders.has(name), false, name);
  }
  assert(folders.has("blk") && folders.has("net"));
  assert(files.size <= 239, `probe loads ${files.size} modules`);
});
