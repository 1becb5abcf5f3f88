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
