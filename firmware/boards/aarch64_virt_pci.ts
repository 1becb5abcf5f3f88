import { AARCH64_VIRT } from "./aarch64_virt.ts";
import type { Board } from "./board.ts";

/**
 * QEMU's `virt` for aarch64 with devices on PCI instead of virtio-mmio. Messages go to the GICv2m
 * frame, which turns each into an input of the GIC.
 */
export const AARCH64_VIRT_PCI: Board = {
  ...AARCH64_VIRT,
  name: "aarch64-virt-pci",
  summary: "QEMU virt, aarch64: PCI Express, GICv2 with GICv2m",
  targets: ["qtest", "qemu"],
  slots: undefined,
  pci: {
    ecam: { base: 0x40_1000_0000, size: 0x1000_0000 },
    memory: { base: 0x1000_0000, size: 0x2eff_0000 },
    io: { base: 0, size: 0x1_0000, window: 0x3eff_0000 },
    firstInput: 3,
    messages: { kind: "gicv2m", frame: 0x0802_0000 },
  },
};
