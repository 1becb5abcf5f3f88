import { createHash } from "node:crypto";
import { CACHE } from "./paths.ts";

/** How many results are kept; those of one boot are three. */
const MOST = 36;

/**
 * Gets what was made before from the same things, or makes it and keeps it. A cache that cannot be read or written
 * to keeps nothing: it only saves time.
 *
 * @param from Everything that the result depends on.
 * @param make Makes it.
 * @param folder Where results are kept.
 */
export async function kept(
  from: readonly string[],
  make: () => Promise<Uint8Array<ArrayBuffer>>,
  folder = `${CACHE}/bundle`,
): Promise<Uint8Array<ArrayBuffer>> {
  const hash = createHash("sha256").update(Deno.version.deno);
  for (const part of from) hash.update(`\0${part.length}\0`).update(part);
  const path = `${folder}/${hash.digest("hex")}`;
  const now = new Date();
  try {
    const found = await Deno.readFile(path);
    await Deno.utime(path, now, now).catch(() => {});
    return found;
  } catch {
    // It is not there, or is somebody else's.
  }
  const made = await make();
  await keep(path, made, folder).catch(() => {});
  return made;
}

/** Whole or not at all, whoever else keeps the same now; what was used longest ago makes room. */
async function keep(path: string, bytes: Uint8Array, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const whole = await Deno.makeTempFile({ dir: folder });
  await Deno.writeFile(whole, bytes);
  await Deno.rename(whole, path);
  const files = [...Deno.readDirSync(folder)].map(({ name }) => {
    const file = `${folder}/${name}`;
    return { file, used: Deno.statSync(file).mtime!.getTime() };
  });
  files.sort((a, b) => b.used - a.used);
  for (const { file } of files.slice(MOST)) await Deno.remove(file);
}
