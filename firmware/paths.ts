import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

/** The `file:` URL of a path, relative ones counted from the working directory. */
export function toFileUrl(path: string): string {
  return pathToFileURL(resolve(path)).href;
}
