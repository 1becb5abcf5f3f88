import fs from "node:fs";
import { assertEquals, assertThrows } from "@std/assert";
import { HostTree } from "./host_tree.ts";

const kept = (mode: number): number => mode & 0o7777;

Deno.test("host tree: files and directories have the mode that was asked for, whatever the umask", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  const before = Deno.umask(0o077);
  try {
    using tree = new HostTree(folder);
    for (const mode of [0o777, 0o750, 0o666]) {
      const name = mode.toString(8);
      tree.mkdir([`d${name}`], mode);
      tree.create([`f${name}`], mode);
      assertEquals(kept(tree.stat([`d${name}`]).mode), mode);
      assertEquals(kept(tree.stat([`f${name}`]).mode), mode);
    }
  } finally {
    Deno.umask(before);
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("host tree: a file keeps its id when it is moved; one of another file system has another", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  try {
    using tree = new HostTree(folder);
    tree.create(["a"], 0o644);
    tree.mkdir(["d"], 0o755);
    const { path } = tree.stat(["a"]);
    assertEquals(path, BigInt(Deno.statSync(`${folder}/a`).ino!));
    tree.rename(["a"], ["d", "b"]);
    assertEquals([tree.list([]), tree.list(["d"])], [["d"], ["b"]]);
    assertEquals(tree.stat(["d", "b"]).path, path);
    assertThrows(() => tree.stat(["a"]), Error, "ENOENT");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  using root = new HostTree("/");
  const { dev } = Deno.statSync("/");
  const others = ["proc", "sys", "dev"].filter((name) => Deno.statSync(`/${name}`).dev !== dev);
  others.forEach((name, i) => {
    const id = root.stat([name]).path;
    assertEquals([id >> 48n, id & 0xffff_ffff_ffffn], [
      BigInt(i + 1),
      BigInt(Deno.statSync(`/${name}`).ino!),
    ]);
    // The same each time.
    assertEquals(root.stat([name]).path, id);
  });
});

Deno.test("host tree: what the host reads or writes a part of goes on behind that part", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  const { readSync, writeSync } = fs;
  try {
    using tree = new HostTree(folder);
    tree.create(["f"], 0o644);
    using file = tree.open(["f"], { read: true, write: true, truncate: false, append: false });
    // A host that moves three bytes at a time.
    fs.writeSync = ((fd: number, bytes: Uint8Array, from: number, length: number, at: number) =>
      writeSync(fd, bytes, from, Math.min(3, length), at)) as typeof fs.writeSync;
    fs.readSync = ((fd: number, into: Uint8Array, from: number, length: number, at: number) =>
      readSync(fd, into, from, Math.min(3, length), at)) as typeof fs.readSync;
    const bytes = Uint8Array.from({ length: 10 }, (_, i) =>
      i + 1);
    file.write(2, bytes);
    const into = new Uint8Array(20);
    assertEquals([file.read(0, into), [...into.subarray(0, 13)]], [12, [0, 0, ...bytes, 0]]);
    assertEquals([...Deno.readFileSync(`${folder}/f`)], [0, 0, ...bytes]);
  } finally {
    Object.assign(fs, { readSync, writeSync });
    await Deno.remove(folder, { recursive: true });
  }
});
