/**
 * Stand-ins for devices and memory, for tests of drivers.
 *
 * @module
 */
export * from "./dma.ts";
export * from "./pci_config_script.ts";
export * from "./ring_device.ts";
export * from "./scripted_device.ts";
export * from "./scripted_pci.ts";
