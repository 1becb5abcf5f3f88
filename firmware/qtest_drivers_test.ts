// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// The drivers on QEMU's own devices, on every board with slots, versions 1 and 2, with each of indirect
// descriptors and event idx on and off.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { findBoard, MMIO_BOARDS } from "@vireo/firmware/boards";
import { VireoError } from "@vireo/hal";
import {
  Bench,
  checkBlk,
  checkConsole,
  checkNegotiation,
  checkNet,
  checkRng,
  deadline,
  DISK_BYTES,
  noise,
  SECTOR,
  type Variant,
} from "./_driver_checks.ts";

const VARIANTS: readonly Variant[] = MMIO_BOARDS.flatMap((board) =>
  [false, true].flatMap((legacy) =>
    [true, false].flatMap((indirect) =>
      [true, false].map((eventIdx) => ({ board, legacy, indirect, eventIdx }))
    )
  )
);

for (const variant of VARIANTS) {
  const { board, legacy, indirect, eventIdx } = variant;
  const features = `${indirect ? "+" : "-"}indirect ${eventIdx ? "+" : "-"}event_idx`;
  Deno.test(`drivers on QEMU: ${board.name} v${legacy ? 1 : 2} ${features}`, async (t) => {
    await using bench = await Bench.start(variant);
    assertEquals(bench.bus.slotErrors, []);
    checkNegotiation(bench.bus.devices, variant, legacy ? "mmio-1" : "mmio-2");
    await t.step("rng", () => checkRng(bench.rng));
    await t.step("blk", () => checkBlk(bench));
    await t.step("net", () => checkNet(bench.net));
    await t.step("console", () => checkConsole(bench));
  });
}

Deno.test("drivers on QEMU: the host resizes a disk and takes a link down", async () => {
  const board = findBoard("riscv64-virt");
  await using bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const { disk, net, platform } = bench;
  const resized = new Promise<number>((resolve) => disk.onCapacityChange = resolve);
  await platform.qmp.execute("block_resize", { device: "disk", size: 2 * DISK_BYTES });
  assertEquals(await resized, 2 * DISK_BYTES / SECTOR);
  const data = noise(SECTOR, 9);
  await disk.write(2 * DISK_BYTES / SECTOR - 1, data, { deadline });
  assertEquals((await Deno.readFile(`${bench.dir}/disk`)).subarray(-SECTOR), data);

  const link = () =>
    new Promise<void>((resolve) => net.addEventListener("link", () => resolve(), { once: true }));
  const down = link();
  await platform.qmp.execute("set_link", { name: "nic", up: false });
  await down;
  assertEquals(net.linkUp, false);
  const up = link();
  await platform.qmp.execute("set_link", { name: "nic", up: true });
  await up;
  await checkNet(net);
});

Deno.test("drivers on QEMU: drivers let go of their memory and can be bound again", async () => {
  const board = findBoard("aarch64-virt");
  await using bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const drivers = [...bench.bus.drivers];
  for (const driver of drivers) await bench.bus.unregisterDriver(driver);
  const before = bench.platform.freeBytes;
  for (let round = 0; round < 3; round++) {
    for (const driver of drivers) await bench.bus.registerDriver(driver);
    await checkRng(bench.rng);
    await checkNet(bench.net);
    for (const driver of drivers) await bench.bus.unregisterDriver(driver);
    assertEquals(bench.platform.freeBytes, before);
  }
});

Deno.test("drivers on QEMU: a QEMU that dies ends what is pending", async () => {
  const board = findBoard("riscv64-virt");
  const bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const pending = bench.net.receive({ deadline: 10_000 });
  Deno.kill(bench.platform.pid, "SIGKILL");
  const lost = await assertRejects(() => pending, VireoError, "cannot be delivered");
  assert(lost instanceof VireoError && lost.cause instanceof VireoError);
  assert(lost.cause.message.startsWith("QEMU ended"));
  await assertRejects(() => bench.disk.read(0, SECTOR, { deadline: 2000 }), Error);
  await bench[Symbol.asyncDispose]().catch(() => {});
});
