/**
 * The parts of an emulated device: models, rings, transports and the machine.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { MMIO_MAGIC, MmioRegister } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const [slot] = machine.slots;
 * assertEquals(slot!.read32(MmioRegister.MagicValue), MMIO_MAGIC);
 * // A write that the specification forbids is ignored, and noted.
 * slot!.write32(MmioRegister.MagicValue, 0);
 * assertEquals(machine.violations().map(({ register }) => register), ["MagicValue"]);
 * ```
 *
 * @module
 */
export type * from "./device.ts";
export * from "./device_state.ts";
export * from "./hosted_device.ts";
export * from "./interrupt.ts";
export * from "./machine.ts";
export * from "./memory.ts";
export * from "./offer.ts";
export * from "./ring/in_order.ts";
export type * from "./ring/inflight.ts";
export * from "./ring/make_queue.ts";
export * from "./ring/packed.ts";
export * from "./ring/packed_geometry.ts";
export * from "./ring/position.ts";
export * from "./ring/queue_config.ts";
export * from "./ring/reversed.ts";
export * from "./ring/split.ts";
export * from "./status.ts";
export type * from "./trace.ts";
export * from "./transport/mmio.ts";
export * from "./transport/pci/config_space.ts";
export * from "./transport/pci/messages.ts";
export * from "./transport/pci/msix.ts";
export * from "./transport/pci/pci_device.ts";
export * from "./transport/pci/registers.ts";
export * from "./transport/queue_registers.ts";
export * from "./work.ts";
