/**
 * Where a machine's devices are: virtio-mmio slots by device tree, ACPI, kernel command line, or told;
 * PCI functions by their configuration spaces.
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
export * from "./pci_sysfs.ts";
export * from "./slot.ts";
