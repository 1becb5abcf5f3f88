import { assert, assertEquals } from "@std/assert";
import { Feature } from "@vireo/hal";
import { openVireo } from "../../firmware/session.ts";
import { deadline } from "./device_checks.ts";
import { block, COUNT, HoldingRig } from "./holding_rig.ts";

for (const ring of ["split", "packed"] as const) {
  Deno.test(`vhost-user: a back end that is killed with requests under way is replaced, ${ring}`, async () => {
    await using rig = new HoldingRig(ring);
    const { path } = rig;
    const packed = ring === "packed";
    const first = await rig.start();
    const machine = openVireo({
      target: "qtest:x86_64-q35",
      // QEMU 10.0.13 has 1024 entries, but asks for memory of requests under way for 128 of them.
      queueSize: 128,
      blk: [],
      net: { kind: "none" },
      qemuArgs: ["-chardev", `socket,id=vu0,path=${path}/s.sock,reconnect=1`],
      devices: [`vhost-user-blk-pci,chardev=vu0${packed ? ",packed=on" : ""}`],
    });
    await using vireo = await machine;
    const { blk } = vireo;
    assertEquals(blk.device.has(Feature.RING_PACKED), packed);
    const { done } = await rig.strand(blk, first);

    // The next one does what the first one held, once and in order, and nothing else.
    await using _ = await rig.start();
    await done;
    assertEquals(rig.written(), Array.from({ length: COUNT / 2 }, (_, i) => 2 * i + 1));
    for (let sector = 0; sector < COUNT; sector++) {
      await blk.write(sector + COUNT, block(sector, 1), { deadline });
    }
    await blk.flush({ deadline });
    const image = await Deno.readFile(`${path}/disk.img`);
    for (let sector = 0; sector < 2 * COUNT; sector++) {
      const bytes = image.slice(sector * 512, (sector + 1) * 512);
      assertEquals(bytes, block(sector % COUNT, sector < COUNT ? 0 : 1), `sector ${sector}`);
      assert(bytes.length === 512);
    }
  });
}
