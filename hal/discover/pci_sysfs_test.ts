import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { FileMmio, parsePciResources, readSysfsPci } from "./mod.ts";

Deno.test("readSysfsPci lists functions by address, but not one that goes while it looks", async () => {
  const root = await Deno.makeTempDir({ prefix: "vireo-sysfs-" });
  try {
    for (const [name, device] of [["0000:00:03.0", "0x1044"], ["0000:01:00.0", "0x1041"]]) {
      await Deno.mkdir(`${root}/${name}`);
      await Deno.writeTextFile(`${root}/${name}/vendor`, "0x1af4\n");
      await Deno.writeTextFile(`${root}/${name}/device`, `${device}\n`);
    }
    // Listed, and gone when it is read.
    await Deno.symlink(`${root}/gone`, `${root}/0000:00:04.0`);
    assertEquals(
      readSysfsPci(root).map(({ name, address, vendor, device }) => [
        ...[name, address.bus, address.device, vendor, device],
      ]),
      [["0000:00:03.0", 0, 3, 0x1af4, 0x1044], ["0000:01:00.0", 1, 0, 0x1af4, 0x1041]],
    );
    assertEquals(readSysfsPci(`${root}/none`), []);
    // What is there and cannot be read is no function that is gone.
    await Deno.mkdir(`${root}/0000:00:05.0/vendor`, { recursive: true });
    assertThrows(() => readSysfsPci(root), Deno.errors.IsADirectory);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("parsePciResources takes ranges of memory and ports of the first six lines", () => {
  const [io, memory] = ["0x0000000000040101", "0x0000000000040200"];
  const lines = [
    `0x1000 0x107f ${io}`,
    "0x0 0x0 0x0",
    // No bit says of what it is, or it has one byte, which no register decodes, or less.
    "0x2000 0x2fff 0x0000000000040000",
    `0x3000 0x3000 ${memory}`,
    `0x3000 0x2fff ${memory}`,
    `0xfffffff000 0xffffffffff ${memory}`,
    // The seventh is the ROM's.
    `0x4000 0x4fff ${memory}`,
  ];
  assertEquals(parsePciResources(`${lines.join("\n")}\n`), [
    { index: 0, space: "io", address: 0x1000, size: 0x80 },
    { index: 5, space: "memory", address: 0xff_ffff_f000, size: 0x1000 },
  ]);
  assertEquals(parsePciResources(`0x3000 0x3001 ${memory}`)[0]?.size, 2);
  assertEquals(parsePciResources(""), []);
  assertEquals(parsePciResources("0x1000 0x107f"), []);
});

Deno.test("FileMmio reads and writes each width at its offset, and closes its file once", async () => {
  const path = await Deno.makeTempFile({ prefix: "vireo-registers-" });
  try {
    await Deno.writeFile(path, Uint8Array.from({ length: 16 }, (_, i) => i));
    const registers = new FileMmio("fn config", path);
    assertEquals([registers.name, registers.size], ["fn config", 16]);
    assertEquals(
      [registers.read8(3), registers.read16(6), registers.read32(12)],
      [3, 0x0706, 0x0f0e0d0c],
    );
    registers.write8(1, 0xab);
    registers.write16(2, 0x1234);
    registers.write32(8, 0xdead_beef);
    assertEquals(
      [...await Deno.readFile(path)],
      [0, 0xab, 0x34, 0x12, 4, 5, 6, 7, 0xef, 0xbe, 0xad, 0xde, 12, 13, 14, 15],
    );
    for (const at of [16, -4, 2, NaN]) assertThrows(() => registers.read32(at), RangeError);
    registers[Symbol.dispose]();
    registers[Symbol.dispose]();
    const closed = assertThrows(() => registers.read8(0), VireoError, "the window is closed");
    assertEquals([closed.code, closed.device], ["BAD_ACCESS", "fn config"]);
  } finally {
    await Deno.remove(path);
  }
  const error = assertThrows(() => new FileMmio("fn", `${path}/none`), VireoError);
  assertEquals([error.code, error.device], ["BAD_ACCESS", "fn"]);
});

Deno.test("FileMmio tells a file that ends from a function that Linux has removed", async () => {
  const path = await Deno.makeTempFile({ prefix: "vireo-registers-" });
  const { readSync, writeSync } = Deno.FsFile.prototype;
  try {
    await Deno.writeFile(path, new Uint8Array(6));
    using registers = new FileMmio("fn", path, 256);
    const failure = (access: () => unknown): unknown[] => {
      const { code, device, register, seen } = assertThrows(access, VireoError);
      return [code, device, register, seen];
    };
    // Two bytes of four are there, or none.
    for (const at of [4, 8]) {
      assertEquals(
        failure(() => registers.read32(at)),
        ["BAD_ACCESS", "fn", `0x${at}`, "nothing"],
      );
    }
    Deno.FsFile.prototype.writeSync = () => 1;
    assertEquals(
      failure(() => registers.write32(16, 1)),
      ["BAD_ACCESS", "fn", "0x10", "a part of it written"],
    );
    registers.write8(16, 1);
    const gone = (): never => {
      throw new Error("No such device (os error 19)");
    };
    Object.assign(Deno.FsFile.prototype, { readSync: gone, writeSync: gone });
    assertEquals(
      [registers.read8(0), registers.read16(0), registers.read32(0)],
      [0xff, 0xffff, 0xffff_ffff],
    );
    registers.write8(0, 1);
    registers.write32(0, 1);
    const other = (): never => {
      throw new Error("Input/output error (os error 5)");
    };
    Object.assign(Deno.FsFile.prototype, { readSync: other, writeSync: other });
    assertThrows(() => registers.read8(0), Error, "os error 5");
    assertThrows(() => registers.write8(0, 1), Error, "os error 5");
  } finally {
    Object.assign(Deno.FsFile.prototype, { readSync, writeSync });
    await Deno.remove(path);
  }
});
