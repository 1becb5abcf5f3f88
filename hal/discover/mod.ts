/**
 * Where a machine's virtio-mmio slots are: device tree, ACPI, kernel command line, or told.
 *
 * @module
 */
export * from "./acpi.ts";
export * from "./command_line.ts";
export * from "./device_tree.ts";
export * from "./discover.ts";
export * from "./explicit.ts";
export * from "./slot.ts";
