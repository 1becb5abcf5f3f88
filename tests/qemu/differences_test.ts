// Needs qemu-system-aarch64. The differences that no other test looks at.
import { assertEquals } from "@std/assert";
import { MmioRegister as R } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { findBoard } from "@vireo/firmware/boards";
import { isNewer } from "./mod.ts";

Deno.test("QEMU's console interrupts at DRIVER_OK where it uses eventfds, and not without", async () => {
  for (const eventfds of [true, false]) {
    await using platform = await QtestPlatform.start({
      board: findBoard("aarch64-virt"),
      extraArgs: eventfds ? [] : ["-global", "virtio-mmio.ioeventfd=off"],
      devices: ["virtio-serial-device"],
    });
    using lease = platform.slots.at(-1)!.open();
    using ring = platform.dma.alloc(4096, { align: 4096 });
    const { mmio } = lease;
    mmio.write32(R.Status, 3);
    for (const [word, bits] of [[0, 2], [1, 1]] as const) { // MULTIPORT, VERSION_1
      mmio.write32(R.DriverFeaturesSel, word);
      mmio.write32(R.DriverFeatures, bits);
    }
    mmio.write32(R.Status, 0xb);
    for (let queue = 0; queue < 4; queue++) {
      mmio.write32(R.QueueSel, queue);
      mmio.write32(R.QueueSize, 8);
      mmio.write32(R.QueueDescLow, ring.address + 1024 * queue);
      mmio.write32(R.QueueDriverLow, ring.address + 1024 * queue + 256);
      mmio.write32(R.QueueDeviceLow, ring.address + 1024 * queue + 512);
      mmio.write32(R.QueueReady, 1);
    }
    mmio.write32(R.Status, 0xf);
    await platform.qmp.execute("query-status"); // QEMU's loop has run once
    const expected = eventfds && isNewer("CONSOLE_INTERRUPT") ? 1 : 0;
    assertEquals([eventfds, mmio.read32(R.InterruptStatus)], [eventfds, expected]);
  }
});
