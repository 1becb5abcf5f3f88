/**
 * GPUs: displays and pictures in two dimensions (virtio 1.4 §5.7).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { gpuDriver } from "@vireo/drivers/gpu";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { GpuDevice } from "@vireo/emu/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new GpuDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(gpuDriver);
 * await bus.addPlatform(machine);
 *
 * const gpu = bus.get(gpuDriver)!;
 * await using picture = await gpu.create(64, 48);
 * picture.canvas().fill(0, 0, 64, 48, [255, 0, 0]);
 * await gpu.setScanout(0, picture);
 * await picture.flush();
 * assertEquals((await gpu.displays()).length, 1);
 * ```
 *
 * @module
 */
export * from "./canvas.ts";
export * from "./driver.ts";
export * from "./edid.ts";
export * from "./resource.ts";
