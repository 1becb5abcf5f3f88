// Superblocks by their bytes, numbers typed from the formats: what is read of each, and the last values that are still one.
import { assertEquals } from "@std/assert";
import type { ReadAt } from "./_fields.ts";
import { vhdFooter } from "./container.ts";
import { type FileSystem, readSuperblock } from "./superblock.ts";

/** A part of a disk: a number of so many bits, in the order of the format, or bytes, or text. */
type Part = readonly [at: number, what: number | string | readonly number[], kind?: Kind];
type Kind = "8" | "16" | "32" | "16be" | "32be" | "utf16";

function put(disk: Uint8Array, [at, what, kind = "32"]: Part): void {
  const view = new DataView(disk.buffer);
  if (typeof what === "object") disk.set(what, at);
  else if (typeof what === "string") {
    if (kind !== "utf16") return disk.set(new TextEncoder().encode(what), at);
    for (let i = 0; i < what.length; i++) view.setUint16(at + 2 * i, what.charCodeAt(i), true);
  } else if (kind === "8") view.setUint8(at, what);
  else if (kind.startsWith("16")) view.setUint16(at, what, kind === "16");
  else view.setUint32(at, what, kind === "32");
}

/** Reads what begins at the second sector of a disk, behind which there is nothing. */
async function found(
  parts: readonly Part[],
  changed: readonly Part[] = [],
  length = 80 << 10,
): Promise<FileSystem | undefined> {
  const disk = new Uint8Array(1 << 20);
  for (const part of [...parts, ...changed]) put(disk, part);
  const read: ReadAt = (offset, bytes) => {
    // No byte before the partition or behind it is asked for.
    if (bytes > 0) assertEquals([offset >= 512, offset + bytes <= 512 + length], [true, true]);
    return Promise.resolve(disk.slice(offset - 512, offset - 512 + bytes));
  };
  return await readSuperblock(read, 512, length);
}

const ID = Array.from({ length: 16 }, (_, i) => 0x10 + i);
const UUID = "10111213-1415-1617-1819-1a1b1c1d1e1f";

/** Checks that each of the changes makes it none, and that each of the others leaves it one. */
async function bounds(
  parts: readonly Part[],
  { no, yes = [] }: { readonly no: readonly Part[]; readonly yes?: readonly Part[] },
): Promise<void> {
  const { type } = (await found(parts))!;
  for (const part of no) assertEquals([part, await found(parts, [part])], [part, undefined]);
  for (const part of yes) assertEquals([part, (await found(parts, [part]))?.type], [part, type]);
}

Deno.test("ext: kind by the features, size by blocks of 1 to 64 KiB", async () => {
  const parts: Part[] = [
    [1024, 16], // inodes
    [1028, 5], // blocks
    [1048, 2], // log2 of the block size, from 1 KiB
    [1056, 8], // blocks a group
    [1080, 0xef53, "16"],
    [1128, ID],
    [1144, "a label of 16 by"],
    [1160, "tes"],
  ];
  const whole = { label: "a label of 16 by", uuid: UUID, size: 5 * 4096 };
  assertEquals(await found(parts), { type: "ext2", ...whole });
  for (
    const [changed, type] of [
      [[[1116, 4]], "ext3"],
      [[[1116, 4], [1120, 0x1e & ~8]], "ext3"],
      [[[1116, 4], [1120, 0x40]], "ext4"],
      [[[1124, 8]], "ext4"],
      [[[1124, 7]], "ext2"],
      [[[1120, 8]], "jbd"],
    ] as const
  ) assertEquals(await found(parts, changed), { type, ...whole });
  // The upper half of the count is there with 64BIT alone.
  assertEquals((await found(parts, [[0x550, 1]]))?.size, 5 * 4096);
  assertEquals((await found(parts, [[0x550, 1], [1120, 0x80]]))?.size, (2 ** 32 + 5) * 4096);
  await bounds(parts, {
    no: [[1080, 0xef52, "16"], [1048, 7], [1024, 0], [1056, 0]],
    yes: [[1048, 6], [1048, 0], [1024, 1], [1056, 1]],
  });
});

