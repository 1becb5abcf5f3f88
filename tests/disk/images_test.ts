/**
 * What is read of disks against what the tools of Linux read: `sfdisk --json` (or `fdisk` where blocks have
 * 4096 bytes), `blkid` and `qemu-img`, on images that real tools made.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { crc32 } from "node:zlib";
import { type DiskContents, readContents } from "../../firmware/disk/disk_report.ts";
import type { FileSystem } from "../../firmware/disk/superblock.ts";
import { TempFolder } from "../temp_folder.ts";

/** An image: how it is made, as a shell script with its path in `$I` and a scratch folder in `$T`. */
interface Image {
  readonly size: string;
  readonly make: string;
  /** Logical block size in bytes; 512 by default. */
  readonly blockSize?: number;
  /** Set where the tool takes a boot sector for an empty MBR: `fdisk`, and `blkid` 2.38 of exFAT. */
  readonly bare?: true;
  /** What must be remarked of its table. */
  readonly remarks?: readonly string[];
}

const dos = (...lines: string[]): string =>
  `printf '%s\\n' 'label: dos' ${lines.map((line) => `'${line}'`).join(" ")} | sfdisk -q "$I"`;
const gpt = (...lines: string[]): string =>
  `printf '%s\\n' 'label: gpt' ${lines.map((line) => `'${line}'`).join(" ")} | sfdisk -q "$I"`;
/** `fdisk` answers 0 here only if it could write. */
const fdisk4096 = (...keys: string[]): string =>
  `printf '%s\\n' ${keys.map((key) => `'${key}'`).join(" ")} | fdisk -b 4096 "$I" >"$T/log"`;
const zero = (sector: number, count: number): string =>
  `dd if=/dev/zero of="$I" bs=512 seek=${sector} count=${count} conv=notrunc status=none`;

