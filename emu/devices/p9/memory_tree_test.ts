import { assertEquals, assertThrows } from "@std/assert";
import { P9Errno, P9Mode } from "@vireo/hal";
import { P9Refusal } from "./export.ts";
import { MemoryTree } from "./memory_tree.ts";

const HANDLE = { read: true, write: true, truncate: false, append: false };
const refused = (run: () => unknown, errno: number): void =>
  assertEquals(assertThrows(run, P9Refusal).errno, errno);

Deno.test("memory tree: what is removed gives all of its room back", () => {
  const tree = new MemoryTree({}, { capacity: 64 << 10, maxFiles: 10 });
  const before = tree.space();
  for (let i = 0; i < 50; i++) {
    tree.create(["f"], 0o644);
    using file = tree.open(["f"], HANDLE);
    file.write(0, new Uint8Array(40 << 10));
    file[Symbol.dispose]();
    tree.symlink(["l"], "x".repeat(4000));
    tree.mkdir(["d"], 0o755);
    tree.remove(["f"], false);
    tree.remove(["l"], false);
    tree.remove(["d"], true);
  }
  assertEquals(tree.space(), before);
});

Deno.test("memory tree: a file that is cut gives its room back, and grows with zeroes", () => {
  const tree = new MemoryTree({ f: "x".repeat(40 << 10) }, { capacity: 64 << 10 });
  const { free } = tree.space();
  tree.change(["f"], { size: 4 });
  assertEquals(tree.space().free, free + 10);
  tree.create(["g"], 0o644);
  tree.change(["g"], { size: 40 << 10 });
  tree.change(["f"], { size: 8 });
  assertEquals(tree.contents("f"), Uint8Array.of(120, 120, 120, 120, 0, 0, 0, 0));
});

Deno.test("memory tree: names of attributes of a file fill a list, and no more", () => {
  const tree = new MemoryTree({ f: "", g: "" });
  const name = (i: number): string => `user.${"\u00e4".repeat(122)}${String(i).padStart(6, "0")}`;
  const one = Uint8Array.of(1);
  // 256 bytes each, with the NUL.
  for (let i = 0; i < 256; i++) tree.xattrs.set(["f"], name(i), one);
  refused(() => tree.xattrs.set(["f"], "a", one), P9Errno.ENOSPC);
  tree.xattrs.set(["f"], name(0), Uint8Array.of(2));
  tree.xattrs.set(["g"], "a", one);
  tree.xattrs.remove(["f"], name(1));
  tree.xattrs.set(["f"], "a", one);
  assertEquals(tree.xattrs.list(["f"]).length, 256);
});

Deno.test("memory tree: an open file keeps its bytes and room until it is closed", () => {
  const tree = new MemoryTree({ f: "contents" }, { capacity: 64 << 10, maxFiles: 3 });
  const free = tree.space();
  const file = tree.open(["f"], HANDLE);
  tree.remove(["f"], false);
  assertEquals(tree.space().freeFiles, free.freeFiles);
  const into = new Uint8Array(8);
  assertEquals([file.read(0, into), new TextDecoder().decode(into)], [8, "contents"]);
  file[Symbol.dispose]();
  assertEquals(tree.space().freeFiles, free.freeFiles + 1);
  // The root and two more are three files.
  tree.create(["a"], 0o644);
  tree.create(["b"], 0o644);
  refused(() => tree.create(["c"], 0o644), P9Errno.ENOSPC);
});