Deno.test("xfs and btrfs", async () => {
  const xfs: Part[] = [
    [0, "XFSB"],
    [4, 4096, "32be"],
    [8, 1, "32be"],
    [12, 2, "32be"],
    [32, ID],
    [108, "twelve bytes"],
    [120, "more"],
  ];
  const size = (2 ** 32 + 2) * 4096;
  assertEquals(await found(xfs), { type: "xfs", label: "twelve bytes", uuid: UUID, size });
  await bounds(xfs, {
    no: [[0, "XFSA"], [4, 256, "32be"], [4, 131072, "32be"], [4, 4097, "32be"]],
    yes: [[4, 512, "32be"], [4, 65536, "32be"]],
  });
  const btrfs: Part[] = [
    [65536 + 64, "_BHRfS_M"],
    [65536 + 32, ID],
    [65536 + 112, 7],
    [65536 + 116, 1],
    [65536 + 299, "butter"],
  ];
  assertEquals(await found(btrfs), {
    type: "btrfs",
    label: "butter",
    uuid: UUID,
    size: 2 ** 32 + 7,
  });
  await bounds(btrfs, { no: [[65536 + 64, "_BHRfS_N"]] });
});

Deno.test("f2fs, erofs and squashfs", async () => {
  const f2fs: Part[] = [
    [1024, 0xf2f52010],
    [1040, 12],
    [1060, 3],
    [1064, 1],
    [1132, ID],
    [1148, "Größe", "utf16"],
  ];
  const size = (2 ** 32 + 3) * 4096;
  assertEquals(await found(f2fs), { type: "f2fs", label: "Größe", uuid: UUID, size });
  await bounds(f2fs, { no: [[1024, 0xf2f52011], [1040, 11], [1040, 17]], yes: [[1040, 16]] });
  const erofs: Part[] = [
    [1024, 0xe0f5e1e2],
    [1036, 12, "8"],
    [1060, 3],
    [1072, ID],
    [1088, "sixteen bytes is"],
    [1104, "no"],
  ];
  assertEquals(await found(erofs), {
    type: "erofs",
    label: "sixteen bytes is",
    uuid: UUID,
    size: 3 * 4096,
  });
  await bounds(erofs, {
    no: [[1024, 0xe0f5e1e3], [1036, 8, "8"], [1036, 17, "8"]],
    yes: [[1036, 9, "8"], [1036, 16, "8"]],
  });
  const squashfs: Part[] = [[0, "hsqs"], [28, 4, "16"], [40, 9], [44, 1]];
  assertEquals(await found(squashfs), {
    type: "squashfs",
    label: "",
    uuid: "",
    size: 2 ** 32 + 9,
  });
  await bounds(squashfs, { no: [[0, "hsqt"], [28, 3, "16"]] });
});

Deno.test("swap: the signature ends the first page, whatever its size", async () => {
  for (const page of [4096, 8192, 16384, 32768, 65536]) {
    const parts: Part[] = [[page - 10, "SWAPSPACE2"], [1028, 9], [1036, ID], [1052, "sw"]];
    assertEquals(await found(parts), { type: "swap", label: "sw", uuid: UUID, size: 10 * page });
    await bounds(parts, { no: [[page - 10, "SWAPSPACE1"]] });
  }
});

Deno.test("iso9660: when it was changed or made is its number", async () => {
  const base = 32768;
  const parts: Part[] = [
    [base, [1, ..."CD001"].map((c) => typeof c === "string" ? c.charCodeAt(0) : c)],
    [base + 6, 1, "8"],
    [base + 40, "DISC"],
    [base + 80, 6],
    [base + 128, 2048, "16"],
    [base + 813, "2024010203040506"],
    [base + 830, "0000000000000000"],
  ];
  const iso = { type: "iso9660", label: "DISC", size: 6 * 2048 };
  assertEquals(await found(parts), { ...iso, uuid: "2024-01-02-03-04-05-06" });
  assertEquals(await found(parts, [[base + 830, "2025010203040506"]]), {
    ...iso,
    uuid: "2025-01-02-03-04-05-06",
  });
  assertEquals((await found(parts, [[base + 813, "0000000000000000"]]))?.uuid, "");
  await bounds(parts, { no: [[base, 2, "8"], [base + 1, "CD002"], [base + 6, 2, "8"]] });
});

