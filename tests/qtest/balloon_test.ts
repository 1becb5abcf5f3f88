// Needs QEMU: its monitor inflates the balloon and asks for statistics; its memory is really gone.
import { assert, assertEquals } from "@std/assert";
import { BalloonStat } from "@vireo/hal";
import { type Balloon, balloonDriver, createBalloonDriver } from "@vireo/drivers";
import { BOARDS } from "../../firmware/boards/mod.ts";
import { openVireo } from "../../firmware/session.ts";

const PAGE = 4096;
const SOON = { deadline: 10_000 };
const BARE = { blk: [], net: { kind: "none" } } as const;

for (const { name: board } of BOARDS) {
  for (const legacy of [false, true]) {
    const version = legacy ? 1 : 2;
    Deno.test(`balloon on ${board}, version ${version}: query-balloon says what the driver did`, async () => {
      await using vireo = await openVireo({
        ...BARE,
        target: `qtest:${board}`,
        legacy,
        with: [{ name: "balloon", value: undefined }],
      });
      const balloon = vireo.get(balloonDriver);
      const qmp = vireo.qmp!;
      const actual = async (): Promise<number> =>
        (await qmp.execute("query-balloon") as { actual: number }).actual;
      const memory = await actual();
      for (const pages of [2000, 2001, 17, 0]) {
        await qmp.execute("balloon", { value: memory - pages * PAGE });
        await balloon.settled(SOON);
        assertEquals([balloon.size, await actual()], [pages, memory - pages * PAGE]);
      }
    });
  }
}

Deno.test("balloon on QEMU: what was given or reported is zeroed, and statistics arrive", async () => {
  let asked = 0;
  const driver = createBalloonDriver({
    follow: false,
    statistics: () => ({ [BalloonStat.TOTAL]: 64 << 20, [BalloonStat.FREE]: ++asked << 12 }),
  });
  await using vireo = await openVireo({
    ...BARE,
    target: "qtest:aarch64-virt",
    devices: [
      "virtio-balloon-device,id=b,free-page-reporting=on,guest-stats-polling-interval=1",
    ],
  }, { drivers: [driver] });
  const balloon: Balloon = vireo.get(driver);
  const region = vireo.platform.dma.alloc(4 * PAGE, { align: PAGE });
  region.bytes.fill(0x5a);
  await balloon.report([region], SOON);
  assert(region.bytes.every((byte) => byte === 0), "QEMU discards what was reported");
  region[Symbol.dispose]();
  await balloon.resize(100, SOON);
  await balloon.resize(0, SOON);
  // QEMU's clock asks once a second, and counts in the machine's own time.
  const stats = async (): Promise<Record<string, number>> => {
    const found = await vireo.qmp!.execute("qom-get", {
      path: "/machine/peripheral/b",
      property: "guest-stats",
    }) as { stats: Record<string, number> };
    return found.stats;
  };
  const end = performance.now() + SOON.deadline;
  while ((await stats())["stat-total-memory"] !== 64 << 20 && performance.now() < end);
  const { "stat-total-memory": total, "stat-free-memory": free } = await stats();
  assertEquals(total, 64 << 20);
  assert(free! > 0 && free! % PAGE === 0);
});
