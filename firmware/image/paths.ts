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
export const CACHE: string = Deno.env.get("VIREO_CACHE") ?? `${PROJECT}/.cache`;
