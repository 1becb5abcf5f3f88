import { assert } from "@std/assert";

/** Which rooms' packages each room may import; ARCHITECTURE.md draws the arrows. */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  hal: [],
  drivers: ["hal"],
  emu: ["hal"],
  firmware: ["hal", "drivers", "emu"],
  examples: ["hal", "drivers", "emu", "firmware"],
  bench: ["hal", "drivers", "emu", "firmware"],
  tests: ["hal", "drivers", "emu", "firmware", "examples"],
};

const ROOT = new URL("../../", import.meta.url);

/** A module that a source file refers to. */
export interface Import {
  /** The specifier, as it is written. */
  readonly name: string;
  /** Whether only types come from it, so that nothing is loaded at run time. */
  readonly typeOnly: boolean;
  /** Whether it is a `new URL(...)` of a module, which another program or a worker loads. */
  readonly url: boolean;
}

/** A source file of a room: its path from the root, and what it imports. */
interface Source {
  readonly room: string;
  readonly path: string;
  readonly imports: readonly Import[];
}

const COMMENT = /^\s*(?:\/\*\*|\*|\/\/).*$/gm;
const STATEMENT = /^[ \t]*(?:import|export)\b([^;"'`]*?)\bfrom\s*"([^"]+)"/gm;
const BARE = /^[ \t]*import\s*"([^"]+)"/gm;
const DYNAMIC = /(typeof\s+)?\bimport\(\s*"([^"]+)"\s*\)/g;
const WORKER = /\bnew URL\(\s*"(\.[^"]*\.ts)"/g;

/** Whether a clause as `type { A }` or `{ type A, type B }` names types only. */
function namesTypesOnly(clause: string): boolean {
  if (/^\s*type\b/.test(clause)) return true;
  const names = /^\s*\{([^}]*)\}\s*$/.exec(clause)?.[1]?.split(",").map((name) => name.trim())
    .filter((name) => name !== "") ?? [];
  return names.length > 0 && names.every((name) => name.startsWith("type "));
}

/** The text of a source file without its comments. */
export function codeOf({ path }: Pick<Source, "path">): string {
  return Deno.readTextFileSync(new URL(path, ROOT)).replace(COMMENT, "");
}

/** The imports of a text; JSDoc examples are comments and so not looked at. */
export function importsOf(text: string): Import[] {
  const code = text.replace(COMMENT, "");
  return [
    ...code.matchAll(STATEMENT).map(([, clause, name]) => ({
      name: name!,
      typeOnly: namesTypesOnly(clause!),
      url: false,
    })),
    ...code.matchAll(BARE).map(([, name]) => ({ name: name!, typeOnly: false, url: false })),
    ...code.matchAll(DYNAMIC).map(([, type, name]) => ({
      name: name!,
      typeOnly: type !== undefined,
      url: false,
    })),
    ...code.matchAll(WORKER).map(([, name]) => ({ name: name!, typeOnly: false, url: true })),
  ];
}

function* walk(directory: URL): Generator<URL> {
  for (const entry of Deno.readDirSync(directory)) {
    const at = new URL(entry.isDirectory ? `${entry.name}/` : entry.name, directory);
    if (entry.isDirectory) yield* walk(at);
    else if (entry.name.endsWith(".ts")) yield at;
  }
}

function relative(url: URL): string {
  return url.href.slice(ROOT.href.length).replace(/\?.*$/, "");
}

/** All source files of all rooms. */
export const SOURCES: readonly Source[] = Object.keys(ARROWS).flatMap((room) => {
  const found = [...walk(new URL(`${room}/`, ROOT))].map((url) => ({
    room,
    path: relative(url),
    imports: importsOf(Deno.readTextFileSync(url)),
  }));
  assert(found.length > 0, `No source in ${room}/`);
  return found;
});

/** The path from the root that a relative specifier in a file names. */
export function targetOf(path: string, name: string): string {
  return relative(new URL(name, new URL(path, ROOT)));
}

/** Maps a package's specifiers to files, by its `deno.json`. */
export function packageModules(): ReadonlyMap<string, string> {
  const modules = new Map<string, string>();
  for (const room of Object.keys(ARROWS)) {
    const config = new URL(`${room}/deno.json`, ROOT);
    // Two rooms are no packages: nobody imports them.
    if (room === "bench" || room === "tests") continue;
    const { name, exports } = JSON.parse(Deno.readTextFileSync(config));
    for (const [key, file] of Object.entries(exports as Record<string, string>)) {
      modules.set(`${name}${key.slice(1)}`, relative(new URL(file, config)));
    }
  }
  return modules;
}

/** Texts of files by their paths. */
export type Code = ReadonlyMap<string, string>;

/** Finds the exports that a file declares; the first group is the name. */
export const DECLARED: RegExp =
  /^export (?:async |abstract )?(?:const|let|function\*?|class|interface|type) (\w+)/gm;
/** Finds the exports that a file takes from another: `type` or nothing, `*` or names, and the module. */
export const REEXPORT: RegExp = /^export (type )?(\*|\{[^}]*\}) from "([^"]+)"/gm;

/**
 * The names that a module publishes, as `file:name`.
 *
 * @param values Whether to leave out what is published as a type only.
 */
export function publishedBy(
  file: string,
  code: Code,
  modules: ReadonlyMap<string, string>,
  { names, values = false }: { readonly names?: readonly string[]; readonly values?: boolean } = {},
): string[] {
  const text = code.get(file) ?? "";
  const own = [...text.matchAll(DECLARED)].map(([, name]) => name!);
  const found = own.filter((name) => names?.includes(name) ?? true).map((name) =>
    `${file}:${name}`
  );
  for (const [, type, what, from] of text.matchAll(REEXPORT)) {
    if (values && type !== undefined) continue;
    const target = from!.startsWith(".") ? targetOf(file, from!) : modules.get(from!) ?? "";
    const list = what === "*" ? names : what!.slice(1, -1).split(",").map((name) => name.trim())
      .filter((name) => !values || !name.startsWith("type "))
      .map((name) => name.replace(/^type | as .*$/g, ""));
    found.push(...publishedBy(target, code, modules, { ...list && { names: list }, values }));
  }
  return found;
}
