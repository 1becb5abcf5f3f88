import type { Board } from "./board.ts";
import { X86_64_MICROVM } from "./x86_64_microvm.ts";

/**
 * QEMU's `q35` for x86_64: a PC with PCI Express. Its controller of messages is the processor's, which
 * is parked, so QEMU's `edu` device reports them.
 */
export const X86_64_Q35: Board = {
  name: "x86_64-q35",
  summary: "QEMU q35, x86_64: PCI Express, IO-APIC",
  targets: ["qtest", "qemu"],
  qemu: "qemu-system-x86_64",
  machine: "q35,sata=off,smbus=off,i8042=off,vmport=off,usb=off,hpet=off,pit=off,pic=off",
  args: [
    ...["-device", "edu,addr=0x18"],
    // Ports report plugged devices by their own registers, as on the other boards, not by ACPI.
    ...["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"],
  ],
  firmware: X86_64_MICROVM.firmware!,
  ram: { base: 0, defaultSize: 128 << 20, reservedLow: 16 << 20, reservedHigh: 0 },
  pci: {
    ecam: { base: 0xb000_0000, size: 0x1000_0000, q35: true },
    // Above it are the IO-APIC, the processor's APIC and the firmware.
    memory: { base: 0xc000_0000, size: 0x3c00_0000 },
    // The chipset's own ports are below.
    io: { base: 0xc000, size: 0x4000, window: undefined },
    // The ICH9 wires INTA to INTD of device n to PIRQE to PIRQH, which are inputs 20 to 23.
    firstInput: 20,
    messages: { kind: "doorbell", device: 0x18 },
  },
  interrupts: { type: "ioapic", parent: "/machine/q35", firstInput: 20 },
};
