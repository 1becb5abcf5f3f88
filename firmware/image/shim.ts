import { CACHE, fromFileUrl } from "./paths.ts";
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
 * Compiles the C sources for a processor.
 *
 * @param arch The processor.
 * @param dir Where the libraries go.
 * @throws {VireoError} `HOST_ERROR` If the compiler is missing or finds fault.
 */
export async function compileShims(arch: Arch, dir: string): Promise<void> {
  const native = Deno.build.arch === arch;
  const compiler = native ? "gcc" : ARCH[arch].compiler;
  const install = `apt install ${native ? "gcc" : ARCH[arch].compilerPackage}`;
  await Deno.mkdir(dir, { recursive: true });
  for (const [name, source] of Object.entries(C_SOURCES)) {
    await exec([compiler, ...FLAGS, "-o", `${dir}/${name}`, source], { install });
  }
}

/**
 * The register shim for this machine, compiled when it is missing or older than its source.
 *
 * @returns Its path.
 * @throws {VireoError} `HOST_ERROR` If the compiler is missing or finds fault.
 */
export async function hostShim(): Promise<string> {
  const dir = `${CACHE}/shim/${Deno.build.arch}`;
  const path = `${dir}/libvireo.so`;
  const made = (await Deno.stat(path).catch(() => undefined))?.mtime;
  const changed = (await Deno.stat(C_SOURCES["libvireo.so"])).mtime;
  if (!made || !changed || made < changed) await compileShims(Deno.build.arch, dir);
  return path;
}
