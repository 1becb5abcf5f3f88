import type { Board } from "./board.ts";

/**
 * QEMU's `virt` for aarch64 with a GICv2. The CPU waits at 2 MiB into RAM, past the device tree;
 * QEMU plugs devices into the last free slot first.
 */
export const AARCH64_VIRT: Board = {
  name: "aarch64-virt",
  summary: "QEMU virt, aarch64: 32 slots, GICv2",
  targets: ["qtest", "qemu"],
  qemu: "qemu-system-aarch64",
  machine: "virt",
  args: [
    "-cpu",
    "cortex-a57",
    "-device",
    "loader,addr=0x40200000,data=0x17ffffffd503207f,data-len=8", // wfi; b .-4
    "-device",
    "loader,addr=0x40200000,cpu-num=0",
  ],
  slots: { count: 32, base: 0x0a00_0000, size: 0x200, firstIrq: 48 },
  ram: { base: 0x4000_0000, defaultSize: 128 << 20, reservedLow: 16 << 20, reservedHigh: 0 },
  // Input n of the GIC is shared interrupt n; the machine counts it as n + 32.
  interrupts: { type: "arm_gic", firstInput: 16 },
};
