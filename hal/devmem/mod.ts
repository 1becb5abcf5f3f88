/**
 * The machine a program runs on as a platform: registers through `/dev/mem` and the C shim, DMA
 * memory in hugepages, polling instead of interrupts. Linux on x86_64 and aarch64, as root.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { DevmemPlatform } from "@vireo/hal/devmem";
 *
 * // Names the virtio devices of this machine; as root.
 * export async function names(): Promise<readonly string[]> {
 *   await using platform = DevmemPlatform.open();
 *   await using bus = new Bus();
 *   await bus.addPlatform(platform);
 *   return bus.devices.map((device) => device.transport.name);
 * }
 * ```
 *
 * @module
 */
export { HUGEPAGE, HugepageDma } from "./dma.ts";
export { type DevmemOptions, DevmemPlatform } from "./platform.ts";
