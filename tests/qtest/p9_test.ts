// Needs QEMU and its virtio-9p with a directory whose files the host compares.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { p9Driver, P9Error, type P9Tree } from "@vireo/drivers";
import { Feature, P9OpenFlag } from "@vireo/hal";
import { call as run } from "../cli_helper.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { openVireo } from "../../firmware/session.ts";
import { isNewer } from "../qemu/mod.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 20_000 };
const MIB = 1 << 20;
const { WRITE, READ_WRITE, CREATE, EXCLUSIVE } = P9OpenFlag;

interface Bench extends AsyncDisposable {
  readonly dir: string;
  readonly vireo: Vireo;
  readonly tree: P9Tree;
}

async function start(
  board: string,
  options: { legacy?: boolean; packed?: boolean; readOnly?: boolean } = {},
): Promise<Bench> {
  await using cleanup = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "vireo-p9-" });
  cleanup.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/from_host.txt`, "the host's words");
  const vireo = cleanup.use(
    await openVireo({
      target: `qtest:${board}`,
      legacy: options.legacy === true,
      packed: options.packed === true,
      blk: [],
      net: { kind: "none" },
      with: [{ name: "9p", value: options.readOnly ? `${dir},ro` : dir }],
    }),
  );
  const tree = await vireo.get(p9Driver).attach(SOON);
  const owned = cleanup.move();
  return { dir, vireo, tree, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const random = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
};
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

async function refused(run: () => Promise<unknown>, name: string): Promise<void> {
  assertEquals((await assertRejects(run, P9Error)).errnoName, name);
}

/** A file each way, compared on the host, and a directory. */
async function checkTree({ dir, tree, vireo }: Bench): Promise<void> {
  assertEquals(vireo.get(p9Driver).mountTag, "vireo");
  assertEquals(text(await tree.readFile("from_host.txt", SOON)), "the host's words");
  const big = random(4 * MIB);
  await tree.writeFile("from_guest", big, SOON);
  assertEquals(await Deno.readFile(`${dir}/from_guest`), big);
  const other = random(4 * MIB + 12_345);
  await Deno.writeFile(`${dir}/other`, other);
  assertEquals(await tree.readFile("other", SOON), other);
  await tree.mkdir("sub", SOON);
  await tree.rename("from_guest", "sub/moved", SOON);
  assertEquals((await Deno.stat(`${dir}/sub/moved`)).size, 4 * MIB);
  assertEquals((await tree.list("", SOON)).map(({ name, kind }) => `${kind} ${name}`).sort(), [
    ...["directory sub", "file from_host.txt", "file other"],
  ]);
  await refused(() => tree.stat("none", SOON), "ENOENT");
}

for (const legacy of [false, true]) {
  const version = legacy ? 1 : 2;
  Deno.test(`9p on aarch64-virt, version ${version}: files go both ways, byte by byte`, async () => {
    await using bench = await start("aarch64-virt", { legacy });
    await checkTree(bench);
  });
}
for (const board of ["x86_64-microvm", "riscv64-virt"]) {
  Deno.test(`9p on ${board}: files go both ways, byte by byte`, async () => {
    await using bench = await start(board);
    await checkTree(bench);
  });
}
for (const packed of [false, true]) {
  Deno.test(`9p on x86_64-q35, ${packed ? "packed" : "split"} ring: files go both ways`, async () => {
    await using bench = await start("x86_64-q35", { packed });
    const device = bench.vireo.bus.devices.find(({ deviceId }) => deviceId === 9)!;
    assertEquals(device.has(Feature.RING_PACKED), packed);
    await checkTree(bench);
  });
}

Deno.test("9p on QEMU: a directory of 300 files is listed, and all are read at once", async () => {
  await using bench = await start("aarch64-virt");
  const { dir, tree } = bench;
  const names = Array.from({ length: 300 }, (_, i) => `file number ${i} ${"x".repeat(i % 200)}`);
  await tree.mkdir("many", SOON);
  await Promise.all(
    names.slice(0, 150).map((name) => tree.writeFile(`many/${name}`, bytes(`it is ${name}`), SOON)),
  );
  for (const name of names.slice(150)) {
    await Deno.writeTextFile(`${dir}/many/${name}`, `it is ${name}`);
  }
  const listed = await tree.list("many", SOON);
  assertEquals(listed.map(({ name }) => name).sort(), [...names].sort());
  assert(listed.every(({ kind }) => kind === "file"));
  for (const name of names.slice(0, 150)) {
    assertEquals(await Deno.readTextFile(`${dir}/many/${name}`), `it is ${name}`);
  }
  const read = await Promise.all(names.map((name) => tree.readFile(`many/${name}`, SOON)));
  assertEquals(read.map(text), names.map((name) => `it is ${name}`));
});

Deno.test("9p on QEMU: attributes, links, sizes and refusals are the host's", async () => {
  await using bench = await start("aarch64-virt");
  const { dir, tree } = bench;
  await using file = await tree.open("f", READ_WRITE | CREATE | EXCLUSIVE, { mode: 0o640 });
  await file.write(10, bytes("ten"), SOON);
  await file.sync(SOON);
  assertEquals(await Deno.readTextFile(`${dir}/f`), `${"\0".repeat(10)}ten`);
  assertEquals([await file.size(SOON), text(await file.read(10, 99, SOON))], [13, "ten"]);
  await file.truncate(11, SOON);
  await tree.change("f", { mode: 0o604, mtime: new Date(1_234_567_000) }, SOON);
  const host = await Deno.stat(`${dir}/f`);
  assertEquals([host.size, host.mode! & 0o777, host.mtime], [11, 0o604, new Date(1_234_567_000)]);
  const { size, mode, mtime, uid, qid } = await tree.stat("f", SOON);
  assertEquals([size, mode, mtime, uid], [11, 0o604, host.mtime, host.uid!]);
  if (isNewer("QID_PATH")) {
    const again = await tree.stat("f", SOON);
    const other = await tree.stat(".", SOON);
    assertEquals([again.qid.path === qid.path, other.qid.path === qid.path], [true, false]);
  } else {
    // QEMU keeps the inode's low bits, at least.
    assertEquals(BigInt(qid.path) & 0xffffffn, BigInt(host.ino!) & 0xffffffn);
  }
  await Deno.mkdir(`${dir}/a/b`, { recursive: true });
  await tree.symlink("../f", "a/link", SOON);
  assertEquals(await Deno.readLink(`${dir}/a/link`), "../f");
  assertEquals(await tree.readlink("a/link", SOON), "../f");
  assertEquals((await tree.readFile("a/link", SOON)).length, 11);
  assertEquals((await tree.lstat("a/link", SOON)).kind, "symlink");
  await Deno.symlink("/etc/hostname", `${dir}/out`);
  await refused(() => tree.readFile("out", SOON), "ENOENT");
  await refused(() => tree.readFile("a/none/x", SOON), "ENOENT");
  await refused(() => tree.stat("f/below", SOON), "ENOTDIR");
  await refused(() => tree.mkdir("a", SOON), "EEXIST");
  await refused(() => tree.open("f", WRITE | CREATE | EXCLUSIVE, SOON), "EEXIST");
  await refused(() => tree.remove("a", SOON), "ENOTEMPTY");
  await refused(() => tree.list("f", SOON), "ENOTDIR");
  await refused(() => tree.writeFile("n".repeat(256), bytes("x"), SOON), "ENAMETOOLONG");
  await tree.remove("a/link", SOON);
  await tree.remove("a/b", SOON);
  await tree.remove("a", SOON);
  await assertRejects(() => Deno.stat(`${dir}/a`), Deno.errors.NotFound);
  const { blockSize, blocks, free, nameLength } = await tree.statfs(SOON);
  assert(blockSize >= 512 && blocks > free && nameLength === 255);
});

Deno.test("9p on QEMU: what is given up is flushed, and the session goes on", async () => {
  await using bench = await start("aarch64-virt");
  const { tree } = bench;
  for (let i = 0; i < 20; i++) {
    const abort = new AbortController();
    const waits = Array.from(
      { length: 8 },
      () => tree.readFile("from_host.txt", { signal: abort.signal }).catch(() => "given up"),
    );
    // After a few answers, in the middle of what they do.
    for (let turn = 0; turn < i; turn++) await tree.lstat("", SOON);
    abort.abort(new Error("enough"));
    await Promise.all(waits);
  }
  assertEquals(text(await tree.readFile("from_host.txt", SOON)), "the host's words");
  const again = await bench.vireo.get(p9Driver).attach(SOON);
  assertEquals((await again.list("", SOON)).length, 1);
});

Deno.test("9p on QEMU: a read-only tree takes nothing; after a suspend one attaches again", async () => {
  await using bench = await start("aarch64-virt", { readOnly: true });
  const { tree, vireo } = bench;
  await refused(() => tree.writeFile("f", bytes("x"), SOON), "EROFS");
  await refused(() => tree.remove("from_host.txt", SOON), "EROFS");
  await vireo.bus.freeze();
  await vireo.bus.restore();
  const again = await vireo.get(p9Driver).attach(SOON);
  assertEquals(text(await again.readFile("from_host.txt", SOON)), "the host's words");
});

Deno.test("vireo 9p: ls, cat and put on the emulator and on QEMU", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const data = random(100_000);
  await Deno.writeFile(`${dir}/in`, data);
  for (const target of ["emu", "qtest:aarch64-virt"]) {
    const share = `${dir}/${target.slice(0, 3)}`;
    await Deno.mkdir(share);
    const board = `--target ${target} --with 9p=${share}`;
    const put = await run(`9p put --json ${board} data ${dir}/in`);
    assertEquals([put.code, put.out, put.err], [0, '{"path":"data","bytes":100000}\n', ""]);
    assertEquals((await run(`9p put ${board} words`, "words")).code, 0);
    assertEquals(await Deno.readTextFile(`${share}/words`), "words");
    assertEquals((await run(`9p cat ${board} data`)).raw, data);
    const listed = JSON.parse((await run(`9p ls --json ${board}`)).out);
    assertEquals(
      listed.map(({ name, kind, size }: Record<string, unknown>) => [name, kind, size]),
      [
        ["data", "file", 100_000],
        ["words", "file", 5],
      ],
    );
    const none = await run(`9p cat ${board} none`);
    assertEquals([none.code, none.out, none.err.includes("ENOENT")], [1, "", true]);
  }
  assertEquals((await run("9p ls --with 9p=a,b")).code, 2);
  assert((await run("9p put --help")).out.includes("$ vireo 9p put"));
});
