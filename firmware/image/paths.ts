import { VireoError } from "@vireo/hal";
import { accessSync, constants } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The path of a `file:` URL. */
export function fromFileUrl(url: URL): string {
  return fileURLToPath(url);
}

/** The `file:` URL of a path. */
export function toFileUrl(path: string): string {
  return pathToFileURL(path).href;
}

/** The project's root, without a trailing slash. */
export const PROJECT: string = fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Where everything goes that can be made again. */
export const CACHE: string = Deno.env.get("VIREO_CACHE") || `${PROJECT}/.cache`;

/**
 * Makes a folder of the cache.
 *
 * @param path The folder.
 * @throws {VireoError} `HOST_ERROR` If this user may not write to it.
 */
export async function cacheFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
    accessSync(path, constants.W_OK);
  } catch (cause) {
    const advice = "set VIREO_CACHE to a folder that this user may write to";
    throw new VireoError("HOST_ERROR", `Cannot write to the folder ${path}: ${advice}`, { cause });
  }
}
