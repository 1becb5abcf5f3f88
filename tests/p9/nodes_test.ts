// Links, device files, owners, extended attributes and locks: our driver on our server.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { EmulatedMachine, HostTree, MemoryTree, P9Device, type P9Export } from "@vireo/emu";
import { Bus } from "@vireo/drivers/bus";
import { p9Driver, P9Error, type P9Tree } from "@vireo/drivers/p9";
import { P9OpenFlag } from "@vireo/hal";
import { bytesBy } from "../noise.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 5000 };
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

async function refused(run: () => Promise<unknown>, name: string): Promise<void> {
  assertEquals((await assertRejects(run, P9Error, name)).errnoName, name);
}

async function boot(files: P9Export): Promise<AsyncDisposable & { model: P9Device; tree: P9Tree }> {
  const stack = new AsyncDisposableStack();
  const model = new P9Device({ tree: files, messageSize: 8192 });
  const machine = stack.use(EmulatedMachine.create({ devices: [model] }));
  const bus = stack.use(new Bus());
  await bus.registerDriver(p9Driver);
  await bus.addPlatform(machine);
  const tree = await bus.get(p9Driver)!.attach(SOON);
  return {
    model,
    tree,
    async [Symbol.asyncDispose]() {
      assertEquals(machine.violations(), []);
      await stack.disposeAsync();
    },
  };
}

Deno.test("9p: a hard link is the same file by another name", async () => {
  const files = new MemoryTree({ "a": "one", "d/b": "two" });
  await using rig = await boot(files);
  const { tree } = rig;
  await tree.link("a", "d/c", SOON);
  const [a, c] = [await tree.stat("a", SOON), await tree.stat("d/c", SOON)];
  assertEquals([a.qid.path, a.links, c.links], [c.qid.path, 2, 2]);
  await tree.writeFile("d/c", bytes("three"), SOON);
  assertEquals(text(await tree.readFile("a", SOON)), "three");
  await tree.remove("a", SOON);
  assertEquals([text(await tree.readFile("d/c", SOON)), (await tree.stat("d/c", SOON)).links], [
    "three",
    1,
  ]);
  await refused(() => tree.link("d/c", "d/b", SOON), "EEXIST");
  await refused(() => tree.link("d", "e", SOON), "EPERM");
  await refused(() => tree.link("none", "e", SOON), "ENOENT");
  // Of a symbolic link, the link itself.
  await tree.symlink("d/b", "s", SOON);
  await tree.link("s", "t", SOON);
  assertEquals(await tree.readlink("t", SOON), "d/b");
});

Deno.test("9p: the room of a file is free when its last name is", async () => {
  const files = new MemoryTree({ a: "x".repeat(100) }, { maxFiles: 4 });
  await using rig = await boot(files);
  const { tree } = rig;
  const free = async (): Promise<number> => (await tree.statfs(SOON)).freeFiles;
  const before = await free();
  await tree.link("a", "b", SOON);
  assertEquals(await free(), before);
  await tree.remove("a", SOON);
  assertEquals(await free(), before);
  await tree.remove("b", SOON);
  assertEquals(await free(), before + 1);
});

Deno.test("9p: device files, pipes and sockets are made, and tell their numbers", async () => {
  await using rig = await boot(new MemoryTree());
  const { tree } = rig;
  const made = { ...SOON, mode: 0o620, major: 259, minor: 70_000 };
  for (const kind of ["character", "block", "fifo", "socket"] as const) {
    await tree.mknod(kind, { ...made, kind });
    const { mode, device, kind: seen } = await tree.stat(kind, SOON);
    assertEquals([mode, device, seen], [0o620, { major: 259, minor: 70_000 }, "other"]);
    await refused(() => tree.open(kind, P9OpenFlag.READ, SOON), "ENXIO");
  }
  await refused(() => tree.mknod("fifo", { kind: "fifo", ...SOON }), "EEXIST");
  await assertRejects(
    () => tree.mknod("x", { kind: "block", major: 4096 }),
    RangeError,
    "Cannot make a device file of major number 4096: expected 0 to 4095",
  );
  await assertRejects(
    () => tree.mknod("x", { kind: "tape" as "block" }),
    TypeError,
    "Cannot make a file of kind 'tape': expected character, block, fifo, socket",
  );
});

