import { assertEquals } from "@std/assert";
import { readSysfsPci } from "./mod.ts";

Deno.test("readSysfsPci lists functions by address, but not one that goes while it looks", async () => {
  const root = await Deno.makeTempDir({ prefix: "vireo-sysfs-" });
  try {
    for (const [name, device] of [["0000:00:03.0", "0x1044"], ["0000:01:00.0", "0x1041"]]) {
      await Deno.mkdir(`${root}/${name}`);
      await Deno.writeTextFile(`${root}/${name}/vendor`, "0x1af4\n");
      await Deno.writeTextFile(`${root}/${name}/device`, `${device}\n`);
    }
    // Listed, and gone when it is read.
    await Deno.symlink(`${root}/gone`, `${root}/0000:00:04.0`);
    assertEquals(
      readSysfsPci(root).map(({ name, address, vendor, device }) => [
        ...[name, address.bus, address.device, vendor, device],
      ]),
      [["0000:00:03.0", 0, 3, 0x1af4, 0x1044], ["0000:01:00.0", 1, 0, 0x1af4, 0x1041]],
    );
    assertEquals(readSysfsPci(`${root}/none`), []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