Deno.test("udf: the name of the logical volume is found from the anchor", async () => {
  const parts = (block: number, label: readonly number[]): Part[] => [
    [32768 + 15 * 2048 + 1, "NSR03"],
    [256 * block, 2, "16"],
    [256 * block + 12, 256],
    [256 * block + 16, 3 * block],
    [256 * block + 20, 260],
    // A descriptor of another kind, and then the volume's.
    [260 * block, 5, "16"],
    [262 * block, 6, "16"],
    [262 * block + 84, label],
    [262 * block + 84 + 127, label.length, "8"],
  ];
  const read = (list: readonly Part[], changed: readonly Part[] = []) =>
    found(list, changed, 1 << 20);
  const udf = { type: "udf", label: "", uuid: "", size: 0 };
  for (const block of [512, 1024, 2048]) {
    assertEquals(await read(parts(block, [8, 97, 0xe4])), { ...udf, label: "aä" });
    assertEquals((await read(parts(block, [16, 0x20, 0xac])))?.label, "€");
    assertEquals((await read(parts(block, [254, 97])))?.label, "");
  }
  const list = parts(512, [8, 97]);
  for (
    const changed of [
      [256 * 512, 3, "16"],
      [256 * 512 + 12, 255],
      [256 * 512 + 16, 2 * 512],
      [262 * 512, 7, "16"],
      [262 * 512 + 84 + 127, 0, "8"],
      [262 * 512 + 84 + 127, 1, "8"],
    ] as const
  ) assertEquals(await read(list, [changed]), udf);
  assertEquals((await read(list, [[32768 + 15 * 2048 + 1, "NSR02"]]))?.label, "a");
  assertEquals(await read(list, [[32768 + 15 * 2048 + 1, "NSR04"]]), undefined);
  // A length beyond the field is the field's.
  assertEquals((await read(list, [[262 * 512 + 84 + 127, 255, "8"]]))?.label.length, 126);
});

/** The parameters of a FAT of 512-byte sectors: one reserved, two copies of 3 sectors, 16 entries in the root. */
const FAT: readonly Part[] = [
  [11, 512, "16"],
  [13, 2, "8"],
  [14, 1, "16"],
  [16, 2, "8"],
  [17, 16, "16"],
  [19, 100, "16"],
  [21, 0xf8, "8"],
  [22, 3, "16"],
  [38, 0x29, "8"],
  [39, 0x0102abcd],
  [43, "NO NAME    "],
  [510, 0xaa55, "16"],
];

Deno.test("vfat: the label is the root folder's, else the boot sector's", async () => {
  const fat = { type: "vfat", label: "", uuid: "0102-ABCD", size: 100 * 512 };
  assertEquals(await found(FAT), fat);
  assertEquals(await found(FAT, [[43, "BOOT       "]]), { ...fat, label: "BOOT" });
  const root = 7 * 512;
  const entry = (index: number, name: string, attributes: number): Part[] => [
    [root + 32 * index, name.padEnd(11)],
    [root + 32 * index + 11, attributes, "8"],
  ];
  const filled = Array.from({ length: 15 }, (_, i) => entry(i, `FILE${i}`, 0x20)).flat();
  // The last of 16 entries.
  assertEquals(await found(FAT, [...filled, ...entry(15, "LAST", 8)]), { ...fat, label: "LAST" });
  // A folder of 16 entries ends there; and so does one whose next entry is free.
  assertEquals(
    await found(FAT, [...filled, ...entry(15, "X", 0x20), ...entry(16, "BEHIND", 8)]),
    fat,
  );
  assertEquals(await found(FAT, [...entry(1, "BEHIND", 8)]), fat);
  const gone: Part = [root, 0xe5, "8"];
  assertEquals(await found(FAT, [...entry(0, "GONE", 8), gone, ...entry(1, "HERE", 8)]), {
    ...fat,
    label: "HERE",
  });
  // A part of a long name has all four bits, a folder is none, and DOS marks a label as to be archived.
  assertEquals(
    await found(FAT, [
      ...entry(0, "LONG", 0xf),
      ...entry(1, "FOLDER", 0x18),
      ...entry(2, "HERE", 0x28),
    ]),
    {
      ...fat,
      label: "HERE",
    },
  );
  // Without the signature of extended parameters there is no serial number.
  assertEquals(await found(FAT, [[38, 0x2a, "8"]]), { ...fat, uuid: "" });
  assertEquals((await found(FAT, [[38, 0x28, "8"]]))?.uuid, "0102-ABCD");
  assertEquals((await found(FAT, [[19, 0, "16"], [32, 0x12345]]))?.size, 0x12345 * 512);
});

