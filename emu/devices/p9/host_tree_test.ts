import fs from "node:fs";
import { assertEquals, assertThrows } from "@std/assert";
import { P9Refusal } from "./export.ts";
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

Deno.test("host tree: each call does its own, or says why not, and leaves no descriptor open", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  const read = { read: true, write: false, truncate: false, append: false };
  const write = { ...read, read: false, write: true };
  const text = (name: string): string => Deno.readTextFileSync(`${folder}/${name}`);
  const bytes = (of: string): Uint8Array => new TextEncoder().encode(of);
  const open = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  try {
    using tree = new HostTree(folder);
    const mode = (...path: string[]): number => kept(tree.stat(path).mode);
    const before = open();
    const does = (call: () => unknown, left: () => unknown, expected: unknown): void => {
      call();
      assertEquals(left(), expected);
      assertEquals(open(), before, `${call}`);
    };
    const refuses = (call: () => unknown, why: string): void => {
      const error = assertThrows(call, Error);
      assertEquals(error instanceof P9Refusal ? error.message : error.message.slice(0, 6), why);
      assertEquals(open(), before, `${call}`);
    };
    const list = (...path: string[]) => () => tree.list(path);
    does(() => tree.mkdir(["d"], 0o1755), () => mode("d"), 0o755);
    does(() => tree.mkdir(["d", "e"], 0o700), list("d"), ["e"]);
    does(() => tree.create(["d", "f"], 0o4640), () => mode("d", "f"), 0o640);
    does(() => tree.create(["d", "e", "g"], 0o600), list("d", "e"), ["g"]);
    does(() => tree.symlink(["l"], "d/f"), () => tree.readlink(["l"]), "d/f");
    does(() => tree.link(["d", "f"], ["h"]), () => tree.stat(["h"]).links, 2);
    does(() => tree.rename(["d", "e", "g"], ["g"]), list(), ["d", "g", "h", "l"]);
    does(
      () => {
        using file = tree.open(["g"], write);
        file.write(0, bytes("12345"));
        file.sync();
      },
      () => text("g"),
      "12345",
    );
    does(
      () => {
        using file = tree.open(["g"], { ...write, append: true });
        file.write(0, bytes("67"));
        assertEquals(file.stat().size, 7);
      },
      () => text("g"),
      "1234567",
    );
    does(() => tree.change(["g"], { size: 3 }), () => text("g"), "123");
    does(() => tree.change(["g"], { mode: 0o7751 }), () => mode("g"), 0o751);
    const times = (): unknown[] => [tree.stat(["g"]).atime, tree.stat(["g"]).mtime];
    does(() => tree.change(["g"], { atime: 5000, mtime: 7000 }), times, [5000, 7000]);
    does(() => tree.change(["g"], { atime: 6000 }), times, [6000, 7000]);
    does(() => tree.change(["g"], { mtime: 8000 }), times, [6000, 8000]);
    does(() => tree.change(["g"], { mode: 0o600 }), times, [6000, 8000]);
    does(() => tree.within(["d"], (stat) => stat("f").links), list("d"), ["e", "f"]);
    does(
      () => tree.open(["g"], { ...write, read: true, truncate: true })[Symbol.dispose](),
      () => text("g"),
      "",
    );
    refuses(() => tree.open(["d"], read), "EISDIR");
    refuses(() => tree.open(["l"], read), "ELOOP");
    refuses(() => tree.open(["none"], read), "ENOENT");
    refuses(() => tree.open([], read), "EISDIR");
    refuses(() => tree.create(["g"], 0o600), "EEXIST");
    refuses(() => tree.mkdir(["d"], 0o600), "EEXIST");
    refuses(() => tree.create(["l", "x"], 0o600), "ENOTDI");
    refuses(() => tree.list(["g"]), "ENOTDI");
    refuses(() => tree.list(["d", "e", "none"]), "ENOENT");
    refuses(() => tree.change(["l"], { mode: 0o600 }), "EOPNOTSUPP");
    refuses(() => tree.change(["d"], { size: 0 }), "EISDIR");
    refuses(() => tree.readlink([]), "EINVAL");
    refuses(() => tree.readlink(["g"]), "EINVAL");
    refuses(() => tree.link(["d"], ["x"]), "EPERM");
    refuses(() => tree.link(["g"], ["h"]), "EEXIST");
    refuses(() => tree.rename(["none"], ["x"]), "ENOENT");
    refuses(() => tree.rename([], ["x"]), "EBUSY");
    refuses(() => tree.remove([], true), "EBUSY");
    refuses(() => tree.remove(["g"], true), "ENOTDIR");
    refuses(() => tree.remove(["d"], false), "EISDIR");
    refuses(() => tree.remove(["d"], true), "ENOTEM");
    does(() => tree.remove(["g"], false), list(), ["d", "h", "l"]);
    does(() => tree.remove(["d", "e"], true), list("d"), ["f"]);
    tree[Symbol.dispose]();
    assertEquals(open(), before - 1);
    tree[Symbol.dispose]();
    assertEquals(open(), before - 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
