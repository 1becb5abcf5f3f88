/**
 * The device side of virtio: machines of emulated devices, and what they are made of.
 *
 * @module
 */
export * from "./backends/disk.ts";
export * from "./backends/file_disk.ts";
export * from "./backends/hub.ts";
export * from "./backends/memory_disk.ts";
export * from "./backends/net_backend.ts";
export * from "./backends/random.ts";
export * from "./backends/stream_port.ts";
export * from "./backends/tap.ts";
export * from "./backends/vsock_unix.ts";
export * from "./backends/wire.ts";
export * from "./device.ts";
export * from "./device_state.ts";
export * from "./devices/balloon/mod.ts";
export * from "./devices/blk/mod.ts";
export * from "./devices/caif/mod.ts";
export * from "./devices/console/mod.ts";
export * from "./devices/crypto/mod.ts";
export * from "./devices/gpu/mod.ts";
export * from "./devices/input/mod.ts";
export * from "./devices/net/mod.ts";
export * from "./devices/p9/mod.ts";
export * from "./devices/rng/mod.ts";
export * from "./devices/rpmsg/mod.ts";
export * from "./devices/rproc_serial/mod.ts";
export * from "./devices/scsi/mod.ts";
export * from "./devices/vsock/mod.ts";
export * from "./hosted_device.ts";
export * from "./interrupt.ts";
export * from "./machine.ts";
export * from "./memory.ts";
export * from "./transport/mmio.ts";
export * from "./offer.ts";
export * from "./transport/pci/config_space.ts";
export * from "./transport/pci/messages.ts";
export * from "./transport/pci/msix.ts";
export * from "./transport/pci/pci_device.ts";
export * from "./transport/pci/registers.ts";
export * from "./transport/queue_registers.ts";
export * from "./ring/in_order.ts";
export * from "./ring/make_queue.ts";
export * from "./ring/packed.ts";
export * from "./ring/packed_geometry.ts";
export * from "./ring/position.ts";
export * from "./ring/queue_config.ts";
export * from "./ring/reversed.ts";
export * from "./ring/split.ts";
export * from "./status.ts";
export * from "./worker/machine.ts";