const IMAGES: Readonly<Record<string, Image>> = {
  "zeroes": { size: "1M", make: "true" },
  "dos, empty": { size: "8M", make: dos() },
  "dos, four primary": {
    size: "64M",
    make: dos("size=8M,type=83", "size=8M,type=82", "size=8M,type=c,bootable", "type=8e"),
  },
  "dos, a gap in the numbers": { size: "32M", make: dos("3: size=4M", "1: size=4M") },
  "dos, extended and logical": {
    size: "128M",
    make: dos("size=8M", "type=5", "size=8M", "size=8M,type=82", "size=16M,type=7"),
  },
  "dos, extended by LBA, 30 logical": {
    size: "256M",
    make: dos("size=8M", "type=f", ...Array.from({ length: 30 }, () => "size=4M")),
  },
  "dos, Linux extended": { size: "64M", make: dos("type=85", "size=8M", "size=8M") },
  "dos, a logical one deleted": {
    size: "64M",
    make: `${dos("type=5", "size=8M", "size=8M", "size=8M")}; sfdisk -q --delete "$I" 6`,
  },
  "dos, file systems inside": {
    size: "64M",
    make: `${dos("size=16M", "size=16M,type=c")}; ` +
      `mke2fs -q -F -t ext4 -L one -E offset=1048576 "$I" 16M; mkfs.fat -n TWO --offset=34816 "$I" 16384 >"$T/log"`,
  },
  "gpt, empty": { size: "8M", make: gpt() },
  "gpt, three with names": {
    size: "64M",
    make: gpt("size=8M,type=uefi,name=boot", 'size=16M,name="Größe ✓"', "name=rest"),
  },
  "gpt, 128": {
    size: "256M",
    make: gpt(...Array.from({ length: 128 }, (_, i) => `size=64K,name=p${i + 1}`)),
  },
  "gpt, 4096 entries, the last ones used": {
    size: "64M",
    make: gpt("table-length: 4096", "1: size=1M", "1500: size=1M,name=far", "4096: size=1M"),
  },
  "gpt, primary header damaged": {
    size: "32M",
    make: `${gpt("size=8M,name=a", "name=b")}; ${zero(1, 1)}`,
    remarks: ["the primary GPT is damaged: these are the partitions of its backup"],
  },
  "gpt, primary entries damaged": {
    size: "32M",
    make: `${gpt("size=8M,name=a", "name=b")}; ${zero(2, 1)}`,
    remarks: ["the primary GPT is damaged: these are the partitions of its backup"],
  },
  "gpt, backup damaged": {
    size: "32M",
    make: `${gpt("size=8M,name=a")}; ${zero(65535, 1)}`,
    remarks: ["the backup GPT is damaged or missing"],
  },
  "gpt, both damaged": {
    size: "32M",
    make: `${gpt("size=8M,name=a")}; ${zero(1, 1)}; ${zero(65535, 1)}`,
    remarks: ["there is a protective MBR, but neither of its GPTs is whole"],
  },
  "gpt, on a disk that grew": {
    size: "32M",
    make: `${gpt("size=8M,name=a")}; truncate -s 64M "$I"`,
    remarks: [
      "the backup GPT is not at the end of the disk, which has another size than its GPT says",
    ],
  },
  "gpt in blocks of 4096 bytes": {
    size: "64M",
    blockSize: 4096,
    make: fdisk4096("g", "n", "", "", "+2000", "n", "", "", "", "w"),
  },
  "dos in blocks of 4096 bytes": {
    size: "64M",
    blockSize: 4096,
    make: fdisk4096(
      "o",
      "n",
      "p",
      "1",
      "",
      "+2000",
      "n",
      "e",
      "2",
      "",
      "",
      "n",
      "l",
      "",
      "+1000",
      "w",
    ),
  },
  "ext2": { size: "8M", make: `mke2fs -q -F -t ext2 -L two "$I"` },
  "ext3": { size: "32M", make: `mke2fs -q -F -t ext3 -L three "$I"` },
  "ext4": { size: "32M", make: `mke2fs -q -F -t ext4 -L 'Größe' "$I"` },
  "ext4, blocks of 1 KiB, 64-bit": {
    size: "32M",
    make: `mke2fs -q -F -t ext4 -O 64bit -b 1024 "$I"`,
  },
  "fat12": { size: "1440K", make: `mkfs.fat -F 12 -n FLOPPY "$I" >"$T/log"` },
  "fat16, no label": { size: "32M", make: `mkfs.fat -F 16 "$I" >"$T/log"` },
  "fat32": { size: "300M", make: `mkfs.fat -F 32 -n "A DISK" "$I" >"$T/log"` },
  "fat32, sectors of 4096 bytes": {
    size: "300M",
    blockSize: 4096,
    bare: true,
    make: `mkfs.fat -F 32 -S 4096 -n BIG "$I" >"$T/log"`,
  },
  "exfat": { size: "64M", bare: true, make: `mkfs.exfat -L 'Stick €' "$I" >"$T/log"` },
  "ntfs": { size: "64M", make: `mkntfs -q -F -f -L 'Größe' "$I" >"$T/log" 2>&1` },
  "ntfs, clusters of 64 KiB": { size: "64M", make: `mkntfs -q -F -f -c 65536 "$I" >"$T/log" 2>&1` },
  "xfs": { size: "310M", make: `mkfs.xfs -q -L ex "$I"` },
  "btrfs": { size: "128M", make: `mkfs.btrfs -q -L butter "$I"` },
  "f2fs": { size: "64M", make: `mkfs.f2fs -q -l flash "$I" >"$T/log"` },
  "erofs": { size: "0", make: `mkfs.erofs "$I" "$T/files" >"$T/log" 2>&1` },
  "squashfs": {
    size: "0",
    make: `mksquashfs "$T/files" "$I" -noappend -quiet -no-progress >"$T/log"`,
  },
  "udf": { size: "16M", make: `mkudffs --label=disc "$I" >"$T/log"` },
  "udf, blocks of 2048 bytes, wide label": {
    size: "16M",
    make: `mkudffs --utf8 --blocksize=2048 --label='Größe €' "$I" >"$T/log"`,
  },
  "swap": { size: "8M", make: `mkswap -q -L sw "$I"` },
  "swap, pages of 64 KiB": { size: "8M", make: `mkswap -q -p 65536 "$I" 2>"$T/log"` },
  "luks1": { size: "16M", make: luksFormat("luks1") },
  "luks2": { size: "32M", make: `${luksFormat("luks2")}; cryptsetup config --label secret "$I"` },
  "iso9660": {
    size: "0",
    make: `xorriso -as mkisofs -quiet -V DISC -o "$I" "$T/files" 2>"$T/log"`,
  },
  "hybrid ISO with an MBR": {
    size: "0",
    make: `truncate -s 1M "$T/part"; xorriso -as mkisofs -quiet -V HYBRID -partition_offset 16 ` +
      `-append_partition 2 0x83 "$T/part" -o "$I" "$T/files" 2>"$T/log"`,
  },
  "hybrid ISO with a GPT": {
    size: "0",
    make:
      `truncate -s 1M "$T/part"; xorriso -as mkisofs -quiet -V HYBRID -append_partition 2 0xef ` +
      `"$T/part" -appended_part_as_gpt -o "$I" "$T/files" 2>"$T/log"`,
  },
};

