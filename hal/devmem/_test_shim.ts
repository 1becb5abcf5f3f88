import { assert } from "@std/assert";

/** The flags of firmware/image/shim.ts: warnings are errors. */
const FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"];

/** Compiles the shim into a directory and returns its path. */
export function compileShim(dir: string): string {
  const path = `${dir}/libvireo.so`;
  const source = new URL("./shim.c", import.meta.url).pathname;
  const { success, stderr } = new Deno.Command("gcc", { args: [...FLAGS, "-o", path, source] })
    .outputSync();
  assert(success, new TextDecoder().decode(stderr));
  return path;
}
