/**
 * Hashes a disk and lists its partitions: `vireo run --blk disk.img examples/read_disk.ts`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { diskContents, type Vireo } from "@vireo/firmware";

const CHUNK_SECTORS = 256;

/** Reads the whole first disk through the driver. */
export default async function main({ blk, signal }: Vireo): Promise<void> {
  const sectors = blk.sectors;
  console.log(`${sectors} sectors, blocks of ${blk.blockSize} bytes`);

  const { scheme, partitions } = await diskContents(blk);
  for (const { number, length, fileSystem } of partitions) {
    console.log(`${scheme} ${number}: ${length} bytes, ${fileSystem?.type ?? "unknown"}`);
  }

  const hash = createHash("sha256");
  const buffer = new Uint8Array(CHUNK_SECTORS * 512);
  for (let sector = 0; sector < sectors; sector += CHUNK_SECTORS) {
    const count = Math.min(CHUNK_SECTORS, sectors - sector);
    hash.update(await blk.read(sector, buffer.subarray(0, count * 512), { signal }));
  }
  console.log(`sha256 ${hash.digest("hex")}`);
}
