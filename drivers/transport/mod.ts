/**
 * The transports, by which drivers reach devices: virtio-mmio, virtio-pci and vhost-user.
 *
 * @example
 * ```ts
 * import { MmioTransport } from "@vireo/drivers/transport";
 * import { systemRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { Feature } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: systemRandom() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * using transport = MmioTransport.probe(machine.slotNodes()[0]!, machine.dma)!;
 * await transport.reset();
 * assertEquals([transport.kind, transport.deviceId], ["mmio-2", 4]);
 * assertEquals(transport.readFeatures().has(Feature.VERSION_1), true);
 * ```
 *
 * @module
 */
export * from "./mmio.ts";
export * from "./pci/details.ts";
export * from "./pci/probe.ts";
export * from "./transport.ts";
export * from "./vhost_user.ts";
