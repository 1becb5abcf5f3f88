import { fromFileUrl, PROJECT, toFileUrl } from "./paths.ts";
import { exec } from "./exec.ts";
import { kept } from "./_kept.ts";
import { VireoError } from "@vireo/hal";
import { moduleMistake } from "../terminal/module_mistake.ts";
import { UsageError } from "../terminal/usage.ts";

/** A bundled program: its modules and their source maps, by name in one directory of the guest. */
export type Bundle = ReadonlyMap<string, string>;

/** How to bundle. */
export interface BundleOptions {
  /** Name of the first module, without `.js`; `program` by default. */
  readonly name?: string;
  /** Folder where bundles are kept, for the next time that the same sources are bundled; below `.cache` by default. */
  readonly kept?: string;
}

/** How to bundle a program that has no file. */
export interface BundleSourceOptions {
  /**
   * Names of modules that a REPL in the guest may import, as the project's programs name them; none by default. The
   * bundle has an import map with them, {@linkcode IMPORT_MAP}.
   */
  readonly modules?: readonly string[];
}

/** Name of the bundle's file that says where the modules are that a REPL may import. */
export const IMPORT_MAP = "imports.json";

/**
 * The modules that the project's packages publish, for {@linkcode BundleSourceOptions.modules}.
 *
 * @returns Their names, such as `@vireo/drivers/blk`.
 *
 * @example
 * ```ts
 * import { publishedModules } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals((await publishedModules()).includes("@vireo/drivers/blk"), true);
 * ```
 */
export async function publishedModules(): Promise<string[]> {
  const packages = await Promise.all(["hal", "drivers", "emu", "firmware"].map(async (room) => {
    const text = await Deno.readTextFile(`${PROJECT}/${room}/deno.json`);
    const { name, exports }: { name: string; exports: Record<string, string> } = JSON.parse(text);
    return Object.keys(exports).map((path) => name + path.slice(1));
  }));
  return packages.flat();
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
 *
 * @example
 * ```ts
 * import { bundle } from "@vireo/firmware/image";
 *
 * // Bundles a script for a guest, and names the files.
 * export async function filesOf(path: string): Promise<string[]> {
 *   return [...(await bundle(path)).keys()];
 * }
 * ```
 */
export async function bundle(entry: string, options: BundleOptions = {}): Promise<Bundle> {
  return await bundleFiles([entry], options);
}

/** Bundles modules of one folder, which share what they import; the first one is the program. */
async function bundleFiles(
  entries: readonly [string, ...string[]],
  options: BundleOptions = {},
): Promise<Map<string, string>> {
  const name = `${options.name ?? "program"}.js`;
  const made = async (): Promise<[string, string][]> => [...await makeBundle(entries, name)];
  const sources = await sourcesOf(entries);
  if (sources === undefined) return new Map(await made());
  const bytes = await kept(
    [name, ...sources],
    async () => new TextEncoder().encode(JSON.stringify(await made())),
    options.kept,
  );
  return new Map<string, string>(JSON.parse(new TextDecoder().decode(bytes)));
}

/** A program's modules, as `deno info` prints them. */
interface ModuleGraph {
  readonly modules: readonly {
    readonly kind?: string;
    readonly specifier: string;
    readonly local?: string;
    readonly error?: string;
  }[];
  readonly npmPackages?: Readonly<Record<string, unknown>>;
}

/**
 * Everything that a bundle is made from: names and texts of modules, and the packages with their versions.
 *
 * @returns Nothing if a module is not there: the bundler says so in its own words.
 */
async function sourcesOf(entries: readonly string[]): Promise<string[] | undefined> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-graph-" });
  try {
    const all = `${dir}/all.ts`;
    const imports = entries.map((path) => `import ${JSON.stringify(toFileUrl(path))};\n`);
    await Deno.writeTextFile(all, imports.join(""));
    const config = ["--config", `${PROJECT}/deno.json`];
    const text = await exec([Deno.execPath(), "info", "--quiet", "--json", ...config, all]);
    const { modules, npmPackages = {} }: ModuleGraph = JSON.parse(text);
    // An entry may be in a folder that was made for it: its place says nothing.
    const places = new Map(entries.map((path, i) => [toFileUrl(path), `entry ${i}`]));
    const sources = [await Deno.readTextFile(`${PROJECT}/deno.json`), ...Object.keys(npmPackages)];
    for (const { kind, specifier, local, error } of modules) {
      if (specifier === toFileUrl(all)) continue;
      if (error !== undefined) return undefined;
      sources.push(places.get(specifier) ?? specifier);
      if (kind !== "node" && kind !== "npm") {
        sources.push(await Deno.readTextFile(local ?? fromFileUrl(new URL(specifier))));
      }
    }
    return sources;
  } catch {
    return undefined;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** @param name The first module's name in the bundle. */
async function makeBundle(
  [entry, ...more]: readonly [string, ...string[]],
  name: string,
): Promise<Map<string, string>> {
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
      ...more,
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
 *
 * @example
 * ```ts
 * import { bundleSource } from "@vireo/firmware/image";
 *
 * // Bundles a program that imports a script by its path and runs its main function.
 * export async function runnerOf(script: URL): Promise<ReadonlyMap<string, string>> {
 *   return await bundleSource(`import main from ${JSON.stringify(script.href)};\nawait main();\n`);
 * }
 * ```
 */
export async function bundleSource(
  source: string,
  options: BundleSourceOptions = {},
): Promise<Bundle> {
  // Inside the project, so that its import map applies.
  const dir = await Deno.makeTempDir({ prefix: "vireo-entry-" });
  try {
    await Deno.writeTextFile(`${dir}/entry.ts`, source);
    const names = (options.modules ?? []).map((module, i) => [module, `module_${i}`] as const);
    for (const [module, name] of names) {
      await Deno.writeTextFile(`${dir}/${name}.ts`, `export * from ${JSON.stringify(module)};\n`);
    }
    const files = await bundleFiles([
      `${dir}/entry.ts`,
      ...names.map(([, name]) => `${dir}/${name}.ts`),
    ]);
    if (names.length > 0) {
      const imports = names.map(([module, name]) => [module, `./${name}.js`]);
      files.set(IMPORT_MAP, JSON.stringify({ imports: Object.fromEntries(imports) }));
    }
    return files;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
