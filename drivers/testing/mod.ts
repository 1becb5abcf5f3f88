/**
 * Stand-ins for devices and memory, for tests of drivers.
 *
 * @example
 * ```ts
 * import { ScriptedDevice } from "@vireo/drivers/testing";
 * import { MmioRegister } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ScriptedDevice({ queues: [8] });
 * device.mmio.write32(MmioRegister.QueueSel, 0);
 * assertEquals(device.mmio.read32(MmioRegister.QueueSizeMax), 8);
 * assertEquals(device.log, ["w QueueSel 0x0", "r QueueSizeMax 0x8"]);
 * ```
 *
 * @module
 */
export * from "./dma.ts";
export * from "./pci_config_script.ts";
export * from "./ring_device.ts";
export * from "./scripted_device.ts";
export * from "./scripted_pci.ts";
