import type { Board } from "./board.ts";
import { RISCV64_VIRT } from "./riscv64_virt.ts";

/**
 * QEMU's `virt` for riscv64 with devices on PCI instead of virtio-mmio. Its own controller of messages
 * is the processor's, which is parked, so QEMU's `edu` device reports them.
 */
export const RISCV64_VIRT_PCI: Board = {
  ...RISCV64_VIRT,
  name: "riscv64-virt-pci",
  summary: "QEMU virt, riscv64: PCI Express, PLIC",
  targets: ["qtest"],
  args: [...RISCV64_VIRT.args, "-device", "edu,addr=0x1f"],
  slots: undefined,
  pci: {
    ecam: { base: 0x3000_0000, size: 0x1000_0000 },
    memory: { base: 0x4000_0000, size: 0x4000_0000 },
    io: { base: 0, size: 0x1_0000, window: 0x0300_0000 },
    firstInput: 32,
    messages: { kind: "doorbell", device: 0x1f },
  },
};
