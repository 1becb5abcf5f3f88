import { VireoError } from "@vireo/hal";
import { requireProgram } from "@vireo/hal/host";
import { CACHE, cacheFolder, fromFileUrl } from "./paths.ts";
import { ARCH, type Arch } from "./arch.ts";
import { type Bundle, bundle } from "./bundle.ts";
import { cpio, type CpioEntry } from "./cpio.ts";
import { Debian, type DebianPackage } from "./debian.ts";
import { DENO_LOCK, DENO_TOOLS, denoBinary } from "./deno_binary.ts";
import { elfNeeds } from "./elf.ts";
import { C_SOURCES, compilerFor, compileShims } from "./shim.ts";

/** Debian packages that the libraries come from. */
const LIBRARY_PACKAGES = ["libc6", "libgcc-s1"] as const;

/** Changes when the layout of the image does, so that an older one is made again. */
const FORMAT = 3;

/** Exactly what an image has in it. */
export interface ImageManifest {
  /** Key of the inputs that the image was made from; the same inputs make the same key. */
  readonly key: string;
  /** The processor. */
  readonly arch: Arch;
  /** Version of Deno. */
  readonly deno: string;
  /** Debian packages, with their versions and hashes. */
  readonly packages: readonly Omit<DebianPackage, "root">[];
  /** Files of the initramfs and of the boot, with size in bytes and SHA-256. */
  readonly files: Readonly<Record<string, { readonly size: number; readonly sha256: string }>>;
}

/** A kernel and an initramfs, ready to boot; a program is added for each run. */
export interface GuestImage {
  /** Path of the kernel. */
  readonly kernel: string;
  /** Path of the initramfs: uncompressed, so that another archive may follow it. */
  readonly initramfs: string;
  /** Path of the manifest. */
  readonly manifestPath: string;
  /** Its contents. */
  readonly manifest: ImageManifest;
}

/** How to make an image. */
export interface ImageOptions {
  /** Where to keep it; the project's cache by default. */
  readonly cache?: string | undefined;
  /** Told what is being done, when something is. */
  readonly onProgress?: ((text: string) => void) | undefined;
  /** Ends the work. */
  readonly signal?: AbortSignal | undefined;
  /** Whether to ask the mirror for newer packages although the image is there. */
  readonly refresh?: boolean | undefined;
}

/**
 * Makes the guest image for a processor, or finds the one that was made before: Debian's kernel, the
 * pinned Deno, the libraries it needs, the shims and PID 1.
 *
 * @throws {VireoError} `HOST_ERROR` If something cannot be fetched or built; the message says what to
 * install.
 *
 * @example
 * ```ts
 * import { guestImage } from "@vireo/firmware/image";
 *
 * // Names the packages of Debian that are in a guest, with their versions.
 * export async function packages(): Promise<string[]> {
 *   const { manifest } = await guestImage("aarch64", { onProgress: console.log });
 *   return manifest.packages.map(({ name, version }) => `${name} ${version}`);
 * }
 * ```
 */
export async function guestImage(arch: Arch, options: ImageOptions = {}): Promise<GuestImage> {
  const dir = `${options.cache ?? CACHE}/guest/${arch}`;
  const image = {
    kernel: `${dir}/kernel`,
    initramfs: `${dir}/initramfs.cpio`,
    manifestPath: `${dir}/manifest.json`,
  };
  const key = await imageKey(arch);
  const find = async (): Promise<GuestImage | undefined> => {
    if (options.refresh === true) return undefined;
    const found = await readManifest(image.manifestPath);
    if (found?.key !== key || !await isWhole(image, found)) return undefined;
    return { ...image, manifest: found };
  };
  // Of another user's cache, an image that is there is as good.
  const there = await find();
  if (there !== undefined) return there;
  await cacheFolder(dir);
  using lock = await Deno.open(`${dir}/lock`, { create: true, write: true });
  // Two starts at the same time: one builds, the other finds what it made.
  await lock.lock(true);
  const made = await find();
  if (made !== undefined) return made;
  return { ...image, manifest: await build(arch, dir, key, options) };
}

async function build(
  arch: Arch,
  dir: string,
  key: string,
  options: ImageOptions,
): Promise<ImageManifest> {
  const say = options.onProgress ?? (() => {});
  const names = ARCH[arch];
  const files: Record<string, { size: number; sha256: string }> = {};
  const record = async (path: string, data: Uint8Array): Promise<void> => {
    files[path] = { size: data.length, sha256: await sha256(data) };
  };
  const foreign = arch === Deno.build.arch ? [] : DENO_TOOLS;
  for (const tool of ["apt-get", "apt-cache", "dpkg-deb", compilerFor(arch), ...foreign]) {
    requireProgram(tool);
  }
  // Before the downloads: a compiler without headers shows in a second.
  say(`${arch}: compiling the shims`);
  await compileShims(arch, `${dir}/lib`);
  say(`${arch}: looking up Debian's packages`);
  const debian = new Debian(dir, arch, options.signal);
  const kernelName = await debian.resolve(names.kernel);
  const packages: DebianPackage[] = [];
  for (const name of [kernelName, ...LIBRARY_PACKAGES]) {
    say(`${arch}: downloading ${name}`);
    packages.push(await debian.fetch(name));
  }
  say(`${arch}: installing Deno ${Deno.version.deno}`);
  const deno = await Deno.readFile(await denoBinary(arch, dir, options.signal));
  say(`${arch}: writing the initramfs`);
  const entries: CpioEntry[] = [
    { kind: "directory", path: "proc" },
    { kind: "directory", path: "sys" },
    { kind: "directory", path: "tmp" },
    { kind: "directory", path: "root" },
    { kind: "character", path: "dev/console", major: 5, minor: 1 },
    { kind: "file", path: "bin/deno", data: deno, executable: true },
    ...await libraries(deno, packages),
  ];
  for (const name of Object.keys(C_SOURCES)) {
    const data = await Deno.readFile(`${dir}/lib/${name}`);
    entries.push({ kind: "file", path: `vireo/${name}`, data, executable: true });
  }
  const init = fromFileUrl(new URL("../guest/init.ts", import.meta.url));
  entries.push(...bundleEntries(await bundle(init, { name: "init" })));
  for (const entry of entries) if (entry.kind === "file") await record(entry.path, entry.data);
  await writePieces(`${dir}/initramfs.cpio`, cpio(entries));
  const kernel = packages[0]!;
  const image = await readKernel(kernel);
  await record("kernel", image);
  await Deno.writeFile(`${dir}/kernel`, image);
  await record("initramfs.cpio", await Deno.readFile(`${dir}/initramfs.cpio`));
  const manifest: ImageManifest = {
    key,
    arch,
    deno: Deno.version.deno,
    packages: packages.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
    files,
  };
  // Last, and in one step: the image counts only when all of it is there.
  await Deno.writeTextFile(`${dir}/manifest.json.new`, JSON.stringify(manifest, null, 2));
  await Deno.rename(`${dir}/manifest.json.new`, `${dir}/manifest.json`);
  say(`${arch}: the image is ready`);
  return manifest;
}