Deno.test("memory tree: times move on with what is done, and kinds stay", () => {
  let now = 0;
  const tree = new MemoryTree({ "d/f": "x" }, { clock: () => now });
  now = 5;
  tree.create(["d", "g"], 0o600);
  const { mtime, ctime, mode } = tree.stat(["d"]);
  assertEquals([mtime, ctime, mode], [5, 5, P9Mode.DIRECTORY | 0o755]);
  now = 9;
  tree.rename(["d", "g"], ["g"]);
  assertEquals([tree.stat(["g"]).ctime, tree.stat(["g"]).mtime], [9, 5]);
  now = 11;
  tree.change(["g"], { mode: 0o777 });
  assertEquals([tree.stat(["g"]).mode, tree.stat(["g"]).ctime], [P9Mode.FILE | 0o777, 11]);
  refused(() => tree.change(["d"], { size: 1 }), P9Errno.EISDIR);
  refused(() => tree.rename(["d"], ["d", "in"]), P9Errno.EINVAL);
  refused(() => tree.remove(["d"], true), P9Errno.ENOTEMPTY);
  refused(() => tree.remove(["d"], false), P9Errno.EISDIR);
  refused(() => tree.remove(["g"], true), P9Errno.ENOTDIR);
  refused(() => tree.create(["g"], 0o644), P9Errno.EEXIST);
  refused(() => tree.readlink(["g"]), P9Errno.EINVAL);
  refused(() => tree.open(["d"], HANDLE), P9Errno.EISDIR);
});

Deno.test("memory tree: what is moved takes the place of one of its kind, and never goes into itself", () => {
  const make = (): MemoryTree => {
    const tree = new MemoryTree({ f: "1", g: "2" });
    for (const path of [["d"], ["e"], ["full"], ["full", "x"]]) tree.mkdir(path, 0o755);
    return tree;
  };
  const rows: readonly (readonly [from: string[], to: string[], errno: number | undefined])[] = [
    [["f"], ["g"], undefined],
    [["f"], ["d", "f"], undefined],
    [["d"], ["e"], undefined],
    [["d"], ["e", "d"], undefined],
    [["f"], ["f"], undefined],
    [["f"], ["d"], P9Errno.EISDIR],
    [["d"], ["f"], P9Errno.ENOTDIR],
    [["d"], ["full"], P9Errno.ENOTEMPTY],
    [["d"], ["d", "x"], P9Errno.EINVAL],
    [["none"], ["g"], P9Errno.ENOENT],
    [["f"], ["none", "f"], P9Errno.ENOENT],
  ];
  for (const [from, to, errno] of rows) {
    const tree = make();
    const moved = from[0] === "none" ? undefined : tree.stat(from).path;
    const before = [tree.list([]), tree.list(["d"])];
    if (errno !== undefined) {
      refused(() => tree.rename(from, to), errno);
      assertEquals([tree.list([]), tree.list(["d"])], before);
      continue;
    }
    tree.rename(from, to);
    assertEquals(tree.stat(to).path, moved);
    if (from.join("/") !== to.join("/")) refused(() => tree.stat(from), P9Errno.ENOENT);
  }
});

Deno.test("memory tree: bytes are taken and given back for what is kept, up to the last one", () => {
  // The root and a file have 512 bytes each.
  const make = (capacity: number): MemoryTree => new MemoryTree({ f: "" }, { capacity });
  const value = new Uint8Array(6);
  // An attribute has 64 bytes, those of its name and those of its value.
  const all = make(1024 + 64 + 4 + 6);
  all.xattrs.set(["f"], "name", value);
  all.xattrs.set(["f"], "name", value);
  refused(() => all.xattrs.set(["f"], "name", new Uint8Array(7)), P9Errno.ENOSPC);
  refused(() => all.change(["f"], { size: 1 }), P9Errno.ENOSPC);
  all.xattrs.remove(["f"], "name");
  all.change(["f"], { size: 74 });
  refused(() => all.change(["f"], { size: 75 }), P9Errno.ENOSPC);
  refused(() => all.xattrs.remove(["f"], "name"), P9Errno.ENODATA);
  all.change(["f"], { size: 0 });
  all.xattrs.set(["f"], "name", value);
  // It gives its room back with its file, which may still be open.
  const handle = all.open(["f"], HANDLE);
  all.remove(["f"], false);
  handle[Symbol.dispose]();
  handle[Symbol.dispose]();
  all.create(["g"], 0o644);
  all.change(["g"], { size: 74 });
  refused(() => make(1023), P9Errno.ENOSPC);
  // A file of as many bytes as the tree may have: there is no room for it; of more, no such file.
  refused(() => make(1024).change(["f"], { size: 1024 }), P9Errno.ENOSPC);
  refused(() => make(1024).change(["f"], { size: 1025 }), P9Errno.EFBIG);
});