Deno.test("vfat: FAT32 has its root folder in a cluster, and its fields elsewhere", async () => {
  const wide: Part[] = [
    ...FAT,
    [17, 0, "16"],
    [22, 0, "16"],
    [36, 3],
    [44, 5],
    [66, 0x29, "8"],
    [67, 0xfeed0001],
    [71, "WIDE"],
  ];
  const fat = { type: "vfat", label: "WIDE", uuid: "FEED-0001", size: 100 * 512 };
  assertEquals(await found(wide), fat);
  // Cluster 5 is the fourth behind 1 + 2 * 3 sectors, two sectors each.
  const root = (7 + 3 * 2) * 512;
  const label: Part[] = [[root, "ROOT       "], [root + 11, 8, "8"]];
  assertEquals(await found(wide, label), { ...fat, label: "ROOT" });
  // The folder is one cluster long.
  const filled = Array.from({ length: 32 }, (_, i): Part => [root + 32 * i, "FILE"]);
  const at = root + 32 * 32;
  assertEquals(await found(wide, [...filled, [at, "BEHIND     "], [at + 11, 8, "8"]]), fat);
});

Deno.test("vfat: what must be true of a boot sector", async () => {
  // It has a length of its tables in one of two fields.
  assertEquals(await found(FAT, [[22, 0, "16"], [36, 0]]), undefined);
  await bounds(FAT, {
    no: [
      [510, 0xaa54, "16"],
      [11, 256, "16"],
      [11, 8192, "16"],
      [11, 513, "16"],
      [13, 0, "8"],
      [13, 3, "8"],
      [14, 0, "16"],
      [16, 0, "8"],
      [16, 5, "8"],
      [21, 0xf7, "8"],
    ],
    yes: [[11, 4096, "16"], [13, 1, "8"], [13, 128, "8"], [16, 4, "8"], [21, 0xf0, "8"]],
  });
});

const EXFAT: readonly Part[] = [
  [3, "EXFAT   "],
  [72, 1000],
  [76, 1],
  [88, 16], // sectors before the clusters
  [96, 4], // the root folder's cluster
  [100, 0x0102abcd],
  [108, 9, "8"],
  [109, 1, "8"],
  [510, 0xaa55, "16"],
];

Deno.test("exfat: the label is in the root folder, of 11 characters at most", async () => {
  const exfat = {
    type: "exfat",
    label: "",
    uuid: "0102-ABCD",
    size: (2 ** 32 + 1000) * 512,
  };
  assertEquals(await found(EXFAT), exfat);
  const root = (16 + 2 * 2) * 512;
  const label = (at: number, length: number): Part[] => [
    [at, 0x83, "8"],
    [at + 1, length, "8"],
    [at + 2, "abcdefghijklm", "utf16"],
  ];
  for (const [length, text] of [[3, "abc"], [11, "abcdefghijk"], [12, "abcdefghijk"]] as const) {
    assertEquals(await found(EXFAT, label(root, length)), { ...exfat, label: text });
  }
  const used = (count: number): Part[] =>
    Array.from({ length: count }, (_, i) => [root + 32 * i, 0x85, "8"]);
  assertEquals((await found(EXFAT, [...used(31), ...label(root + 31 * 32, 3)]))?.label, "abc");
  // The cluster has 32 entries, and a folder ends at an entry of zeroes.
  assertEquals((await found(EXFAT, [...used(32), ...label(root + 32 * 32, 3)]))?.label, "");
  assertEquals((await found(EXFAT, label(root + 32, 3)))?.label, "");
  await bounds(EXFAT, {
    no: [[3, "EXFAS"], [510, 0, "16"], [108, 8, "8"], [108, 13, "8"], [109, 17, "8"]],
    yes: [[108, 12, "8"], [109, 16, "8"]],
  });
});

