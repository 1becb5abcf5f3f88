import type { Board } from "./board.ts";

/**
 * QEMU's `virt` for riscv64 with a PLIC. The CPU waits at the first byte of RAM; the device tree is
 * in the last 16 MiB. QEMU plugs devices into the last free slot first.
 */
export const RISCV64_VIRT: Board = {
  name: "riscv64-virt",
  summary: "QEMU virt, riscv64: 8 slots, PLIC",
  targets: ["qtest"],
  qemu: "qemu-system-riscv64",
  machine: "virt",
  args: [
    "-bios",
    "none",
    "-device",
    "loader,addr=0x80000000,data=0xffdff06f10500073,data-len=8", // wfi; j .-4
  ],
  slots: { count: 8, base: 0x1000_1000, size: 0x1000, firstIrq: 1 },
  ram: { base: 0x8000_0000, defaultSize: 128 << 20, reservedLow: 16 << 20, reservedHigh: 16 << 20 },
  interrupts: { type: "riscv.sifive.plic", firstInput: 1 },
};