/**
 * A bundle's files, where PID 1 finds them.
 *
 * @example
 * ```ts
 * import { bundleEntries } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * const [entry] = bundleEntries(new Map([["program.js", "await 1;\n"]]));
 * assertEquals(entry?.path, "vireo/program.js");
 * ```
 */
export function bundleEntries(files: Bundle): CpioEntry[] {
  return Array.from(files, ([name, text]) => {
    return { kind: "file", path: `vireo/${name}`, data: new TextEncoder().encode(text) };
  });
}

/** The loader and libraries that Deno needs, and those that these need, from Debian's packages. */
async function libraries(
  deno: Uint8Array,
  packages: readonly DebianPackage[],
): Promise<CpioEntry[]> {
  const { interpreter, libraries } = elfNeeds(deno, "deno");
  if (interpreter === undefined) throw new VireoError("HOST_ERROR", "Deno has no loader");
  const loader = interpreter.split("/").at(-1)!;
  const done = new Map<string, CpioEntry>();
  const todo = [loader, ...libraries];
  for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
    if (done.has(name)) continue;
    const data = await findLibrary(name, packages);
    const path = name === loader ? interpreter.slice(1) : `lib/${name}`;
    done.set(name, { kind: "file", path, data, executable: true });
    todo.push(...elfNeeds(data, name).libraries);
  }
  return [...done.values()];
}

async function findLibrary(
  name: string,
  packages: readonly DebianPackage[],
): Promise<Uint8Array> {
  for (const { root } of packages) {
    for (const dir of ["lib", "usr/lib", "lib64"]) {
      for (const sub of ["", "x86_64-linux-gnu/", "aarch64-linux-gnu/"]) {
        try {
          return await Deno.readFile(`${root}/${dir}/${sub}${name}`);
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
    }
  }
  throw new VireoError("HOST_ERROR", "No package has this library", {
    device: name,
    expected: packages.map((known) => known.name).join(", "),
  });
}

async function readKernel({ name, root }: DebianPackage): Promise<Uint8Array> {
  for (const { name: file } of Deno.readDirSync(`${root}/boot`)) {
    if (file.startsWith("vmlinuz-")) return await Deno.readFile(`${root}/boot/${file}`);
  }
  throw new VireoError("HOST_ERROR", "The kernel package has no kernel", { device: name });
}

/** A hash over everything that is ours: a newer kernel alone does not make an image stale. */
async function imageKey(arch: Arch): Promise<string> {
  // The first process, and what it imports.
  const init = ["../guest/init.ts", "../terminal/uncaught.ts"]
    .map((path) => fromFileUrl(new URL(path, import.meta.url)));
  const sources = [...Object.values(C_SOURCES), ...init, DENO_LOCK];
  const hashes = await Promise.all(sources.map(async (path) => sha256(await Deno.readFile(path))));
  const text = JSON.stringify([FORMAT, arch, Deno.version.deno, ...hashes]);
  return await sha256(new TextEncoder().encode(text));
}

async function isWhole(
  image: { readonly kernel: string; readonly initramfs: string },
  manifest: ImageManifest,
): Promise<boolean> {
  for (const [path, name] of [[image.kernel, "kernel"], [image.initramfs, "initramfs.cpio"]]) {
    const size = (await Deno.stat(path!).catch(() => undefined))?.size;
    if (size === undefined || size !== manifest.files[name!]?.size) return false;
  }
  return true;
}

async function readManifest(path: string): Promise<ImageManifest | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Writes pieces one after the other into a new file, or behind what is in it.
 *
 * @example
 * ```ts
 * import { writePieces } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * await writePieces(path, [Uint8Array.of(1, 2)]);
 * await writePieces(path, [Uint8Array.of(3)], { append: true });
 * assertEquals([...await Deno.readFile(path)], [1, 2, 3]);
 * await Deno.remove(path);
 * ```
 */
export async function writePieces(
  path: string,
  pieces: readonly Uint8Array[],
  { append = false }: { readonly append?: boolean } = {},
): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true, append, truncate: !append });
  for (const piece of pieces) {
    for (let done = 0; done < piece.length;) done += await file.write(piece.subarray(done));
  }
}

async function sha256(data: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