const NTFS: readonly Part[] = [
  [3, "NTFS    "],
  [11, 512, "16"],
  [13, 2, "8"],
  [40, 1000],
  [44, 1],
  [48, 4], // the cluster of the master file table
  [64, 0xf6, "8"], // records of 2^10 bytes
  [72, [1, 2, 3, 4, 5, 6, 7, 0xab]],
  [510, 0xaa55, "16"],
];

Deno.test("ntfs: the label is in the fourth record of the master file table", async () => {
  const ntfs = {
    type: "ntfs",
    label: "",
    uuid: "AB07060504030201",
    size: (2 ** 32 + 1000) * 512,
  };
  assertEquals(await found(NTFS), ntfs);
  const record = (at: number): Part[] => [
    [at, "FILE"],
    [at + 20, 56, "16"],
    // An attribute before it.
    [at + 56, 0x30],
    [at + 60, 32],
    [at + 88, 0x60],
    [at + 92, 40],
    [at + 104, 10],
    [at + 108, 24, "16"],
    [at + 112, "Größeabc", "utf16"],
  ];
  const at = 4 * 1024 + 3 * 1024;
  const label = record(at);
  assertEquals(await found(NTFS, label), { ...ntfs, label: "Größe" });
  for (
    const part of [
      [at, "FILF"],
      [at + 56, 0xffff_ffff],
      [at + 60, 23],
      [at + 88, 0x61],
      [at + 88, 0xffff_ffff],
    ] as const
  ) assertEquals([part, (await found(NTFS, [...label, part]))?.label], [part, ""]);
  // The shortest attribute that is passed, and the last that fits: its head ends with the record.
  assertEquals(
    (await found(NTFS, [...label, [at + 60, 24], [at + 80, 0x60], [at + 84, 40], [at + 96, 10], [
      at + 100,
      32,
      "16",
    ]]))?.label,
    "Größe",
  );
  const last: Part[] = [
    [at, "FILE"],
    [at + 20, 1000, "16"],
    [at + 1000, 0x60],
    [at + 1004, 24],
    [
      at + 1016,
      2,
    ],
    [at + 1020, 22, "16"],
    [at + 1022, "x", "utf16"],
  ];
  assertEquals((await found(NTFS, last))?.label, "x");
  // Records of whole clusters, and clusters of a power of two.
  assertEquals((await found(NTFS, [[64, 2, "8"], ...record(4 * 1024 + 3 * 2048)]))?.label, "Größe");
  assertEquals(
    (await found(NTFS, [[13, 0xff, "8"], ...record(4 * 1024 + 3 * 1024)]))?.label,
    "Größe",
  );
  // The largest count of sectors a cluster that is no power.
  assertEquals(
    (await found(NTFS, [[13, 128, "8"], [48, 1], ...record(65536 + 3 * 1024)], 1 << 20))?.label,
    "Größe",
  );
  // A record whose attributes run up to its end, and one whose only attribute lies behind it.
  assertEquals((await found(NTFS, [...label, [at + 60, 1024 - 56]]))?.label, "");
  assertEquals((await found(NTFS, [...label, [at + 20, 1001, "16"]]))?.label, "");
  await bounds(NTFS, {
    no: [
      [3, "NTFT    "],
      [510, 0, "16"],
      [11, 128, "16"],
      [11, 8192, "16"],
      [13, 0, "8"],
      [14, 1, "16"],
    ],
    yes: [[11, 256, "16"], [11, 4096, "16"], [13, 128, "8"], [64, 0x90, "8"]],
  });
});

