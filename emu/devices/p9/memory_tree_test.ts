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
