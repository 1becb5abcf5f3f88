/**
 * How registers reach a device: virtio-mmio and virtio-pci.
 *
 * @module
 */
export * from "./mmio.ts";
export * from "./pci/details.ts";
export * from "./pci/probe.ts";
export * from "./transport.ts";
