// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// The drivers on QEMU's own devices on PCI: every board, each of the interfaces, split and packed rings,
// and each way in which interrupts come.
import { assertEquals } from "@std/assert";
import { PCI_BOARDS } from "@vireo/firmware/boards";
import { Feature, type Platform, Poller } from "@vireo/hal";
import {
  Bench,
  checkDrivers,
  checkNegotiation,
  checkNoLegacyPacked,
  matrixName,
  qtestName,
  without,
} from "./driver_checks.ts";

/** How interrupts come, and the policy that the transport then has for a device of few queues. */
const INTERRUPTS = { "MSI-X": "msix-per-queue", INTx: "line", poll: "poll" } as const;
type PciWay = keyof typeof INTERRUPTS;

const INTERFACES = [
  { name: "pci legacy", kind: "pci-legacy", legacy: true, transitional: false },
  { name: "pci transitional", kind: "pci-modern", legacy: false, transitional: true },
  { name: "pci transitional, force_legacy", kind: "pci-legacy", legacy: false, transitional: true },
  { name: "pci modern", kind: "pci-modern", legacy: false, transitional: false },
] as const;

const VARIANTS = PCI_BOARDS.flatMap((board) =>
  INTERFACES.flatMap((face) =>
    // The legacy interface has no bit for a packed ring.
    (face.kind === "pci-legacy" ? [false] : [false, true]).flatMap((packed) =>
      (Object.keys(INTERRUPTS) as PciWay[]).map((way) => ({ board, face, packed, way }))
    )
  )
);

for (const { board, face, packed, way } of VARIANTS) {
  const ring = packed ? "packed" : "split";
  Deno.test(matrixName(qtestName(board), face.name, ring, way), async (t) => {
    using poller = new Poller();
    const forceLegacy = face.name.endsWith("force_legacy");
    const variant = {
      board,
      ...face,
      packed,
      forceLegacy,
      indirect: true,
      eventIdx: true,
      disguise: (platform: Platform) => without(platform, way, poller),
    };
    await using bench = await Bench.start(variant);
    assertEquals(bench.bus.slotErrors, []);
    const { devices } = bench.bus;
    checkNegotiation(devices, variant, face.kind);
    for (const device of devices) {
      assertEquals(device.has(Feature.RING_PACKED), packed);
      assertEquals(device.transport.interrupt.polled, way === "poll");
      // The console's queues are more than there are messages for.
      if (device.deviceId !== 3) assertEquals(device.transport.route?.policy, INTERRUPTS[way]);
    }
    await checkDrivers(bench, t);
  });
}

for (const board of PCI_BOARDS) {
  Deno.test(`matrix none: ${qtestName(board)} | pci legacy | packed`, () =>
    checkNoLegacyPacked(board));
}
