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
  assertEquals(disk.subarray(446, 462).toHex(), "00feffff83feffff0800000038000000");
  assertEquals(disk.subarray(510, 512).toHex(), "55aa");
  assertEquals(await tableOf(disk), {
    scheme: "mbr",
    unit: 512,
    partitions: [{ number: 1, start: 4096, length: 28672, type: "83", name: "", beyond: false }],
    remarks: [],
  });
  disk[511] = 0;
  assertEquals(await tableOf(disk), none());
});

Deno.test("readPartitionTable() finds no table in the boot sector of a file system", async () => {
  const sectors: readonly (readonly [at: number, bytes: string])[][] = [
    // A FAT: bytes a sector, sectors a cluster, reserved ones, copies, kind, and sectors of a copy.
    [[11, "0002"], [13, "02"], [14, "0100"], [16, "02"], [21, "f8"], [22, "0300"]],
    // An exFAT of 512-byte sectors.
    [[3, "455846415420202000"], [108, "09"]],
    // An NTFS.
    [[3, "4e54465320202020"], [11, "0002"], [13, "02"]],
  ];
  for (const parts of sectors) {
    const disk = new Uint8Array(64 * 512);
    disk.set([0x55, 0xaa], 510);
    assertEquals((await tableOf(disk)).scheme, "mbr");
    for (const [at, bytes] of parts) disk.set(Uint8Array.fromHex(bytes), at);
    assertEquals(await tableOf(disk), none());
  }
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

/** Writes the sums of a GPT's header and entries again. */
function sign(disk: Uint8Array, header = 512, entries = 1024): Uint8Array {
  const view = new DataView(disk.buffer);
  const size = Math.min(view.getUint32(header + 12, true), 512);
  const length = view.getUint32(header + 80, true) * view.getUint32(header + 84, true);
  view.setUint32(
    header + 88,
    crc32(disk.subarray(entries, entries + Math.min(length, disk.length))),
    true,
  );
  view.setUint32(header + 16, 0, true);
  view.setUint32(header + 16, crc32(disk.subarray(header, header + size)), true);
  return disk;
}

/** The same GPT with a number changed, and whole again. */
function changed(at: number, value: number): Uint8Array {
  const disk = gptDisk();
  new DataView(disk.buffer).setUint32(at, value, true);
  return sign(disk);
}

Deno.test("readPartitionTable() takes a GPT's header only as far as it may be true", async () => {
  const broken = none("there is a protective MBR, but neither of its GPTs is whole");
  const header: readonly (readonly [at: number, whole: number, broken: number])[] = [
    [512 + 12, 512, 513], // bytes of the header
    [512 + 12, 92, 91],
    [512 + 24, 1, 2], // its own block
    [512 + 84, 128, 120], // bytes of an entry
    [512 + 84, 136, 132],
    [512 + 80, 504, 505], // entries, of 128 bytes: no more than the disk has
  ];
  for (const [at, whole, none] of header) {
    assertEquals([at, (await tableOf(changed(at, whole))).scheme], [at, "gpt"]);
    assertEquals([at, await tableOf(changed(at, none))], [at, broken]);
  }
  // No more than 16 MiB of entries, nor than the disk has, are read for a header that wants them.
  for (
    const [count, size, reads] of [
      [2 ** 17, 2 ** 40, true],
      [2 ** 17 + 1, 2 ** 40, false],
      [2 ** 17, 2 ** 24, true],
      [2 ** 17, 2 ** 24 - 512, false],
    ] as const
  ) {
    const disk = changed(512 + 80, count);
    const asked: number[] = [];
    const read: ReadAt = (offset, length) => {
      asked.push(length);
      return reader(disk)(offset, length);
    };
    await readPartitionTable(read, { size, blockSize: 512 });
    assertEquals(asked.includes(count * 128), reads);
  }
});

Deno.test("readPartitionTable() marks a GPT's partitions that end before they begin or past the end", async () => {
  const read = async (at: number, value: number): Promise<(number | boolean | undefined)[]> => {
    const [partition] = (await tableOf(changed(at, value))).partitions;
    return [partition?.start, partition?.length, partition?.beyond];
  };
  assertEquals(await read(1024 + 40, 127), [40 * 512, 88 * 512, false]);
  assertEquals(await read(1024 + 40, 128), [40 * 512, 89 * 512, true]);
  assertEquals(await read(1024 + 40, 40), [40 * 512, 512, false]);
  assertEquals(await read(1024 + 40, 39), [40 * 512, 0, true]);
  assertEquals(await read(1024 + 40, 20), [40 * 512, 0, true]);
  // Entries in use are counted by their places.
  const disk = gptDisk();
  disk.copyWithin(1024 + 3 * 128, 1024, 1024 + 128);
  assertEquals((await tableOf(sign(disk))).partitions.map(({ number }) => number), [1, 4]);
});

Deno.test("readPartitionTable() reads the backup where the primary says, else in the last block", async () => {
  const whole = gptDisk();
  const put = (disk: Uint8Array, lba: number): Uint8Array => {
    const at = lba * 512;
    disk.copyWithin(at, 512, 1024);
    new DataView(disk.buffer).setUint32(at + 24, lba, true);
    return sign(disk, at);
  };
  assertEquals((await tableOf(put(whole, 127))).remarks, []);
  whole[512] = 0;
  const saved = await tableOf(whole);
  assertEquals([saved.partitions[0]?.name, saved.remarks], ["root", [
    "the primary GPT is damaged: these are the partitions of its backup",
  ]]);
  const moved = put(changed(512 + 32, 100), 100);
  assertEquals((await tableOf(moved)).remarks, [
    "the backup GPT is not at the end of the disk, which has another size than its GPT says",
  ]);
  // A place that no disk has is not read.
  const far = changed(512 + 36, 0x8000_0000);
  const read: ReadAt = (offset, length) => {
    assertEquals(Number.isSafeInteger(offset), true);
    return reader(far)(offset, length);
  };
  assertEquals(
    (await readPartitionTable(read, { size: far.length, blockSize: 512 })).remarks,
    ["the backup GPT is damaged or missing"],
  );
  // A GPT alone is not used.
  const alone = gptDisk();
  alone[510] = 0;
  assertEquals(
    await tableOf(alone),
    none("there is a GPT, but no protective MBR before it, so it is not used"),
  );
});

/** Entries of an MBR, or of a table in its chain: type, first sector, sectors. */
function entries(
  disk: Uint8Array,
  sector: number,
  ...list: readonly (readonly [type: number, first: number, count: number])[]
): void {
  const view = new DataView(disk.buffer);
  view.setUint16(sector * 512 + 510, 0xaa55, true);
  for (const [i, [type, first, count]] of list.entries()) {
    const at = sector * 512 + 446 + 16 * i;
    disk[at + 4] = type;
    view.setUint32(at + 8, first, true);
    view.setUint32(at + 12, count, true);
  }
}

/** A disk with an extended partition from sector 16 on, and two logical ones in its chain. */
function extended(type = 5): Uint8Array {
  const disk = new Uint8Array(128 * 512);
  entries(disk, 0, [0x83, 1, 15], [type, 16, 112]);
  entries(disk, 16, [0x83, 2, 8], [5, 16, 16]);
  entries(disk, 32, [0x82, 4, 12], [0, 0, 0]);
  return disk;
}

Deno.test("readPartitionTable() follows logical partitions, numbered from 5, with all they hold", async () => {
  for (const type of [0x05, 0x0f, 0x85]) {
    const { partitions, remarks } = await tableOf(extended(type));
    assertEquals(
      partitions.map(({ number, start, length, type }) => [
        number,
        start / 512,
        length / 512,
        type,
      ]),
      [
        [1, 1, 15, "83"],
        [2, 16, 112, type.toString(16).padStart(2, "0")],
        [5, 18, 8, "83"],
        [6, 36, 12, "82"],
      ],
    );
    assertEquals(remarks, []);
  }
  // An entry without sectors is none, and one that is not followed ends the chain.
  const empty = extended();
  entries(empty, 32, [0x82, 4, 0], [0, 0, 0]);
  assertEquals((await tableOf(empty)).partitions.map(({ number }) => number), [1, 2, 5]);
});

Deno.test("readPartitionTable() says where a chain of logical partitions turns or breaks off", async () => {
  const turns = extended();
  entries(turns, 32, [0x82, 4, 12], [5, 0, 16]);
  assertEquals(
    await tableOf(turns).then(({ partitions, remarks }) => [partitions.length, remarks]),
    [
      4,
      ["the chain of logical partitions turns in a circle"],
    ],
  );
  const broken = extended();
  broken[32 * 512 + 511] = 0;
  assertEquals((await tableOf(broken)).remarks, [
    "the chain of logical partitions breaks off after 5",
  ]);
  // One that holds nothing has no table.
  const nothing = extended();
  nothing[16 * 512 + 511] = 0;
  assertEquals((await tableOf(nothing)).remarks, []);
});

Deno.test("readPartitionTable() takes a sector for an MBR if each status is one", async () => {
  for (const [status, scheme] of [[0x80, "mbr"], [0, "mbr"], [1, null], [0x81, null]] as const) {
    for (const at of [446, 446 + 48]) {
      const disk = extended();
      disk[at] = status;
      assertEquals((await tableOf(disk)).scheme, scheme);
    }
  }
  // A partition that ends with the disk is inside, and one sector more is not.
  for (const [count, beyond] of [[127, false], [128, true]] as const) {
    const disk = new Uint8Array(128 * 512);
    entries(disk, 0, [0x83, 1, count]);
    assertEquals((await tableOf(disk)).partitions.map((one) => one.beyond), [beyond]);
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
