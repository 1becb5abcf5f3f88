import type { Board } from "./board.ts";

/** 64 KiB that end at 4 GiB: the reset vector, 16 bytes before the end, holds `cli; hlt; jmp`. */
function parkingFirmware(): Uint8Array {
  const image = new Uint8Array(0x1_0000);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return image;
}

/**
 * QEMU's `microvm` for x86_64. With ACPI it has a second IO-APIC, whose 24 inputs are the slots';
 * QEMU plugs devices into the last free slot first.
 */
export const X86_64_MICROVM: Board = {
  name: "x86_64-microvm",
  summary: "QEMU microvm, x86_64: 24 slots, IO-APIC",
  targets: ["qtest", "qemu"],
  qemu: "qemu-system-x86_64",
  machine: "microvm,acpi=on,pit=off,pic=off,rtc=off,isa-serial=off",
  args: [],
  firmware: parkingFirmware(),
  slots: { count: 24, base: 0xfeb0_0000, size: 0x200, firstIrq: 24 },
  ram: { base: 0, defaultSize: 128 << 20, reservedLow: 16 << 20, reservedHigh: 0 },
  // The first IO-APIC is a child of the machine itself, so this finds the second one only.
  interrupts: { type: "ioapic", firstInput: 0 },
};
