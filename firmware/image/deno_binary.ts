import { VireoError } from "@vireo/hal";
import { createHash } from "node:crypto";
import { ARCH, type Arch } from "./arch.ts";
import { exec } from "./exec.ts";
import { cacheFolder, PROJECT } from "./paths.ts";

/** npm's lock file, which has the version and the hash of each processor's Deno. */
export const DENO_LOCK: string = `${PROJECT}/tools/package-lock.json`;
/** The programs that fetch another processor's Deno; what npm needs of Node, Deno puts on PATH. */
export const DENO_TOOLS: readonly string[] = ["npm", "tar"];

/** Entry of a package in the lock file. */
interface Locked {
  readonly version: string;
  /** Subresource integrity: the algorithm, and the hash in base64. */
  readonly integrity: string;
}

/**
 * The pinned Deno of a processor: this one, or npm's package as the project's lock file has it.
 *
 * `npm pack` and not `npm install`: npm 8 and 9, which Debian 12 has, install no package of another
 * processor.
 *
 * @param arch The processor.
 * @param dir A folder to fetch it into.
 * @param signal Ends the download.
 * @returns The program's path.
 * @throws {VireoError} `HOST_ERROR` If npm fails, or the package is not the one of the lock file.
 */
export async function denoBinary(arch: Arch, dir: string, signal?: AbortSignal): Promise<string> {
  if (arch === Deno.build.arch) return Deno.execPath();
  const name = ARCH[arch].deno;
  const { version, integrity } = await locked(name);
  const folder = `${dir}/npm`;
  await Deno.remove(folder, { recursive: true }).catch(ignoreMissing);
  await cacheFolder(folder);
  const flags = ["--pack-destination", folder, "--ignore-scripts", "--loglevel=error"];
  await exec(["npm", "pack", `${name}@${version}`, ...flags], { cwd: folder, signal });
  const file = [...Deno.readDirSync(folder)].find((entry) => entry.name.endsWith(".tgz"))?.name;
  if (file === undefined) {
    throw new VireoError("HOST_ERROR", "npm downloaded nothing", { device: name });
  }
  const archive = `${folder}/${file}`;
  checkIntegrity(name, await Deno.readFile(archive), integrity);
  await exec(["tar", "-xzf", archive, "-C", folder, "package/deno"], { signal });
  await Deno.remove(archive);
  return `${folder}/package/deno`;
}

/**
 * Compares a package with the hash that the lock file has of it.
 *
 * @param name The package's name, for the message.
 * @param archive The package.
 * @param integrity The algorithm, and the hash in base64.
 * @throws {VireoError} `HOST_ERROR` If they differ.
 */
export function checkIntegrity(name: string, archive: Uint8Array, integrity: string): void {
  const algorithm = integrity.replace(/-.*/s, "");
  const seen = `${algorithm}-${createHash(algorithm).update(archive).digest("base64")}`;
  if (seen === integrity) return;
  const what = "Cannot use the package that npm downloaded: its hash must be the lock file's";
  throw new VireoError("HOST_ERROR", what, { device: name, seen, expected: integrity });
}

async function locked(name: string): Promise<Locked> {
  const { packages }: { packages: Record<string, Locked> } = JSON.parse(
    await Deno.readTextFile(DENO_LOCK),
  );
  const found = packages[`node_modules/${name}`];
  if (found !== undefined) return found;
  throw new VireoError("HOST_ERROR", `Cannot find ${name}: ${DENO_LOCK} must name it`);
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
