import type { CpioEntry, GuestImage } from "@vireo/firmware/image";
import { requireProgram } from "@vireo/hal/host";

const text = new TextDecoder("latin1");

/**
 * The kernel modules that Linux needs for some of them, each after those it depends on.
 *
 * @param root The unpacked package of the kernel.
 * @param names Modules by their names, with `_` or `-`; one that the kernel has built in is left out.
 * @returns Paths below the folder of the kernel's release, without `.xz`.
 */
export async function modulesFor(root: string, names: readonly string[]): Promise<string[]> {
  const files = new Map<string, string>();
  let base = "";
  const walk = (folder: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory) walk(`${folder}/${name}`);
      else if (/\.ko(\.xz)?$/.test(name)) files.set(canonical(name), `${folder}/${name}`);
    }
  };
  for (const modules of [`${root}/lib/modules`, `${root}/usr/lib/modules`]) {
    if (!exists(modules)) continue;
    for (const { name } of Deno.readDirSync(modules)) walk(base = `${modules}/${name}`);
  }
  const found: string[] = [];
  const add = async (name: string): Promise<void> => {
    const file = files.get(canonical(name));
    const path = file?.slice(base.length + 1).replace(/\.xz$/, "");
    if (file === undefined || path === undefined || found.includes(path)) return;
    const dependencies = /\0depends=([^\0]*)\0/.exec(text.decode(await readModule(file)))?.[1];
    for (const one of dependencies?.split(",") ?? []) if (one !== "") await add(one);
    found.push(path);
  };
  for (const name of names) await add(name);
  return found;
}

/** Modules of another kernel than a guest image's, unpacked, where a guest looks for its own. */
export async function moduleFiles(
  root: string,
  paths: readonly string[],
): Promise<CpioEntry[]> {
  const folder = [`${root}/lib/modules`, `${root}/usr/lib/modules`].find(exists)!;
  const [release] = [...Deno.readDirSync(folder)].map(({ name }) => name);
  return await Promise.all(paths.map(async (path): Promise<CpioEntry> => {
    const file = `${folder}/${release}/${path}`;
    const packed = !(await Deno.stat(file).then(() => true, () => false));
    const data = (await readModule(packed ? `${file}.xz` : file)).slice();
    return { kind: "file", path: `vireo/${path.replace(/.*\//, "")}`, data };
  }));
}

async function readModule(file: string): Promise<Uint8Array> {
  if (!file.endsWith(".xz")) return await Deno.readFile(file);
  const xz = new Deno.Command("xz", { args: ["--decompress", "--stdout", file] });
  return (await xz.output()).stdout;
}

/**
 * Programs of this machine with the libraries that they load, for the initramfs of a guest. The guest has
 * the C library of the same release.
 *
 * @throws {VireoError} `HOST_ERROR` If a program is not installed.
 */
export function programsOfHost(names: readonly string[]): Promise<CpioEntry[]> {
  return programFiles(names.map((name) => requireProgram(name)));
}

/**
 * Programs with the libraries that they load, for the initramfs of a guest.
 *
 * @param paths The programs.
 * @param libraries Folders of libraries that are not this machine's, with colons between them.
 */
export async function programFiles(
  paths: readonly string[],
  libraries?: string,
): Promise<CpioEntry[]> {
  const entries = new Map<string, CpioEntry>();
  const env = libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries };
  for (const program of paths) {
    const ldd = await new Deno.Command("ldd", { args: [program], env, stderr: "null" }).output();
    const loaded = new TextDecoder().decode(ldd.stdout).matchAll(/(?:=> )?(\/\S+) \(0x/g);
    for (const file of [...loaded].map(([, path]) => path!)) {
      // What the guest's own Deno loads is there already.
      if (/\/(ld-linux|libc\.so|libm\.so|libdl\.so|libpthread\.so)/.test(file)) continue;
      await put(file.replace(/^.*\//, "lib/x86_64-linux-gnu/"), file);
    }
    await put(program.replace(/^.*\//, "bin/"), program);
  }
  async function put(path: string, file: string): Promise<void> {
    if (entries.has(path)) return;
    entries.set(path, { kind: "file", path, data: await Deno.readFile(file), executable: true });
  }
  return [...entries.values()];
}

/** The unpacked package of a guest image's kernel. */
export function kernelRoot({ kernel, manifest }: GuestImage): string {
  return `${kernel.replace(/\/[^/]*$/, "")}/unpacked/${manifest.packages[0]!.name}`;
}

function canonical(file: string): string {
  return file.replace(/\.ko(\.xz)?$/, "").replaceAll("-", "_");
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
