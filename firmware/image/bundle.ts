import { PROJECT, toFileUrl } from "./paths.ts";
import { exec } from "./exec.ts";
import { VireoError } from "@vireo/hal";
import { moduleMistake } from "../terminal/module_mistake.ts";
import { UsageError } from "../terminal/usage.ts";

/** A bundled program: its modules and their source maps, by name in one directory of the guest. */
export type Bundle = ReadonlyMap<string, string>;

/** How to bundle. */
export interface BundleOptions {
  /** Name of the first module, without `.js`; `program` by default. */
  readonly name?: string;
}

/**
 * Bundles a program and all it imports for the guest. What is imported when it is needed comes into
 * modules of its own, because a guest under TCG takes seconds to read all of it. The source maps are
 * files of their own for the same reason: Deno reads them when a stack trace has to name the lines of
 * the sources.
 *
 * @param entry Path of the program.
 * @throws {UsageError} If a source is wrong; the message has the place.
 * @throws {VireoError} `HOST_ERROR` If the bundler fails.
 */
export async function bundle(entry: string, options: BundleOptions = {}): Promise<Bundle> {
  const name = `${options.name ?? "program"}.js`;
  const dir = await Deno.makeTempDir({ prefix: "vireo-bundle-" });
  try {
    await run([
      Deno.execPath(),
      "bundle",
      "--quiet",
      "--config",
      `${PROJECT}/deno.json`,
      "--platform",
      "deno",
      "--code-splitting",
      "--sourcemap=linked",
      "--outdir",
      dir,
      entry,
    ]);
    const first = entry.replace(/^.*\//, "").replace(/\.\w+$/, ".js");
    const files = new Map<string, string>();
    for await (const { name: file } of Deno.readDir(dir)) {
      const text = await Deno.readTextFile(`${dir}/${file}`);
      if (file === first) files.set(name, text.replace(/(# sourceMappingURL=).*/, `$1${name}.map`));
      else if (file === `${first}.map`) files.set(`${name}.map`, placed(text, dir));
      else files.set(file, file.endsWith(".map") ? placed(text, dir) : text);
    }
    return files;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs the bundler. @throws {UsageError} If it finds fault with a source, as one line. */
async function run(command: readonly [string, ...string[]]): Promise<void> {
  try {
    await exec(command);
  } catch (error) {
    const text = error instanceof VireoError ? String(error.seen) : "";
    if (!/^ *at .*file:/m.test(text)) throw error;
    throw new UsageError(`Cannot bundle for the guest: ${moduleMistake(text)}`, { cause: error });
  }
}

/** A source map whose sources have absolute URLs: it is read in another place than it was made in. */
function placed(text: string, dir: string): string {
  const map: { sources: string[]; sourcesContent?: string[] } = JSON.parse(text);
  map.sources = map.sources.map((source) => new URL(source, toFileUrl(`${dir}/`)).href);
  // Nothing in the guest shows the sources' text.
  delete map.sourcesContent;
  return JSON.stringify(map);
}

/**
 * Bundles a program whose text was made, for example to import a user's script by its path.
 *
 * @param source TypeScript; imports use absolute `file:` URLs or the project's names.
 * @throws {VireoError} `HOST_ERROR` If the bundler finds fault.
 */
export async function bundleSource(source: string): Promise<Bundle> {
  // Inside the project, so that its import map applies.
  const dir = await Deno.makeTempDir({ prefix: "vireo-entry-" });
  try {
    await Deno.writeTextFile(`${dir}/entry.ts`, source);
    return await bundle(`${dir}/entry.ts`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