function luksFormat(type: string): string {
  return `printf secret | cryptsetup luksFormat -q --type ${type} --pbkdf pbkdf2 ` +
    `--pbkdf-force-iterations 1000 "$I" -`;
}

/** Runs a program; what it says, or undefined if it fails. */
async function tool(program: string, ...args: string[]): Promise<string | undefined> {
  const { success, stdout } = await new Deno.Command(program, { args, env: ENV, stderr: "null" })
    .output();
  return success ? new TextDecoder().decode(stdout) : undefined;
}

const ENV = { LC_ALL: "C.UTF-8", PATH: `${Deno.env.get("PATH")}:/usr/sbin:/sbin` };

/** Makes an image in a folder. */
async function make(dir: string, { size, make }: Image): Promise<string> {
  const path = `${dir}/disk.img`;
  await Deno.mkdir(`${dir}/files`);
  await Deno.writeTextFile(`${dir}/files/hello.txt`, "hello\n");
  const script = `set -e; truncate -s ${size} "$I"; ${make}`;
  const { success, stderr } = await new Deno.Command("sh", {
    args: ["-c", script],
    env: { ...ENV, I: path, T: dir },
    stdout: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return path;
}

/** Our reading of an image. */
async function contentsOf(path: string, blockSize = 512): Promise<DiskContents> {
  using file = await Deno.open(path);
  const { size } = await file.stat();
  return await readContents(async (offset, length) => {
    const bytes = new Uint8Array(Math.max(Math.min(length, size - offset), 0));
    await file.seek(offset, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await file.read(bytes.subarray(at)) ?? bytes.length;
    return bytes;
  }, { size: size - size % blockSize, blockSize });
}

/** A partition as both sides report it. */
type Seen = readonly [number: number, start: number, length: number, type: string, name: string];

const NO_TABLE: { scheme: string | null; partitions: Seen[] } = { scheme: null, partitions: [] };

/** A partition in the JSON of `sfdisk`, in sectors of 512 bytes. */
interface Listed {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly name?: string;
}

/**
 * The table as `sfdisk` sees it, where `blkid` sees one too: `sfdisk` takes the boot sector of a FAT for an
 * MBR, and a protective MBR without its GPT for a partition.
 */
async function sfdisk(path: string): Promise<{ scheme: string | null; partitions: Seen[] }> {
  const known = (await blkid(path)).get("PTTYPE");
  const text = await tool("sfdisk", "--json", path);
  if (text === undefined || (known !== "dos" && known !== "gpt")) {
    return NO_TABLE;
  }
  const { label, partitions } = JSON.parse(text).partitiontable;
  return {
    scheme: label === "dos" ? "mbr" : label,
    partitions: (partitions ?? []).map((
      { node, start, size, type, name = "" }: Listed,
    ) => [
      Number(/\d+$/.exec(node)![0]),
      start * 512,
      size * 512,
      type.toLowerCase().padStart(2, "0"),
      name,
    ]),
  };
}

/** The same by `fdisk`, whose blocks may be others than of 512 bytes. */
async function fdisk(
  path: string,
  unit: number,
): Promise<{ scheme: string | null; partitions: Seen[] }> {
  const text = await tool("fdisk", "-b", String(unit), "-l", path) ?? "";
  const scheme = /Disklabel type: (\w+)/.exec(text)?.[1];
  const columns = scheme === "gpt" ? "Device,Start,Sectors,Type-UUID" : "Device,Start,Sectors,Id";
  const table = await tool("fdisk", "-b", String(unit), "-l", "-o", columns, path) ?? "";
  const rows = table.split("\n").filter((line) => line.startsWith(path));
  return {
    scheme: scheme === "dos" ? "mbr" : scheme ?? null,
    partitions: rows.map((row) => {
      const [node, start, size, type] = row.split(/\s+/);
      const number = Number(/\d+$/.exec(node!)![0]);
      return [
        number,
        Number(start) * unit,
        Number(size) * unit,
        type!.toLowerCase().padStart(2, "0"),
        "",
      ];
    }),
  };
}

/** What `blkid` knows of a range of an image, by its names. */
async function blkid(path: string, start?: number, length?: number): Promise<Map<string, string>> {
  const range = length === undefined ? [] : ["-O", String(start ?? 0), "-S", String(length)];
  const text = await tool("blkid", "-p", "-o", "export", ...range, path) ?? "";
  return new Map(
    text.split("\n").map((line): [string, string] => {
      const [, name = "", value = ""] = /^([^=]*)=(.*)$/.exec(line) ?? [];
      return [name, unescaped(value)];
    }),
  );
}

/** Takes back what `blkid` does for shells and terminals: `\\ ` is a space, `M-C` the byte 0xc3. */
function unescaped(text: string): string {
  const bytes: number[] = [];
  for (const [part, meta, control, escaped] of text.matchAll(/(M-)?(\^)?(?:\\(?=.))?(.)/g)) {
    const plain = meta === undefined && control !== undefined ? part : undefined;
    if (plain !== undefined) bytes.push(...new TextEncoder().encode(plain));
    else bytes.push((escaped!.charCodeAt(0) ^ (control ? 0x40 : 0)) | (meta ? 0x80 : 0));
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** The file system that `blkid` finds in a range, in the same words as ours. */
async function theirs(path: string, start: number, length: number): Promise<string> {
  const found = await blkid(path, start, length);
  if (!found.has("TYPE")) return "";
  return describe(found.get("TYPE")!, found.get("LABEL") ?? "", found.get("UUID") ?? "");
}

function describe(type: string, label: string, uuid: string): string {
  // A volume's UUID is made of other fields for UDF: that is not for reading a disk.
  return `${type} '${label}'${type === "udf" ? "" : ` ${uuid}`}`;
}

function described(fileSystem: FileSystem | null | undefined): string {
  return fileSystem ? describe(fileSystem.type, fileSystem.label, fileSystem.uuid) : "";
}

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  await body(dir);
}

Deno.test("disks that real tools made are read as sfdisk and blkid read them", async (t) => {
  assert(Object.keys(IMAGES).length >= 30);
  for (const [name, image] of Object.entries(IMAGES)) {
    await t.step(name, () =>
      inFolder(async (dir) => {
        const path = await make(dir, image);
        const { blockSize = 512, remarks = [], bare } = image;
        const contents = await contentsOf(path, blockSize);
        const expected = blockSize === 512 ? await sfdisk(path) : await fdisk(path, blockSize);
        const ours = contents.partitions.filter(({ number }) => number > 0)
          .map(({ number, start, length, type, name }): Seen => [
            number,
            start,
            length,
            type,
            blockSize === 512 ? name : "",
          ]);
        assertEquals({ scheme: contents.scheme, partitions: ours }, bare ? NO_TABLE : expected);
        assertEquals(contents.remarks, remarks);
        assertEquals(contents.partitions.filter(({ beyond }) => beyond), []);
        const whole = contents.partitions.find(({ number }) => number === 0);
        const { size } = await Deno.stat(path);
        assertEquals(described(whole?.fileSystem), await theirs(path, 0, size));
        for (const { number, start, length, fileSystem } of contents.partitions.slice(0, 8)) {
          if (number === 0) continue;
          assertEquals([number, described(fileSystem)], [
            number,
            await theirs(path, start, length),
          ]);
        }
      }));
  }
});

Deno.test("images of emulators are named as qemu-img names them, with the size of the disk inside", async (t) => {
  // What qemu-img calls a VHD; its sizes are made of cylinders.
  const formats = {
    qcow2: "qcow2",
    vmdk: "vmdk",
    vdi: "vdi",
    vpc: "vhd",
    vhdx: "vhdx",
    qed: "qed",
  };
  for (
    const [format, type] of Object.entries({ ...formats, qcow: "qcow", parallels: "parallels" })
  ) {
    await t.step(format, () =>
      inFolder(async (dir) => {
        const path = await make(dir, {
          size: "0",
          make: `qemu-img create -q -f ${format} "$I" 64M`,
        });
        const info = JSON.parse((await tool("qemu-img", "info", "--output=json", path))!);
        const { scheme, partitions } = await contentsOf(path);
        const { fileSystem } = partitions[0]!;
        assertEquals([scheme, fileSystem?.type, fileSystem?.image], [null, type, true]);
        assertEquals([info.format, fileSystem?.size], [
          format,
          type === "vhdx" ? 0 : info["virtual-size"],
        ]);
      }));
  }
  await t.step("vpc, subformat=fixed", () =>
    inFolder(async (dir) => {
      const path = await make(dir, {
        size: "0",
        make: `qemu-img create -q -f vpc -o subformat=fixed,force_size=on "$I" 64M; ${
          dos("size=8M")
        }`,
      });
      const { scheme, partitions } = await contentsOf(path);
      // It is a raw disk as well, with its footer after the end.
      assertEquals([scheme, partitions.map(({ number }) => number)], ["mbr", [0, 1]]);
      assertEquals([partitions[0]!.fileSystem?.type, partitions[0]!.fileSystem?.size], [
        "vhd",
        64 << 20,
      ]);
    }));
});

Deno.test("a physical volume of LVM is known by its label", () =>
  inFolder(async (dir) => {
    const path = await make(dir, { size: "8M", make: "true" });
    const sector = new Uint8Array(512);
    const view = new DataView(sector.buffer);
    sector.set(new TextEncoder().encode("LABELONE"));
    view.setUint32(8, 1, true);
    view.setUint32(20, 32, true);
    sector.set(new TextEncoder().encode("LVM2 001"), 24);
    sector.set(new TextEncoder().encode("abcdef0123456789ABCDEFGHIJklmnop"), 32);
    view.setUint32(64, 8 << 20, true);
    // The label's own sum: CRC-32 from another start, without the last inversion.
    view.setUint32(16, ~crc32(sector.subarray(20), ~0xf597a6cf >>> 0) >>> 0, true);
    const file = await Deno.open(path, { write: true });
    await file.seek(512, Deno.SeekMode.Start);
    await file.write(sector);
    file.close();
    const { partitions } = await contentsOf(path);
    assertEquals(partitions.map(({ fileSystem }) => described(fileSystem)), [
      await theirs(path, 0, 8 << 20),
    ]);
    assertEquals(partitions[0]?.fileSystem?.size, 8 << 20);
  }));

Deno.test("partitions past the end are marked, and a table in other blocks than the device's is said", () =>
  inFolder(async (dir) => {
    const path = await make(dir, { size: "64M", make: gpt("size=16M,name=in", "name=out") });
    await Deno.truncate(path, 32 << 20);
    const cut = await contentsOf(path);
    assertEquals(cut.partitions.map(({ name, beyond }) => [name, beyond]), [["in", false], [
      "out",
      true,
    ]]);
    assertEquals(cut.remarks, ["the backup GPT is damaged or missing"]);
    await Deno.truncate(path, 64 << 20);

    for (
      const [script, scheme] of [[gpt("size=8M", "size=8M"), "gpt"], [
        dos("size=16M", "size=40M"),
        "mbr",
      ]]
    ) {
      await Deno.remove(`${dir}/files`, { recursive: true });
      await Deno.remove(path);
      await make(dir, { size: "64M", make: script! });
      const small = await contentsOf(path);
      const large = await contentsOf(path, 4096);
      assertEquals([large.scheme, large.unit, large.partitions], [
        scheme as "gpt",
        512,
        small.partitions,
      ]);
      assertEquals(large.remarks, [
        "the table counts in blocks of 512 bytes, but the device's are 4096",
      ]);
    }
  }));

Deno.test("two bytes of a signature make no file system", async () => {
  const disk = new Uint8Array(1 << 20);
  const view = new DataView(disk.buffer);
  view.setUint16(1024 + 56, 0xef53, true);
  view.setUint16(510, 0xaa55, true);
  disk.set(new TextEncoder().encode("XFSB"));
  const read = (offset: number, length: number) =>
    Promise.resolve(disk.subarray(offset, offset + length));
  const contents = await readContents(read, { size: disk.length, blockSize: 512 });
  assertEquals([contents.scheme, contents.partitions], ["mbr", []]);
});
