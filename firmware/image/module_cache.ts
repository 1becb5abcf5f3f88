import { DatabaseSync } from "node:sqlite";
import type { Arch } from "./arch.ts";
import type { Bundle } from "./bundle.ts";
import type { CpioEntry } from "./cpio.ts";
import { exec } from "./exec.ts";
import { kept } from "./_kept.ts";
import { toFileUrl } from "./paths.ts";

/** Where the guest's Deno keeps its caches. */
export const GUEST_DENO_DIR = "/vireo/deno";

/** Deno's own name for what it found out about modules: their imports, by URL and hash of the text. */
const ANALYSIS = "dep_analysis_cache_v2";

/** Its name for what V8 compiled them to, by the same. Deno's own modules that no snapshot has are there too. */
const CODE = "v8_code_cache_v2";

/** The tables of these databases. */
const TABLES = { [ANALYSIS]: "moduleinfocache", [CODE]: "codecache" } as const;

type CacheName = keyof typeof TABLES;

/**
 * V8's flags for those who make a cache and those who use it, which must be the same. V8 else compiles a function
 * when it is called first, so that the cache has hardly more than the names of most.
 */
export const CODE_FLAGS = "--no-lazy";

/** The error that ends the run of all modules. */
const STOP = "vireo: all is compiled";

/**
 * Whether a guest's V8 takes what the host's compiled: another processor's refuses it, by the values of flags.
 *
 * @param arch The guest's processor.
 *
 * @example
 * ```ts
 * import { takesCode } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(takesCode("aarch64"), Deno.build.arch === "aarch64");
 * ```
 */
export function takesCode(arch: Arch): boolean {
  return arch === Deno.build.arch;
}

/**
 * Has the host's Deno find the imports of a bundle's modules and compile them, so that the guest's need not: under
 * TCG its parser takes 2 s on x86_64 and 5 s on aarch64, and V8 one and a half on x86_64. A guest whose Deno finds
 * another version's file, or another text's hash, does it by itself.
 *
 * @param program The bundle, which will be in `/vireo`.
 * @param arch The guest's processor.
 * @returns The caches, where the guest's Deno looks for them.
 * @throws {VireoError} `HOST_ERROR` If the host's Deno finds fault with a module.
 */
export async function moduleCaches(program: Bundle, arch: Arch): Promise<CpioEntry[]> {
  const modules = [...program].filter(([name]) => name.endsWith(".js"));
  let made: Promise<ReadonlyMap<CacheName, Uint8Array<ArrayBuffer>>> | undefined;
  const names = [ANALYSIS, ...takesCode(arch) ? [CODE] as const : []] as const;
  return await Promise.all(names.map(async (name): Promise<CpioEntry> => {
    const data = await kept([name, CODE_FLAGS, ...modules.flat()], async () => {
      return (await (made ??= compile(modules))).get(name)!;
    });
    return { kind: "file", path: `${GUEST_DENO_DIR.slice(1)}/${name}`, data };
  }));
}

/** The bytes of each cache. */
async function compile(
  modules: readonly (readonly [name: string, text: string])[],
): Promise<ReadonlyMap<CacheName, Uint8Array<ArrayBuffer>>> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-modules-" });
  try {
    await Deno.mkdir(`${dir}/vireo`);
    for (const [name, text] of modules) await Deno.writeTextFile(`${dir}/vireo/${name}`, text);
    // The first import is evaluated first, once all are compiled: by its error no other module is evaluated.
    await Deno.writeTextFile(`${dir}/stop.js`, `throw new Error(${JSON.stringify(STOP)});\n`);
    const imports = ["stop.js", ...modules.map(([name]) => `vireo/${name}`)]
      .map((path) => `import ${JSON.stringify(`./${path}`)};\n`);
    await Deno.writeTextFile(`${dir}/all.js`, imports.join(""));
    const flags = ["--quiet", "--no-config", "--no-lock", "--no-remote"];
    const options = { env: { DENO_DIR: `${dir}/deno`, DENO_V8_FLAGS: CODE_FLAGS } };
    try {
      await exec([Deno.execPath(), "run", "--no-prompt", ...flags, `${dir}/all.js`], options);
    } catch (error) {
      // A module that cannot be linked fails in the guest, where its place in the sources is told.
      if (!String(error).includes(STOP)) {
        const paths = modules.map(([name]) => `${dir}/vireo/${name}`);
        await exec([Deno.execPath(), "cache", ...flags, ...paths], options);
      }
    }
    const caches = new Map<CacheName, Uint8Array<ArrayBuffer>>();
    for (const name of [ANALYSIS, CODE] as const) {
      const path = `${dir}/deno/${name}`;
      move(path, TABLES[name], toFileUrl(dir));
      caches.set(name, await Deno.readFile(path));
    }
    return caches;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Says in a cache that the modules are in the guest's directory, and forgets those that were made for the run. */
function move(path: string, table: string, dir: string): void {
  using database = new DatabaseSync(path);
  const forget = database.prepare(`DELETE FROM ${table} WHERE specifier = ?`);
  for (const name of ["all.js", "stop.js"]) forget.run(`${dir}/${name}`);
  database.prepare(`UPDATE ${table} SET specifier = replace(specifier, ?, ?)`)
    .run(`${dir}/vireo/`, "file:///vireo/");
  // Everything in the one file: the guest gets no other.
  database.exec("PRAGMA journal_mode = DELETE");
}
