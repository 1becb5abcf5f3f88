// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// The drivers on QEMU's own devices, on every board with slots, versions 1 and 2.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { findBoard, MMIO_BOARDS } from "@vireo/firmware/boards";
import { Feature, type Platform, Poller, VireoError } from "@vireo/hal";
import {
  Bench,
  checkDrivers,
  checkNegotiation,
  checkNet,
  checkNoLegacyPacked,
  checkRng,
  deadline,
  DISK_BYTES,
  matrixName,
  qtestName,
  SECTOR,
  without,
} from "./driver_checks.ts";
import { noise } from "../noise.ts";

/** Each of indirect descriptors and event idx on and off, on split and packed rings, and without interrupts. */
const VARIANTS = MMIO_BOARDS.flatMap((board) =>
  [false, true].flatMap((legacy) =>
    (legacy ? [false] : [false, true]).flatMap((packed) =>
      [true, false].flatMap((indirect) =>
        [true, false].flatMap((eventIdx) =>
          (indirect && eventIdx ? (["interrupt", "poll"] as const) : (["interrupt"] as const))
            .map((way) => ({ board, legacy, packed, indirect, eventIdx, way }))
        )
      )
    )
  )
);

for (const { way, ...variant } of VARIANTS) {
  const { board, legacy, packed, indirect, eventIdx } = variant;
  const off = `${indirect ? "" : ", no indirect"}${eventIdx ? "" : ", no event_idx"}`;
  const transport = `mmio v${legacy ? 1 : 2}${off}`;
  const name = matrixName(qtestName(board), transport, packed ? "packed" : "split", way);
  Deno.test(name, async (t) => {
    using poller = new Poller();
    const disguise = (platform: Platform) => without(platform, way, poller);
    await using bench = await Bench.start({ ...variant, disguise });
    assertEquals(bench.bus.slotErrors, []);
    checkNegotiation(bench.bus.devices, variant, legacy ? "mmio-1" : "mmio-2");
    for (const device of bench.bus.devices) {
      assertEquals(device.has(Feature.RING_PACKED), packed);
      assertEquals(device.transport.interrupt.polled, way === "poll");
    }
    await checkDrivers(bench, t);
  });
}

for (const board of MMIO_BOARDS) {
  Deno.test(`matrix none: ${qtestName(board)} | mmio v1 | packed`, () =>
    checkNoLegacyPacked(board));
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
  const lost = await assertRejects(
    () => pending,
    VireoError,
    "Cannot deliver interrupts of the device",
  );
  assert(lost instanceof VireoError && lost.cause instanceof VireoError);
  assert(lost.cause.message.startsWith("QEMU ended"));
  await assertRejects(() => bench.disk.read(0, SECTOR, { deadline: 2000 }), Error);
  await bench[Symbol.asyncDispose]().catch(() => {});
});