Deno.test("9p: owners are changed, one without the other too", async () => {
  await using rig = await boot(new MemoryTree({ f: "" }));
  const { tree } = rig;
  await tree.change("f", { uid: 1000, gid: 2000 }, SOON);
  await tree.change("f", { gid: 3000 }, SOON);
  const { uid, gid } = await tree.stat("f", SOON);
  assertEquals([uid, gid], [1000, 3000]);
  await assertRejects(
    () => tree.change("f", { uid: 0xffffffff }, SOON),
    RangeError,
    "Cannot set uid 4294967295: expected an integer from 0 to 4294967294",
  );
});

Deno.test("9p: extended attributes are set, listed, read, replaced and removed", async () => {
  const files = new MemoryTree({ "d/f": "contents" }, { capacity: 1 << 20 });
  await using rig = await boot(files);
  const { tree, model } = rig;
  const free = async (): Promise<number> => (await tree.statfs(SOON)).free;
  const before = await free();
  assertEquals(await tree.listXattrs("d/f", SOON), []);
  await refused(() => tree.getXattr("d/f", "user.a", SOON), "ENODATA");
  // More than a message has room for, the most that there may be.
  const long = bytesBy(65_536, (i) => i * 7);
  await tree.setXattr("d/f", "user.long", long, SOON);
  assert(await free() < before, "its bytes count");
  await tree.setXattr("d/f", "user.a", bytes("1"), { must: "create", ...SOON });
  assertEquals(await tree.listXattrs("d/f", SOON), ["user.a", "user.long"]);
  assertEquals(await tree.getXattr("d/f", "user.long", SOON), long);
  const other = (must: "create" | "replace", name: string) => () =>
    tree.setXattr("d/f", name, bytes("22"), { must, ...SOON });
  await refused(other("create", "user.a"), "EEXIST");
  await refused(other("replace", "user.b"), "ENODATA");
  await other("replace", "user.a")();
  assertEquals(text(await tree.getXattr("d/f", "user.a", SOON)), "22");
  await tree.removeXattr("d/f", "user.long", SOON);
  await refused(() => tree.removeXattr("d/f", "user.long", SOON), "ENODATA");
  assertEquals(await tree.listXattrs("d/f", SOON), ["user.a"]);
  // Directories have them too, and what is removed takes its own along.
  await tree.setXattr("d", "user.d", bytes("dir"), SOON);
  assertEquals(text(await tree.getXattr("d", "user.d", SOON)), "dir");
  await tree.setXattr("d/f", "user.long", long, SOON);
  await tree.remove("d/f", SOON);
  await tree.remove("d", SOON);
  assert(await free() >= before, "all is free again");
  for (const length of [0, 65_537]) {
    await assertRejects(
      () => tree.setXattr("", "user.x", new Uint8Array(length), SOON),
      RangeError,
      `Cannot set an extended attribute of ${length} bytes: expected 1 to 65536`,
    );
  }
  assertEquals(
    text(await tree.readFile("", SOON).catch(() => bytes("a directory"))),
    "a directory",
  );
  assertEquals([model.fids, model.usage().bytes], [1, 0], "only the root's fid is left");
});

