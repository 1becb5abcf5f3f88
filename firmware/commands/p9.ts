import { p9Driver, type P9Entry, P9Error, type P9Stat, type P9Tree } from "@vireo/drivers/p9";
import { VireoError } from "@vireo/hal";
import { inGuest } from "../terminal/environment.ts";
import { keepJsonApart, openInput, writeOutput } from "../terminal/files.ts";
import { UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

async function attach(vireo: Vireo): Promise<P9Tree> {
  return await vireo.get(p9Driver).attach({ signal: vireo.signal });
}

/** Words for the refusals that people meet. */
const WORDS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  ENOTDIR: "not a folder",
  EISDIR: "a folder",
  EBADF: "not a file that can be read",
  EACCES: "no permission",
  EROFS: "read-only",
};

/** Names the file in the server's refusal, which knows messages only. */
function about(what: string, path: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof P9Error)) throw error;
    const { code, errnoName } = error;
    const words = WORDS[errnoName];
    const seen = words === undefined ? errnoName : `${errnoName} (${words})`;
    throw new VireoError(code, `Cannot ${what} '${path}'`, { seen });
  };
}

const LETTERS = { directory: "d", symlink: "l", file: "-", other: "?" } as const;

/** A line as `ls -l` has it, without owners. */
function line({ name, kind }: P9Entry, { mode, size, mtime }: P9Stat): string {
  const bits = [0o400, 0o200, 0o100, 0o40, 0o20, 0o10, 4, 2, 1]
    .map((bit, i) => (mode & bit) === 0 ? "-" : "rwx"[i % 3]).join("");
  const time = mtime.toISOString().slice(0, 16).replace("T", " ");
  const slash = kind === "directory" ? "/" : "";
  return `${LETTERS[kind]}${bits} ${String(size).padStart(10)} ${time} ${name}${slash}`;
}

/** The whole of standard input, or of a file. */
async function readSource(path: string | undefined): Promise<Uint8Array> {
  // The stream closes the file.
  const source = path === undefined ? Deno.stdin : await openInput(path);
  return new Uint8Array(await new Response(source.readable).arrayBuffer());
}

/** `vireo 9p ls`. */
export async function ls(vireo: Vireo, path: string, flags: JsonFlag): Promise<void> {
  const options = { signal: vireo.signal };
  await using tree = await attach(vireo);
  const listed = await tree.list(path, options).catch(about("list", path));
  listed.sort((a, b) => a.name < b.name ? -1 : 1);
  const stats = await Promise.all(
    listed.map(({ name }) => tree.lstat(`${path}/${name}`, options)),
  );
  if (flags.json) {
    const entries = listed.map(({ name, kind }, i) => {
      const { size, mode, uid, gid, mtime } = stats[i]!;
      return { name, kind, size, mode, uid, gid, mtime };
    });
    return console.log(JSON.stringify(entries));
  }
  for (const [i, entry] of listed.entries()) console.log(line(entry, stats[i]!));
}

/** `vireo 9p cat`. */
export async function cat(
  vireo: Vireo,
  path: string,
  flags: JsonFlag & { readonly output?: string },
): Promise<void> {
  keepJsonApart(flags, "bytes");
  await using tree = await attach(vireo);
  const bytes = await tree.readFile(path, { signal: vireo.signal }).catch(about("read", path));
  await writeOutput(flags.output, bytes);
  if (flags.json) console.log(JSON.stringify({ path, bytes: bytes.length }));
}

/** `vireo 9p put`. */
export async function put(
  vireo: Vireo,
  path: string,
  file: string | undefined,
  flags: JsonFlag & { readonly input?: string },
): Promise<void> {
  // JSON has brought the arguments to a guest: what is missing is null.
  if (typeof file === "string" && inGuest()) {
    throw new UsageError(`9p put: a guest has no '${file}', give it with -i`);
  }
  const bytes = await readSource(flags.input ?? file ?? undefined);
  await using tree = await attach(vireo);
  await tree.writeFile(path, bytes, { signal: vireo.signal }).catch(about("write", path));
  if (flags.json) console.log(JSON.stringify({ path, bytes: bytes.length }));
  else console.log(`${bytes.length} bytes to ${path}`);
}
