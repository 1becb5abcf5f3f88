import { PROJECT } from "./_paths.ts";
import { exec } from "./exec.ts";

/**
 * Bundles a program and all it imports into one module for the guest, with an inline source map, so
 * that a stack trace in the guest names the lines of the sources.
 *
 * @param entry Path of the program.
 * @returns The module's text.
 * @throws {VireoError} `HOST_ERROR` If the bundler finds fault; the message has its words.
 */
export async function bundle(entry: string): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-bundle-" });
  try {
    const out = `${dir}/program.js`;
    await exec([
      Deno.execPath(),
      "bundle",
      "--quiet",
      "--config",
      `${PROJECT}/deno.json`,
      "--platform",
      "deno",
      "--sourcemap=inline",
      "-o",
      out,
      entry,
    ]);
    return await Deno.readTextFile(out);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/**
 * Bundles a program whose text was made, for example to import a user's script by its path.
 *
 * @param source TypeScript; imports use absolute `file:` URLs or the project's names.
 * @throws {VireoError} `HOST_ERROR` If the bundler finds fault.
 */
export async function bundleSource(source: string): Promise<string> {
  // Inside the project, so that its import map applies.
  const dir = await Deno.makeTempDir({ prefix: "vireo-entry-" });
  try {
    await Deno.writeTextFile(`${dir}/entry.ts`, source);
    return await bundle(`${dir}/entry.ts`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
