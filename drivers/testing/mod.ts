/**
 * Stand-ins for devices and memory, for tests of drivers.
 *
 * @module
 */
export * from "./dma.ts";
export * from "./ring_device.ts";
export * from "./scripted_device.ts";
