// Needs qemu-system-aarch64.
import { assertEquals } from "@std/assert";
import { p9Driver, scsiDriver } from "@vireo/drivers";
import { openVireo, parseBlk } from "@vireo/firmware";
import { TempFolder } from "../temp_folder.ts";

Deno.test("names with commas reach QEMU whole: images, SCSI units and shared folders", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const path = `${dir}/a,b.img`;
  await Deno.writeTextFile(path, "");
  await Deno.truncate(path, 64 * 512);
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt",
    blk: [parseBlk(path + ",ro")],
    with: [{ name: "scsi", value: path + ",ro" }, { name: "9p", value: dir + ",ro" }],
  });
  assertEquals(vireo.blk.capacity, 64 * 512);
  const [unit] = await vireo.get(scsiDriver).units();
  assertEquals((await unit!.capacity()).blocks, 64);
  const names = (await (await vireo.get(p9Driver).attach()).list()).map(({ name }) => name);
  assertEquals(names.filter((name) => !name.startsWith(".")), ["a,b.img"]);
});
