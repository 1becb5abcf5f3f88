/**
 * Where a machine's devices are. The device tree, ACPI, the kernel command line or the user name the
 * virtio-mmio slots; configuration spaces name the PCI functions.
 *
 * @example
 * ```ts
 * import { parseCommandLine } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const [slot] = parseCommandLine("console=ttyS0 virtio_mmio.device=512@0xa000000:48");
 * assertEquals([slot!.base, slot!.size, slot!.irq], [0x0a00_0000, 512, 48]);
 * ```
 *
 * @module
 */
export * from "./acpi.ts";
export * from "./command_line.ts";
export * from "./device_tree.ts";
export * from "./discover.ts";
export * from "./explicit.ts";
export * from "./mmio_part.ts";
export * from "./pci.ts";
export * from "./pci_assign.ts";
export * from "./pci_config.ts";
export * from "./pci_scan.ts";
export * from "./pci_slot.ts";
export * from "./pci_sysfs.ts";
export * from "./slot.ts";