Deno.test("9p: locks hinder other owners where they overlap, and go with their file", async () => {
  await using rig = await boot(new MemoryTree({ f: "contents" }));
  const { tree, model } = rig;
  const file = await tree.open("f", P9OpenFlag.READ_WRITE, SOON);
  await using other = await tree.open("f", P9OpenFlag.READ_WRITE, SOON);
  assertEquals(
    await file.lock({ type: "write", start: 10, length: 10, owner: 1 }, SOON),
    "success",
  );
  const second = (type: "read" | "write" | "none", start: number, length: number, owner = 2) =>
    other.lock({ type, start, length, owner }, SOON);
  assertEquals(await second("read", 0, 10), "success");
  assertEquals(await second("read", 0, 11), "blocked");
  assertEquals(await second("read", 19, 1), "blocked");
  assertEquals(await second("write", 20, 0), "success");
  assertEquals(await file.lock({ type: "read", owner: 1 }, SOON), "blocked");
  assertEquals(await other.getLock({ type: "read", start: 15, length: 1, owner: 2 }, SOON), {
    type: "write",
    start: 10,
    length: 10,
    owner: 1,
    client: "vireo",
  });
  assertEquals((await file.getLock({ type: "write", owner: 1 }, SOON))?.type, "read");
  // Its own it may change, and give back in parts.
  assertEquals(await file.lock({ type: "read", start: 10, length: 10, owner: 1 }, SOON), "success");
  assertEquals(await second("read", 12, 4), "success");
  assertEquals(await file.lock({ type: "none", start: 14, length: 1, owner: 1 }, SOON), "success");
  assertEquals(await second("none", 0, 0), "success");
  assertEquals(await second("write", 14, 1), "success");
  assertEquals(await second("write", 13, 1), "blocked");
  // The same process of another client is another owner.
  const client = { type: "write", start: 13, length: 1, owner: 1 } as const;
  assertEquals(await other.lock({ ...client, client: "else" }, SOON), "blocked");
  // The answer has room for the longest name of a client.
  const longest = {
    type: "write",
    start: 100,
    length: 1,
    owner: 3,
    client: "c".repeat(255),
  } as const;
  assertEquals(await file.lock(longest, SOON), "success");
  assertEquals(await other.getLock({ type: "read", start: 100, owner: 2 }, SOON), longest);
  assertEquals(await file.lock({ ...longest, type: "none" }, SOON), "success");
  assertEquals(model.usage().items, 3 + 3, "three fids, and what three locks are left");
  await file.close(SOON);
  assertEquals(await second("write", 10, 10), "success");
  assertEquals(await other.getLock({ type: "write", start: 30, owner: 1 }, SOON), undefined);
  await assertRejects(
    () => other.lock({ type: "read", start: -1 }),
    RangeError,
    "Cannot lock 0 bytes at offset -1: expected integers from 0 to 2^53-1",
  );
});

Deno.test("9p: a directory of the host is linked and keeps its owners; what the host's user may not is refused", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await Deno.writeTextFile(`${dir}/f`, "words");
  await using rig = await boot(new HostTree(dir));
  const { tree } = rig;
  await tree.link("f", "g", SOON);
  const [f, g] = [await Deno.stat(`${dir}/f`), await Deno.stat(`${dir}/g`)];
  assertEquals([f.ino, f.nlink, (await tree.stat("g", SOON)).links], [g.ino, 2, 2]);
  await Deno.mkdir(`${dir}/d`);
  await refused(() => tree.link("d", "e", SOON), "EPERM");
  const change = () => tree.change("f", { uid: 12_345, gid: 54_321 }, SOON);
  if (Deno.uid() === 0) {
    await change();
    const { uid, gid } = await Deno.stat(`${dir}/f`);
    assertEquals([uid, gid], [12_345, 54_321]);
  } else await refused(change, "EPERM");
  // Deno has no system call for these.
  await refused(() => tree.mknod("n", { kind: "fifo", ...SOON }), "EOPNOTSUPP");
  await refused(() => tree.getXattr("f", "user.a", SOON), "EOPNOTSUPP");
  await refused(() => tree.setXattr("f", "user.a", bytes("1"), SOON), "EOPNOTSUPP");
});
