/**
 * Boards whose devices are QEMU's own and whose drivers run on the host: registers over QEMU's qtest
 * protocol, memory as a shared mapping, interrupts by interception. No guest runs.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { type QtestBoard, QtestPlatform } from "@vireo/hal/qtest";
 *
 * // Reads random bytes from QEMU's entropy device on a board without PCI.
 * export async function entropy(board: QtestBoard): Promise<Uint8Array> {
 *   await using platform = await QtestPlatform.start({ board, devices: ["virtio-rng-device"] });
 *   await using bus = new Bus();
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(platform);
 *   return await bus.get(rngDriver)!.read(16);
 * }
 * ```
 *
 * @module
 */
export * from "./board.ts";
export * from "./interfaces.ts";
export * from "./platform.ts";
export * from "./qmp.ts";
