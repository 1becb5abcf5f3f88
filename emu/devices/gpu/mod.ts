/**
 * The emulated GPU (virtio 1.4 §5.7).
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { GpuDevice } from "@vireo/emu/gpu";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { GPU_CONFIG } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const gpu = new GpuDevice({ displays: [{ width: 640, height: 480 }] });
 * await using machine = EmulatedMachine.create({ devices: [gpu] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const [displays] = driver.config(GPU_CONFIG.num_scanouts.offset, 4);
 * // No driver has drawn anything yet.
 * assertEquals([displays, gpu.screen()], [1, undefined]);
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./png.ts";