Deno.test("images: each format by how it starts, with the size of the disk inside", async () => {
  const image = (type: string, size: number): FileSystem => ({
    ...{ type, label: "", uuid: "", size },
    image: true,
  });
  const big: Part[] = [[24, 1, "32be"], [28, 5, "32be"]];
  const size = 2 ** 32 + 5;
  const qfi: Part = [0, [0x51, 0x46, 0x49, 0xfb]];
  assertEquals(await found([qfi, [4, 1, "32be"], ...big]), image("qcow", size));
  for (const version of [2, 3]) {
    assertEquals(await found([qfi, [4, version, "32be"], ...big]), image("qcow2", size));
  }
  assertEquals(await found([[0, "QED\0"], [48, 5], [52, 1]]), image("qed", size));
  assertEquals(await found([[0, "KDMV"], [12, 5], [16, 1]]), image("vmdk", size * 512));
  for (const magic of ["COWD", "# Disk DescriptorFile"]) {
    assertEquals(await found([[0, magic]]), image("vmdk", 0));
  }
  assertEquals(await found([[0, "vhdxfile"]]), image("vhdx", 0));
  const vhd: Part[] = [[0, "conectix"], [48, 1, "32be"], [52, 5, "32be"]];
  assertEquals(await found(vhd), image("vhd", size));
  assertEquals(await found([[64, 0xbeda107f], [368, 5], [372, 1]]), image("vdi", size));
  for (const magic of ["WithoutFreeSpace", "WithouFreSpacExt"]) {
    assertEquals(await found([[0, magic], [36, 5], [40, 1]]), image("parallels", size * 512));
  }
  // A fixed VHD has a footer in its last sector, behind a sector at least.
  const disk = new Uint8Array(1024);
  for (const [at, ...rest] of vhd) put(disk, [512 + at, ...rest]);
  const read: ReadAt = (offset, length) => Promise.resolve(disk.slice(offset, offset + length));
  assertEquals(await vhdFooter(read, 1024), image("vhd", size));
  assertEquals(await vhdFooter((_, length) => read(512, length), 1023), undefined);
});

Deno.test("volumes: LUKS, of which the second has a label, and LVM in one of four sectors", async () => {
  const luks: Part[] = [
    [0, [..."LUKS"].map((char) => char.charCodeAt(0))],
    [4, [0xba, 0xbe, 0, 1]],
    [24, "secret"],
    [168, "an id of its own"],
  ];
  const crypto = { type: "crypto_LUKS", label: "", uuid: "an id of its own", size: 0 };
  assertEquals(await found(luks), crypto);
  assertEquals(await found(luks, [[7, 2, "8"]]), { ...crypto, label: "secret" });
  await bounds(luks, { no: [[0, "LUKT"], [4, 0xbb, "8"], [5, 0xbf, "8"]] });
  const lvm = (at: number, header = 32): Part[] => [
    [at, "LABELONE"],
    [at + 20, header],
    [at + 24, "LVM2 001"],
    [at + header, "abcdef0123456789ABCDEFGHIJklmnop"],
    [at + header + 32, 5],
    [at + header + 36, 1],
  ];
  const uuid = "abcdef-0123-4567-89AB-CDEF-GHIJ-klmnop";
  const member = { type: "LVM2_member", label: "", uuid, size: 2 ** 32 + 5 };
  for (const at of [0, 512, 1024, 1536]) assertEquals(await found(lvm(at)), member);
  assertEquals(await found(lvm(2048)), undefined);
  // The header ends with its sector.
  assertEquals(await found(lvm(512, 472)), member);
  assertEquals((await found(lvm(512, 473)))?.uuid === uuid, false);
  await bounds(lvm(512), { no: [[512, "LABELTWO"], [536, "LVM1 001"]] });
});

Deno.test("a partition of less than a sector is not looked at", async () => {
  const luks: Part[] = [[0, [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe, 0, 1]]];
  assertEquals(await found(luks, [], 511), undefined);
  assertEquals((await found(luks, [], 512))?.type, "crypto_LUKS");
});
