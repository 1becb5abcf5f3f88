import { DatabaseSync } from "node:sqlite";
import type { Bundle } from "./bundle.ts";
import type { CpioEntry } from "./cpio.ts";
import { exec } from "./exec.ts";
import { kept } from "./_kept.ts";
import { toFileUrl } from "./paths.ts";

/** Where the guest's Deno keeps its caches. */
export const GUEST_DENO_DIR = "/vireo/deno";

/** Deno's own name for what it found out about modules: their imports, by URL and hash of the text. */
const ANALYSIS = "dep_analysis_cache_v2";

/**
 * Has the host's Deno find the imports of a bundle's modules, so that the guest's need not: under TCG the
 * parser takes 2 s on x86_64 and 5 s on aarch64. A guest whose Deno finds another version's file, or another
 * text's hash, parses by itself.
 *
 * @param program The bundle, which will be in `/vireo`.
 * @returns The cache, where the guest's Deno looks for it.
 * @throws {VireoError} `HOST_ERROR` If the host's Deno finds fault with a module.
 */
export async function moduleCache(program: Bundle): Promise<CpioEntry> {
  const modules = [...program].filter(([name]) => name.endsWith(".js"));
  const data = await kept([ANALYSIS, ...modules.flat()], () => analyse(modules));
  return { kind: "file", path: `${GUEST_DENO_DIR.slice(1)}/${ANALYSIS}`, data };
}

/** The bytes of the cache. */
async function analyse(
  modules: readonly (readonly [name: string, text: string])[],
): Promise<Uint8Array<ArrayBuffer>> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-modules-" });
  try {
    for (const [name, text] of modules) await Deno.writeTextFile(`${dir}/${name}`, text);
    const flags = ["--quiet", "--no-config", "--no-lock", "--no-remote"];
    const paths = modules.map(([name]) => `${dir}/${name}`);
    await exec([Deno.execPath(), "cache", ...flags, ...paths], {
      env: { DENO_DIR: `${dir}/deno` },
    });
    const path = `${dir}/deno/${ANALYSIS}`;
    move(path, toFileUrl(`${dir}/`), "file:///vireo/");
    return await Deno.readFile(path);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Says in a cache that the modules are in another directory. */
function move(path: string, from: string, to: string): void {
  using database = new DatabaseSync(path);
  database.prepare("UPDATE moduleinfocache SET specifier = replace(specifier, ?, ?)").run(from, to);
  // Everything in the one file: the guest gets no other.
  database.exec("PRAGMA journal_mode = DELETE");
}
