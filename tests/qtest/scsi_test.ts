// Needs QEMU: its scsi-hd and scsi-cd, with images that the host compares.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { scsiDriver } from "@vireo/drivers";
import { ScsiTaskManagement, VireoError } from "@vireo/hal";
import { BOARDS } from "../../firmware/boards/mod.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { openVireo } from "../../firmware/session.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 10_000 };
const MIB = 1 << 20;

function open(board: string, value: string | undefined, legacy = false): Promise<Vireo> {
  return openVireo({
    target: `qtest:${board}`,
    legacy,
    blk: [],
    net: { kind: "none" },
    with: [{ name: "scsi", value }],
  });
}

const random = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
};

for (const { name: board } of BOARDS) {
  for (const legacy of [false, true]) {
    Deno.test(`scsi on ${board}, version ${legacy ? 1 : 2}: a disk and a CD, compared on the host`, async () => {
      using folder = new TempFolder();
      const dir = folder.path;
      const disk = random(4 * MIB);
      const cd = random(2 * MIB);
      await Deno.writeFile(`${dir}/disk.img`, disk);
      await Deno.writeFile(`${dir}/cd.img`, cd);
      {
        await using vireo = await open(board, `${dir}/disk.img+${dir}/cd.img,cd`, legacy);
        const host = vireo.get(scsiDriver);
        const [hd, rom] = await host.units(SOON);
        assertEquals([hd!.target, rom!.target], [0, 1]);
        const { vendor, product } = await hd!.inquiry(SOON);
        assertEquals([vendor, product], ["QEMU", "QEMU HARDDISK"]);
        assertEquals((await rom!.inquiry(SOON)).type, 5);
        assertEquals(await hd!.serial(SOON), "vireo-0");
        assertEquals(await hd!.capacity(SOON), { blocks: 8192, blockSize: 512 });
        assertEquals(await rom!.capacity(SOON), { blocks: 1024, blockSize: 2048 });
        assertEquals(await hd!.read(0, 8192, SOON), disk);
        assertEquals(await rom!.read(0, 1024, SOON), cd);
        for (const form of [6, 10, 12, 16] as const) {
          const data = random(64 * 512);
          await hd!.write(form * 64, data, { ...SOON, form });
          disk.set(data, form * 64 * 512);
          assertEquals(await hd!.read(form * 64, 64, { ...SOON, form }), data);
        }
        const pattern = random(512);
        await hd!.writeSame(2000, 100, pattern, SOON);
        for (let i = 2000; i < 2100; i++) disk.set(pattern, i * 512);
        assertEquals(await hd!.read(1999, 102, SOON), disk.subarray(1999 * 512, 2101 * 512));
        assertEquals(await hd!.writeProtected(SOON), false);
        await hd!.unmap([{ block: 4096, count: 2048 }], SOON);
        disk.fill(0, 4096 * 512, 6144 * 512);
        await hd!.flush(SOON);
        const range = await assertRejects(() => hd!.read(8192, 1, SOON), VireoError);
        assertEquals(range.code, "OUT_OF_RANGE");
        const refused = () => rom!.write(0, new Uint8Array(2048), SOON);
        assert((await assertRejects(refused, VireoError)).code !== "TIMEOUT");
        const none = await assertRejects(() => host.unit(9).capacity(SOON), VireoError);
        assertEquals(none.code, "NO_DEVICE");
        await host.resetUnit(hd!, SOON);
        await host.manage(ScsiTaskManagement.QUERY_TASK, hd!, 4711, SOON);
        assertEquals(await hd!.read(1, 1, SOON), disk.subarray(512, 1024));
      }
      assertEquals(await Deno.readFile(`${dir}/disk.img`), disk);
    });
  }
}

Deno.test("scsi on QEMU: a disk that grows, a unit that goes and one that comes are reported", async () => {
  await using vireo = await open("aarch64-virt", undefined);
  const host = vireo.get(scsiDriver);
  const qmp = vireo.qmp!;
  using events = host.events(SOON);
  const next = async () => (await events.next()).value;
  const node = "scsi0disk1";
  await qmp.execute("blockdev-add", { driver: "null-co", "node-name": node, size: MIB });
  const unit = { id: "new", bus: "scsi0.0", "scsi-id": 5, lun: 0, drive: node };
  await qmp.execute("device_add", { driver: "scsi-hd", ...unit });
  assertEquals(await next(), { kind: "rescan", target: 5, lun: 0 });
  assertEquals((await host.units(SOON)).map(({ target }) => target), [0, 5]);
  assertEquals((await host.unit(5).capacity(SOON)).blocks, 2048);
  await qmp.execute("device_del", { id: "new" });
  assertEquals(await next(), { kind: "removed", target: 5, lun: 0 });
  assertEquals((await host.units(SOON)).map(({ target }) => target), [0]);
});
