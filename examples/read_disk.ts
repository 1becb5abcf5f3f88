/**
 * Hashes a disk and lists its partitions: `vireo run --blk disk.img examples/read_disk.ts`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readPartitionTable, readSuperblock, type Vireo } from "@vireo/firmware";

const CHUNK_SECTORS = 256;

/** Reads the whole first disk through the driver. */
export default async function main({ blk, signal }: Vireo): Promise<void> {
  const sectors = blk.sectors;
  console.log(`${sectors} sectors, blocks of ${blk.blockSize} bytes`);

  const readAt = (offset: number, length: number) => blk.read(offset / 512, length, { signal });
  const table = await readPartitionTable(readAt);
  for (const part of table?.partitions ?? []) {
    const fs = await readSuperblock(readAt, part.start, part.length);
    console.log(`${table?.scheme} ${part.number}: ${part.length} bytes, ${fs?.type ?? "unknown"}`);
  }

  const hash = createHash("sha256");
  const buffer = new Uint8Array(CHUNK_SECTORS * 512);
  for (let sector = 0; sector < sectors; sector += CHUNK_SECTORS) {
    const count = Math.min(CHUNK_SECTORS, sectors - sector);
    hash.update(await blk.read(sector, buffer.subarray(0, count * 512), { signal }));
  }
  console.log(`sha256 ${hash.digest("hex")}`);
}
