/**
 * The transports, by which drivers reach devices: virtio-mmio, virtio-pci and vhost-user.
 *
 * @module
 */
export * from "./mmio.ts";
export * from "./pci/details.ts";
export * from "./pci/probe.ts";
export * from "./transport.ts";
export * from "./vhost_user.ts";
