/**
 * The transports, by which drivers reach the registers of devices: virtio-mmio and virtio-pci.
 *
 * @module
 */
export * from "./mmio.ts";
export * from "./pci/details.ts";
export * from "./pci/probe.ts";
export * from "./transport.ts";
