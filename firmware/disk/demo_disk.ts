import { brotliDecompressSync } from "node:zlib";
import { DEMO_FILE_SYSTEM } from "./demo_image.ts";
import { cacheFolder } from "../image/paths.ts";
import { makeMbr } from "./mbr.ts";

const SECTOR = 512;
const START = 2048;
/** Size of the demo's disk image in bytes. */
export const DEMO_DISK_SIZE: number = 32 * 1024 * 1024;

/**
 * Makes a disk image with an MBR and one ext4 file system, unless it is already there.
 *
 * @param path Where; written under a temporary name first, so that it is whole or absent.
 * @throws {VireoError} `HOST_ERROR` If its folder cannot be written.
 *
 * @example
 * ```ts
 * import { makeDemoDisk, openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * const path = `${folder}/demo.img`;
 * await makeDemoDisk(path);
 * {
 *   await using vireo = await openVireo({ blk: [{ path, readOnly: true }] });
 *   // The signature of its partition table.
 *   assertEquals([...await vireo.blk.read(0, 512)].slice(510), [0x55, 0xaa]);
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function makeDemoDisk(path: string): Promise<void> {
  if (await exists(path)) return;
  const part = `${path}.${crypto.randomUUID()}.part`;
  await cacheFolder(path.replace(/\/?[^/]*$/, "") || ".");
  const disk = new Uint8Array(DEMO_DISK_SIZE);
  disk.set(makeMbr(START, DEMO_DISK_SIZE / SECTOR - START));
  const packed = Uint8Array.from(atob(DEMO_FILE_SYSTEM), (char) => char.charCodeAt(0));
  disk.set(brotliDecompressSync(packed), START * SECTOR);
  try {
    await Deno.writeFile(part, disk);
    await keepFirst(part, path);
  } finally {
    if (await exists(part)) await Deno.remove(part);
  }
}

/** Gives a file its name unless another process was faster: a disk that is in use stays the same. */
async function keepFirst(part: string, path: string): Promise<void> {
  try {
    await Deno.link(part, path);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
