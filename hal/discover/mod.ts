/**
 * Where a machine's devices are. The device tree, ACPI, the kernel command line or the user name the
 * virtio-mmio slots; configuration spaces name the PCI functions.
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
