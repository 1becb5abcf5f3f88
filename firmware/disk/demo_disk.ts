import { VireoError } from "@vireo/hal";
import { makeMbr } from "./partitions.ts";

const SECTOR = 512;
const START = 2048;
/** Size of the demo's disk image in bytes. */
export const DEMO_DISK_SIZE: number = 32 * 1024 * 1024;

/**
 * Makes a disk image with an MBR and one ext4 file system, unless it is already there.
 *
 * @param path Where; written under a temporary name first, so that it is whole or absent.
 * @throws {VireoError} `HOST_ERROR` If `mke2fs` (Debian package e2fsprogs) is missing or fails.
 */
export async function makeDemoDisk(path: string): Promise<void> {
  if (await exists(path)) return;
  const part = `${path}.${crypto.randomUUID()}.part`;
  const tree = await Deno.makeTempDir({ prefix: "vireo-demo-" });
  try {
    await Deno.writeTextFile(`${tree}/hello.txt`, "Read through a virtio driver in TypeScript.\n");
    const size = DEMO_DISK_SIZE - START * SECTOR;
    await Deno.writeFile(part, makeMbr(START, size / SECTOR));
    await Deno.truncate(part, DEMO_DISK_SIZE);
    await mke2fs([
      ...["-q", "-F", "-t", "ext4", "-L", "vireo", "-d", tree],
      ...["-E", `offset=${START * SECTOR}`, part, `${size / 1024}k`],
    ]);
    await keepFirst(part, path);
  } finally {
    await Deno.remove(tree, { recursive: true });
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

async function mke2fs(args: readonly string[]): Promise<void> {
  const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };
  const command = new Deno.Command("mke2fs", {
    args: [...args],
    env,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  });
  let result: Deno.CommandOutput;
  try {
    result = await command.output();
  } catch (cause) {
    throw new VireoError("HOST_ERROR", "Cannot make the demo's disk without mke2fs", {
      expected: "Debian's package e2fsprogs, or a disk of your own: make demo DISK=path",
      cause,
    });
  }
  if (!result.success) {
    throw new VireoError("HOST_ERROR", "Cannot make the demo's disk: mke2fs failed", {
      seen: new TextDecoder().decode(result.stderr).trim(),
    });
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
