import { VireoError } from "@vireo/hal";
import { requireProgram } from "@vireo/hal/host";
import { CACHE, cacheFolder, fromFileUrl } from "./paths.ts";
import { ARCH, type Arch } from "./arch.ts";
import { exec } from "./exec.ts";

/** Warnings are errors, on both processors. */
const FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread"];

/** The C sources: the register shim, and what PID 1 needs. */
export const C_SOURCES: Readonly<Record<"libvireo.so" | "libguest.so", string>> = {
  "libvireo.so": fromFileUrl(new URL("../../hal/devmem/shim.c", import.meta.url)),
  "libguest.so": fromFileUrl(new URL("./guest.c", import.meta.url)),
};

/**
 * The C compiler for a processor.
 *
 * @example
 * ```ts
 * import { compilerFor } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(compilerFor(Deno.build.arch), "gcc");
 * ```
 */
export function compilerFor(arch: Arch): string {
  return arch === Deno.build.arch ? "gcc" : ARCH[arch].compiler;
}

/**
 * Compiles the C sources for a processor.
 *
 * @param arch The processor.
 * @param dir Where the libraries go.
 * @throws {VireoError} `HOST_ERROR` If the compiler or the C library's headers are missing, or the compiler
 * finds fault.
 */
export async function compileShims(arch: Arch, dir: string): Promise<void> {
  const compiler = requireProgram(compilerFor(arch));
  await cacheFolder(dir);
  for (const [name, source] of Object.entries(C_SOURCES)) {
    try {
      await exec([compiler, ...FLAGS, "-o", `${dir}/${name}`, source]);
    } catch (error) {
      throw headersMissing(error, arch) ?? error;
    }
  }
}

/** A compiler comes without the C library's headers where recommended packages are not installed. */
function headersMissing(error: unknown, arch: Arch): VireoError | undefined {
  if (!(error instanceof VireoError)) return undefined;
  const header = /fatal error: (\S+\.h): No such file/.exec(error.message)?.[1];
  if (header === undefined) return undefined;
  const cross = arch === Deno.build.arch ? "" : `-${ARCH[arch].debian}-cross`;
  const what = `Cannot compile C for ${arch}: there is no ${header}; it is in Debian's package ` +
    `libc6-dev${cross}`;
  return new VireoError("HOST_ERROR", what, { cause: error });
}

/**
 * The register shim for this machine, compiled when it is missing or older than its source.
 *
 * @returns Its path.
 * @throws {VireoError} `HOST_ERROR` If the compiler is missing or finds fault.
 *
 * @example
 * ```ts
 * import { hostShim } from "@vireo/firmware/image";
 * import { DevmemPlatform } from "@vireo/hal/devmem";
 *
 * // Opens the hardware of this machine with a shim that was compiled here; it needs root.
 * export async function hardware(): Promise<DevmemPlatform> {
 *   return DevmemPlatform.open({ shim: await hostShim() });
 * }
 * ```
 */
export async function hostShim(): Promise<string> {
  const dir = `${CACHE}/shim/${Deno.build.arch}`;
  const path = `${dir}/libvireo.so`;
  const made = (await Deno.stat(path).catch(() => undefined))?.mtime;
  const changed = (await Deno.stat(C_SOURCES["libvireo.so"])).mtime;
  if (!made || !changed || made < changed) await compileShims(Deno.build.arch, dir);
  return path;
}
