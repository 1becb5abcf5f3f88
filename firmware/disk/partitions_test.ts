import { assert, assertEquals } from "@std/assert";
import { crc32 } from "node:zlib";
import { DEMO_DISK_SIZE, makeDemoDisk } from "./demo_disk.ts";
import { makeMbr } from "./mbr.ts";
import { type PartitionTable, type ReadAt, readPartitionTable } from "./partitions.ts";
import { readSuperblock } from "./superblock.ts";

function reader(disk: Uint8Array): ReadAt {
  return (offset, length) => Promise.resolve(disk.slice(offset, offset + length));
}

function tableOf(disk: Uint8Array): Promise<PartitionTable> {
  return readPartitionTable(reader(disk), { size: disk.length, blockSize: 512 });
}

/** What is found where no table is whole. */
function none(...remarks: string[]): PartitionTable {
  return { scheme: null, unit: 512, partitions: [], remarks };
}

Deno.test("readPartitionTable() lists an MBR's partitions", async () => {
  const disk = new Uint8Array(64 * 512);
  disk.set(makeMbr(8, 56));
  // Offsets of the UEFI specification's legacy MBR table 5-2.
  assertEquals([disk[450], disk[454], disk[458], disk[510], disk[511]], [0x83, 8, 56, 0x55, 0xaa]);
  assertEquals(await tableOf(disk), {
    scheme: "mbr",
    unit: 512,
    partitions: [{ number: 1, start: 4096, length: 28672, type: "83", name: "", beyond: false }],
    remarks: [],
  });
  disk[511] = 0;
  assertEquals(await tableOf(disk), none());
});

/** A GPT as UEFI 2.10 §5.3 lays it out, offsets typed from the specification. */
function gptDisk(): Uint8Array {
  const disk = new Uint8Array(128 * 512);
  disk.set(makeMbr(1, 127));
  disk[450] = 0xee;
  const view = new DataView(disk.buffer);
  const entry = 1024;
  const linux = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69];
  disk.set([...linux, 0xd8, 0x47, 0x7d, 0xe4], entry);
  view.setUint32(entry + 32, 40, true);
  view.setUint32(entry + 40, 99, true);
  for (const [i, char] of [..."root"].entries()) {
    view.setUint16(entry + 56 + 2 * i, char.charCodeAt(0), true);
  }
  disk.set(new TextEncoder().encode("EFI PART"), 512);
  view.setUint32(512 + 12, 92, true);
  view.setUint32(512 + 24, 1, true);
  view.setUint32(512 + 32, 127, true);
  view.setUint32(512 + 72, 2, true);
  view.setUint32(512 + 80, 4, true);
  view.setUint32(512 + 84, 128, true);
  view.setUint32(512 + 88, crc32(disk.subarray(1024, 1536)), true);
  view.setUint32(512 + 16, crc32(disk.subarray(512, 512 + 92)), true);
  return disk;
}

Deno.test("readPartitionTable() lists a GPT's partitions and checks both sums", async () => {
  assertEquals(await tableOf(gptDisk()), {
    scheme: "gpt",
    unit: 512,
    partitions: [{
      number: 1,
      start: 40 * 512,
      length: 60 * 512,
      type: "0fc63daf-8483-4772-8e79-3d69d8477de4",
      name: "root",
      beyond: false,
    }],
    remarks: ["the backup GPT is damaged or missing"],
  });
  for (const at of [512 + 80, 1024 + 32]) {
    const disk = gptDisk();
    disk[at]! ^= 1;
    assertEquals(
      await tableOf(disk),
      none("there is a protective MBR, but neither of its GPTs is whole"),
    );
  }
});

Deno.test("makeDemoDisk() of several starts at once: all of them keep the same file", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/demo.img`;
    const seen = await Promise.all(Array.from({ length: 6 }, async () => {
      await makeDemoDisk(path);
      return (await Deno.stat(path)).ino;
    }));
    assertEquals(seen, new Array(6).fill((await Deno.stat(path)).ino));
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["demo.img"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("makeDemoDisk() makes a disk whose ext4 superblock is recognised", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/demo.img`;
    await makeDemoDisk(path);
    const made = await Deno.stat(path);
    await makeDemoDisk(path);
    assertEquals((await Deno.stat(path)).mtime, made.mtime);
    const disk = await Deno.readFile(path);
    assertEquals(disk.length, DEMO_DISK_SIZE);
    const partition = (await tableOf(disk)).partitions[0];
    assert(partition !== undefined);
    const fs = await readSuperblock(reader(disk), partition.start, partition.length);
    assertEquals([fs?.type, fs?.label, fs?.size], ["ext4", "vireo", partition.length]);
    assert(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(fs?.uuid ?? ""));
    // INCOMPAT_64BIT: the count of blocks, of 1024 bytes here, has an upper half.
    const superblock = new DataView(disk.buffer, disk.byteOffset + partition.start + 1024);
    superblock.setUint32(96, superblock.getUint32(96, true) | 0x80, true);
    superblock.setUint32(0x150, 1, true);
    const large = await readSuperblock(reader(disk), partition.start, partition.length);
    assertEquals(large?.size, partition.length + 2 ** 42);
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["demo.img"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the demo's disk is whole by e2fsck, and has its file", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await makeDemoDisk(`${dir}/demo.img`);
    const disk = await Deno.readFile(`${dir}/demo.img`);
    const path = `${dir}/partition`;
    await Deno.writeFile(path, disk.subarray(1 << 20));
    const check = await new Deno.Command("/usr/sbin/e2fsck", { args: ["-fn", path] }).output();
    assertEquals(check.code, 0, new TextDecoder().decode(check.stdout));
    const args = ["-R", "cat hello.txt", path];
    const { stdout } = await new Deno.Command("/usr/sbin/debugfs", { args }).output();
    const text = new TextDecoder().decode(stdout);
    assertEquals(text, "Read through a virtio driver in TypeScript.\n");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("readSuperblock() knows no file system in zeroes and random bytes", async () => {
  const zeroes = new Uint8Array(1 << 20);
  assertEquals(await readSuperblock(reader(zeroes), 0, zeroes.length), undefined);
  assertEquals(await readSuperblock(reader(zeroes), 0, 512), undefined);
});
