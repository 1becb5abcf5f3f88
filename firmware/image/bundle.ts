import { Buffer } from "node:buffer";
import { PROJECT, toFileUrl } from "./paths.ts";
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
    return absoluteSources(await Deno.readTextFile(out), out);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const MAP_COMMENT = "//# sourceMappingURL=data:application/json;base64,";

/** Names the sources by absolute URLs: the bundle is read in another place than it was made in. */
function absoluteSources(text: string, path: string): string {
  const start = text.lastIndexOf(MAP_COMMENT);
  if (start === -1) return text;
  const encoded = text.slice(start + MAP_COMMENT.length).trim();
  const map: { sources: string[]; sourcesContent?: string[] } = JSON.parse(
    Buffer.from(encoded, "base64").toString(),
  );
  map.sources = map.sources.map((source) => new URL(source, toFileUrl(path)).href);
  // The sources' text is most of the bundle, and nothing in the guest shows it.
  delete map.sourcesContent;
  const json = Buffer.from(JSON.stringify(map)).toString("base64");
  return `${text.slice(0, start)}${MAP_COMMENT}${json}\n`;
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
