import { assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import type { Blk } from "@vireo/drivers/blk";
import type { ReadAt } from "./_fields.ts";
import { type DiskContents, diskText, hashDisk, readContents } from "./disk_report.ts";
import { makeMbr } from "./mbr.ts";
import type { FileSystem } from "./superblock.ts";

const MIB = 1 << 20;
const EXT4: FileSystem = { type: "ext4", label: "root", uuid: "1-2", size: MIB };

/** The line of one partition, by what is not as usual. */
function line(
  changed: Partial<DiskContents["partitions"][number]>,
  scheme: DiskContents["scheme"] = "mbr",
): string {
  const usual = { number: 1, start: MIB, length: 2 * MIB, type: "83", name: "", beyond: false };
  const partition = { ...usual, fileSystem: null, ...changed };
  const lines = diskText({ scheme, unit: 512, partitions: [partition], remarks: [] });
  assertEquals([lines.length, lines[0]], [
    2,
    scheme === null ? "no partition table" : `${scheme} partitions`,
  ]);
  return lines[1]!;
}

Deno.test("disk report: a line for the table, each remark, and each partition", () => {
  const none = "no known file system";
  assertEquals(line({}), `partition 1: 2 MiB at 1 MiB, 83, ${none}`);
  assertEquals(line({ name: "boot" }, "gpt"), `partition 1: 2 MiB at 1 MiB, 83 boot, ${none}`);
  assertEquals(
    line({ beyond: true }),
    `partition 1: 2 MiB at 1 MiB, 83, ${none}, ENDS PAST THE END OF THE DISK`,
  );
  assertEquals(line({ fileSystem: EXT4 }), "partition 1: 2 MiB at 1 MiB, 83, ext4 'root' 1-2");
  assertEquals(line({ fileSystem: { ...EXT4, uuid: "" } }).slice(-11), "ext4 'root'");
  // What an MBR says of logical partitions holds for no other table, and not for the whole disk.
  const holds = "partition 1: 2 MiB at 1 MiB, 05, holds the logical partitions";
  assertEquals(line({ type: "05" }), holds);
  assertEquals(line({ type: "05" }, "gpt"), `partition 1: 2 MiB at 1 MiB, 05, ${none}`);
  assertEquals(line({ type: "05", number: 0 }), `whole disk: 2 MiB at 1 MiB, 05, ${none}`);
  assertEquals(
    line({ type: "", number: 0, start: 0, fileSystem: EXT4 }, null),
    "whole disk: 2 MiB at 0 B, ext4 'root' 1-2",
  );
  const image = { ...EXT4, type: "qcow2", image: true } as const;
  const read = "which is not read: 'qemu-img convert -O raw' makes a disk of it";
  assertEquals(
    line({ fileSystem: image }),
    `partition 1: 2 MiB at 1 MiB, 83, a qcow2 image of 1 MiB, ${read}`,
  );
  assertEquals(
    line({ fileSystem: { ...image, size: 0 } }),
    `partition 1: 2 MiB at 1 MiB, 83, a qcow2 image, ${read}`,
  );
  assertEquals(diskText({ scheme: "gpt", unit: 512, partitions: [], remarks: ["a", "b"] }), [
    ...["gpt partitions", "but a", "but b"],
  ]);
});

Deno.test("disk report: what the disk holds as a whole comes first, and an extended partition holds others", async () => {
  const disk = new Uint8Array(64 * 512);
  const read: ReadAt = (offset, length) => Promise.resolve(disk.slice(offset, offset + length));
  const contents = async (): Promise<unknown[]> =>
    (await readContents(read, { size: disk.length, blockSize: 512 })).partitions.map(
      ({ number, length, fileSystem, beyond }) => {
        assertEquals(beyond, false);
        return [number, length, fileSystem?.type];
      },
    );
  assertEquals(await contents(), []);
  disk.set(makeMbr(8, 56));
  // An xfs with blocks of 512 bytes in the partition.
  disk.set(Uint8Array.fromHex("5846534200000200"), 8 * 512);
  assertEquals(await contents(), [[1, 56 * 512, "xfs"]]);
  disk[450] = 5;
  assertEquals(await contents(), [[1, 56 * 512, undefined]]);
  disk.fill(0);
  disk.set(Uint8Array.fromHex("5846534200000200"));
  assertEquals(await contents(), [[0, 64 * 512, "xfs"]]);
  // A VHD's footer ends the disk.
  disk.fill(0, 0, 8);
  disk.set(new TextEncoder().encode("conectix"), 63 * 512);
  assertEquals(await contents(), [[0, 64 * 512, "vhd"]]);
});

/** A disk of so many sectors, each byte of which tells where it is, and the requests that are in flight at most. */
function counted(sectors: number): { blk: Blk; bytes: Uint8Array; most: () => number } {
  const bytes = Uint8Array.from({ length: sectors * 512 }, (_, i) => i * 31 >> 4);
  let [flying, most] = [0, 0];
  const read = async (sector: number, length: number): Promise<Uint8Array> => {
    most = Math.max(most, ++flying);
    await Promise.resolve();
    flying--;
    return bytes.slice(sector * 512, sector * 512 + length);
  };
  const blk = { sectors, capacity: bytes.length, blockSize: 512, read } as unknown as Blk;
  return { blk, bytes, most: () => most };
}

Deno.test("disk report: the SHA-256 of a disk or a part of it, with four requests in flight", async () => {
  const { blk, bytes, most } = counted(1500);
  const sum = (from: number, to: number): string =>
    createHash("sha256").update(bytes.subarray(from * 512, to * 512)).digest("hex");
  const told: number[] = [];
  assertEquals(await hashDisk(blk, { onProgress: (done) => told.push(done) }), sum(0, 1500));
  // Chunks of 256 sectors.
  assertEquals(told, [256, 512, 768, 1024, 1280, 1500].map((done) => done / 1500));
  assertEquals(most(), 4);
  assertEquals(await hashDisk(blk, { sector: 3 }), sum(3, 1500));
  assertEquals(await hashDisk(blk, { sector: 3, count: 300 }), sum(3, 303));
  assertEquals(await hashDisk(blk, { count: 0 }), sum(0, 0));
});

Deno.test("disk report: a read that fails ends the hash, once the others have ended", async () => {
  const { blk } = counted(1500);
  const failing = { ...blk, read: () => Promise.reject(new Error("gone")) } as unknown as Blk;
  await assertRejects(() => hashDisk(failing), Error, "gone");
});
