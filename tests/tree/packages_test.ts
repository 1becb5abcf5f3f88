import { assert, assertEquals } from "@std/assert";
import { packageModules, SOURCES } from "./sources.ts";

const ROOT = new URL("../../", import.meta.url);

/** Drivers and devices that are made of another one. */
const MADE_OF: Readonly<Record<string, readonly string[]>> = { rproc_serial: ["console"] };

async function deno(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stderr);
  assertEquals(code, 0, text);
  return new TextDecoder().decode(stdout) + text;
}

interface ModuleGraph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
}

/** Which files of the project each of the specifiers loads at run time, by `deno info`. */
async function loadedBy(names: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, names.map((name) => `import "${name}";\n`).join(""));
    const { modules }: ModuleGraph = JSON.parse(
      await deno("info", "--json", "--config", "deno.json", script),
    );
    const graph = new Map(modules.map(({ specifier, dependencies }) => [specifier, dependencies]));
    const imports = graph.get(new URL(script, "file:").href) ?? [];
    assertEquals(imports.map(({ specifier }) => specifier), names);
    return new Map(imports.map(({ specifier, code }) => {
      const seen = new Set([code?.specifier ?? `unresolved ${specifier}`]);
      for (const file of seen) {
        for (const { code } of graph.get(file) ?? []) if (code?.specifier) seen.add(code.specifier);
      }
      return [specifier, [...seen].map((file) => file.replace(ROOT.href, ""))];
    }));
  } finally {
    await Deno.remove(script);
  }
}

Deno.test("packages: every driver and every device has a path, which loads no other", async () => {
  const rooms = { drivers: "drivers", emu: "emu/devices" };
  for (const [room, parent] of Object.entries(rooms)) {
    const folder = new RegExp(`^${parent}/(\\w+)/`);
    const folders = new Set(SOURCES.map(({ path }) => folder.exec(path)?.[1] ?? ""));
    // The drivers' names are those of the devices: other folders of that room are no drivers.
    const names = ["balloon", "blk", "caif", "console", "crypto", "gpu", "input", "net", "p9"]
      .concat("rng", "rpmsg", "rproc_serial", "scsi", "vsock");
    if (room === "emu") assertEquals([...folders].filter((name) => name !== "").sort(), names);
    const path = (name: string): string => `@vireo/${room}/${name.replace("_", "-")}`;
    const loaded = await loadedBy([...names.map(path), `@vireo/${room}/core`]);
    for (const name of [...names, "core"]) {
      const files = loaded.get(path(name))!;
      assert(name === "core" || files.includes(`${parent}/${name}/mod.ts`), `${files}`);
      assert(files.includes("hal/mod.ts"));
      const others = files.map((file) => folder.exec(file)?.[1] ?? "")
        .filter((other) => names.includes(other) && other !== name);
      assertEquals([path(name), [...new Set(others)]], [path(name), MADE_OF[name] ?? []]);
    }
  }
});

Deno.test("packages: what is published has each path's module, and no test, bench or stand-in of one", async () => {
  const out = await deno("publish", "--dry-run", "--allow-dirty", "--no-check");
  const files = [...out.matchAll(/file:\/\/(\S+) \(/g)].map(([, file]) =>
    `file://${file}`.replace(ROOT.href, "")
  );
  for (const module of packageModules().values()) assert(files.includes(module), module);
  for (const room of ["hal", "drivers", "emu", "firmware"]) {
    assert(files.includes(`${room}/README.md`), room);
  }
  const shipped = (file: string): boolean =>
    !/_(test|bench)\.ts$|test_util\.ts$|\/_?test_\w+\.ts$|\/testing\/fake_/.test(file);
  assertEquals(files.filter((file) => !shipped(file)), []);
  const left = SOURCES.map(({ path }) => path).filter((path) => !/^(tests|bench)\//.test(path));
  assertEquals(left.filter(shipped).filter((path) => !files.includes(path)), []);
});

Deno.test("packages: the documentation of each path begins with an example", () => {
  const without: string[] = [];
  for (const [name, file] of packageModules()) {
    // The paths of single files document their functions and classes.
    if (!/mod\.ts$|core\.ts$/.test(file) || name.startsWith("@vireo/examples")) continue;
    const text = Deno.readTextFileSync(new URL(file, ROOT));
    if (!/^\/\*\*.*? \* @example[^\n]*\n \* ```ts\n.*? \* @module\n \*\//s.test(text)) {
      without.push(name);
    }
  }
  assertEquals(without, []);
});
