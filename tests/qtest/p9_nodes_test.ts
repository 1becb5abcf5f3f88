// Needs qemu-system-aarch64: its 9p is the witness of links, device files, owners, extended attributes and locks.
import { assertEquals, assertRejects } from "@std/assert";
import { p9Driver, P9Error, type P9Tree } from "@vireo/drivers";
import { P9OpenFlag } from "@vireo/hal";
import { openVireo } from "../../firmware/session.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 20_000 };
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

async function refused(run: () => Promise<unknown>, name: string): Promise<void> {
  assertEquals((await assertRejects(run, P9Error, name)).errnoName, name);
}

/** A folder that QEMU exports with what it may not do itself kept in files beside, as an ordinary user can. */
async function withTree(use: (tree: P9Tree, dir: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt",
    blk: [],
    net: { kind: "none" },
    qemuArgs: ["-fsdev", `local,id=mapped,path=${dir},security_model=mapped-file`],
    devices: ["virtio-9p-device,fsdev=mapped,mount_tag=mapped"],
  });
  await use(await vireo.get(p9Driver).attach(SOON), dir);
}

Deno.test("9p on QEMU, mapped: links, device files and owners are as on our server", async () => {
  await withTree(async (tree, dir) => {
    await tree.writeFile("a", bytes("one"), SOON);
    await tree.link("a", "b", SOON);
    const [a, b] = [await tree.stat("a", SOON), await tree.stat("b", SOON)];
    assertEquals([a.qid.path === b.qid.path, a.links, b.links], [true, 2, 2]);
    assertEquals((await Deno.stat(`${dir}/b`)).ino, (await Deno.stat(`${dir}/a`)).ino);
    await refused(() => tree.link("a", "b", SOON), "EEXIST");
    const made = { ...SOON, mode: 0o620, major: 259, minor: 70_000 };
    await tree.mknod("block", { ...made, kind: "block" });
    const block = await tree.stat("block", SOON);
    assertEquals([block.mode, block.kind, block.device], [0o620, "other", {
      major: 259,
      minor: 70_000,
    }]);
    await tree.mknod("fifo", { kind: "fifo", ...SOON });
    assertEquals((await tree.stat("fifo", SOON)).kind, "other");
    // On the host it is a file of the user's own.
    assertEquals((await Deno.stat(`${dir}/block`)).isFile, true);
    await tree.change("a", { uid: 1234, gid: 4321 }, SOON);
    const { uid, gid } = await tree.stat("a", SOON);
    assertEquals([uid, gid], [1234, 4321]);
    assertEquals((await Deno.stat(`${dir}/a`)).uid, Deno.uid());
  });
});

Deno.test("9p on QEMU, mapped: extended attributes are the host's, locks are always had", async () => {
  await withTree(async (tree, dir) => {
    await tree.writeFile("f", bytes("contents"), SOON);
    const names = await tree.listXattrs("f", SOON);
    const value = Uint8Array.from({ length: 3000 }, (_, i) => i * 7);
    await tree.setXattr("f", "user.vireo", value, { must: "create", ...SOON });
    assertEquals(await tree.getXattr("f", "user.vireo", SOON), value);
    assertEquals((await tree.listXattrs("f", SOON)).sort(), [...names, "user.vireo"].sort());
    const again = () => tree.setXattr("f", "user.vireo", bytes("x"), { must: "create", ...SOON });
    await refused(again, "EEXIST");
    await tree.setXattr("f", "user.vireo", bytes("x"), { must: "replace", ...SOON });
    assertEquals(text(await tree.getXattr("f", "user.vireo", SOON)), "x");
    await tree.removeXattr("f", "user.vireo", SOON);
    await refused(() => tree.getXattr("f", "user.vireo", SOON), "ENODATA");
    assertEquals(text(await Deno.readFile(`${dir}/f`)), "contents");
    // QEMU grants every lock: its file system has one client, whose kernel keeps the locks.
    await using file = await tree.open("f", P9OpenFlag.READ_WRITE, SOON);
    const lock = { type: "write", start: 2, length: 3 } as const;
    assertEquals(await file.lock({ ...lock, owner: 1 }, SOON), "success");
    assertEquals(await file.lock({ ...lock, owner: 2 }, SOON), "success");
    assertEquals(await file.getLock({ ...lock, owner: 3 }, SOON), undefined);
  });
});