Deno.test("memory tree: a file grows by twice its bytes, as far as there is room, and shrinks below a quarter", () => {
  const tree = new MemoryTree({ f: "" }, { capacity: 1024 + 64 * 4096 });
  const used = (): number => 64 - tree.space().free;
  const rows: readonly (readonly [size: number, blocks: number])[] = [
    [16 * 4096, 16],
    [16 * 4096 + 1, 32],
    [32 * 4096, 32],
    [8 * 4096, 32],
    [8 * 4096 - 1, 8],
    [33 * 4096, 33],
    // Twice as many do not fit.
    [34 * 4096, 34],
    [0, 0],
  ];
  for (const [size, blocks] of rows) {
    tree.change(["f"], { size });
    assertEquals([tree.stat(["f"]).size, used()], [size, blocks]);
  }
});

Deno.test("memory tree: each attribute is changed alone, and files of each kind have theirs", () => {
  const tree = new MemoryTree({ f: "12345" }, { clock: () => 7 });
  const before = tree.stat(["f"]);
  const changes = { mode: 0o600, size: 3, uid: 4, gid: 5, atime: 6, mtime: 8 };
  for (const name of Object.keys(changes) as (keyof typeof changes)[]) {
    const changed = new MemoryTree({ f: "12345" }, { clock: () => 7 });
    changed.change(["f"], { [name]: changes[name] });
    const value = name === "mode" ? P9Mode.FILE | 0o600 : changes[name];
    assertEquals(changed.stat(["f"]), { ...before, [name]: value });
  }
  tree.mkdir(["d"], 0o700);
  tree.symlink(["l"], "there");
  tree.mknod(["n"], P9Mode.CHARACTER | 0o620, 9n);
  tree.link(["f"], ["d", "f"]);
  assertEquals(tree.stat(["d", "f"]), { ...before, links: 2 });
  const kinds = ["d", "l", "n"].map((name) => {
    const { mode, size, links, device } = tree.stat([name]);
    return [mode, size, links, device];
  });
  assertEquals(kinds, [
    [P9Mode.DIRECTORY | 0o700, 4096, 2, 0n],
    [P9Mode.SYMLINK | 0o777, 5, 1, 0n],
    [P9Mode.CHARACTER | 0o620, 0, 1, 9n],
  ]);
  refused(() => tree.link(["d"], ["e"]), P9Errno.EPERM);
  refused(() => tree.open(["l"], HANDLE), P9Errno.ELOOP);
  refused(() => tree.open(["n"], HANDLE), P9Errno.ENXIO);
  assertEquals([tree.readOnly, new MemoryTree({}, { readOnly: true }).readOnly], [false, true]);
});

Deno.test("memory tree: reads have what there is, and writes end where their last byte is", () => {
  let now = 1;
  const tree = new MemoryTree({ f: "01234" }, { clock: () => now++ });
  using file = tree.open(["f"], HANDLE);
  const read = (offset: number, length: number): string => {
    const into = new Uint8Array(length);
    return new TextDecoder().decode(into.subarray(0, file.read(offset, into)));
  };
  assertEquals([read(0, 5), read(0, 4), read(1, 9), read(5, 1), read(9, 1)], [
    ...["01234", "0123", "1234", "", ""],
  ]);
  const { atime } = file.stat();
  file.write(3, new TextEncoder().encode("ab"));
  assertEquals([file.stat().size, read(0, 9)], [5, "012ab"]);
  file.write(4, new TextEncoder().encode("cd"));
  assertEquals([file.stat().size, read(0, 9), file.stat().atime! > atime!], [6, "012acd", true]);
});
