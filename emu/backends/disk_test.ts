import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import type { DiskBackend } from "./disk.ts";
import { FileDisk } from "./file_disk.ts";
import { MemoryDisk } from "./memory_disk.ts";

async function inFolder(run: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What every disk must do. */
function contract(disk: DiskBackend): void {
  assertEquals(disk.size, 8192);
  const data = Uint8Array.from({ length: 1024 }, (_, i) => 1 + i % 255);
  const got = new Uint8Array(600);
  disk.write(512, data, 100, 512);
  disk.read(512, got, 50, 512);
  assertEquals(got.subarray(50, 562), data.subarray(100, 612));
  assertEquals([got[49], got[562]], [0, 0]);
  disk.write(7680, data, 0, 512);
  disk.flush();
  disk.zero(512, 256);
  disk.zero(7680, 512);
  disk.read(512, got, 0, 512);
  assertEquals(got.subarray(0, 256), new Uint8Array(256));
  assertEquals(got[256], data[356]);
  disk.read(7680, got, 0, 512);
  assertEquals(got.subarray(0, 512), new Uint8Array(512));
  disk.resize(16384);
  assertEquals(disk.size, 16384);
  disk.read(15872, got, 0, 512);
  assertEquals(got.subarray(0, 512), new Uint8Array(512));
  disk.resize(1024);
  assertEquals(disk.size, 1024);
  disk.read(512, got, 0, 512);
  assertEquals(got[256], data[356]);
  assertThrows(() => disk.resize(1000), RangeError);
}

Deno.test("MemoryDisk keeps the contract", () => {
  using disk = new MemoryDisk(8192);
  contract(disk);
});

Deno.test("FileDisk keeps the contract", () =>
  inFolder((folder) => {
    using disk = new FileDisk(`${folder}/a.img`, { create: 8192 });
    contract(disk);
    assertEquals(Deno.statSync(disk.path).size, 1024);
  }));

Deno.test("MemoryDisk snapshots are copies", () => {
  using disk = new MemoryDisk(1024);
  disk.write(0, Uint8Array.of(1), 0, 1);
  const saved = disk.snapshot();
  disk.write(0, Uint8Array.of(2), 0, 1);
  disk.restore(saved);
  assertEquals(disk.memory[0], 1);
  disk.write(0, Uint8Array.of(3), 0, 1);
  assertEquals(saved[0], 1);
  assertThrows(() => new MemoryDisk(100), RangeError, "multiple of 512");
});

Deno.test("FileDisk keeps what is there, and opens for reading only", () =>
  inFolder((folder) => {
    const path = `${folder}/a.img`;
    Deno.writeFileSync(path, new Uint8Array(1024).fill(9));
    using disk = new FileDisk(path, { readOnly: true, create: 4096 });
    assertEquals([disk.size, disk.readOnly], [1024, true]);
    const got = new Uint8Array(1024);
    disk.read(0, got, 0, 1024);
    assertEquals(got, new Uint8Array(1024).fill(9));
    for (const change of [() => disk.write(0, got, 0, 512), () => disk.zero(512, 512)]) {
      assertEquals(assertThrows(change, VireoError).code, "HOST_ERROR");
    }
    assertEquals(assertThrows(() => disk.resize(512), VireoError).code, "HOST_ERROR");
  }));

Deno.test("FileDisk names what is wrong with an image", () =>
  inFolder((folder) => {
    const path = `${folder}/cut.img`;
    Deno.writeFileSync(path, new Uint8Array(1000));
    const cut = assertThrows(() => new FileDisk(path), VireoError);
    assertEquals([cut.code, cut.seen], ["HOST_ERROR", "1000 bytes"]);
    assert(cut.message.includes("cut.img") && cut.message.includes("truncated"));
    const none = assertThrows(() => new FileDisk(`${folder}/none`), VireoError);
    assertEquals(none.code, "HOST_ERROR");
    assert(String(none.seen).includes("ENOENT"));
    assertEquals(assertThrows(() => new FileDisk(folder), VireoError).code, "HOST_ERROR");
  }));

Deno.test("FileDisk reports a file that was cut behind its back", () =>
  inFolder((folder) => {
    const path = `${folder}/a.img`;
    using disk = new FileDisk(path, { create: 4096 });
    Deno.truncateSync(path, 512);
    const error = assertThrows(() => disk.read(0, new Uint8Array(4096), 0, 4096), VireoError);
    assertEquals(error.code, "HOST_ERROR");
    disk[Symbol.dispose]();
    assertEquals(assertThrows(() => disk.flush(), VireoError).code, "HOST_ERROR");
  }));

/** Bytes that a file takes on the host's disk. */
function taken(path: string): number {
  return Deno.statSync(path).blocks! * 512;
}

Deno.test("FileDisk makes holes of what is discarded or zeroed, and a sparse image stays sparse", () =>
  inFolder((folder) => {
    const path = `${folder}/sparse.img`;
    using disk = new FileDisk(path, { create: 1 << 30 });
    const data = new Uint8Array(1 << 20).fill(7);
    for (const change of [disk.discard, disk.zero]) {
      disk.write(1 << 20, data, 0, data.length);
      assert(taken(path) >= data.length);
      // All of it but its first and last sector, which only a hole in the middle can be.
      change.call(disk, 512, (1 << 30) - 1024);
      assertEquals([taken(path), Deno.statSync(path).size], [0, 1 << 30]);
      const got = new Uint8Array(data.length).fill(1);
      disk.read(1 << 20, got, 0, got.length);
      assertEquals(got, new Uint8Array(data.length));
    }
  }));

Deno.test("FileDisk ignores a discard where holes cannot be made, and writes zeroes", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const module = new URL("./file_disk.ts", import.meta.url).href;
    const path = `${dir}/a.img`;
    const script = `import { FileDisk } from ${JSON.stringify(module)};
      using disk = new FileDisk(${JSON.stringify(path)}, { create: 8192 });
      const bytes = new Uint8Array(4096).fill(7);
      disk.write(0, bytes, 0, 4096);
      disk.discard(0, 4096);
      disk.zero(512, 512);
      disk.read(0, bytes, 0, 4096);
      console.log(bytes[0], bytes[512], bytes[1024]);`;
    await Deno.writeTextFile(`${dir}/script.ts`, script);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      // Without --allow-ffi.
      args: ["run", "--quiet", "-RW", "--config", config, `${dir}/script.ts`],
      env: { DENO_NO_PROMPT: "1" },
    }).output();
    const text = new TextDecoder();
    assertEquals([text.decode(stdout), text.decode(stderr)], ["7 0 7\n", ""]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
