/**
 * The emulated memory balloon (virtio 1.4 §5.5).
 *
 * @example
 * ```ts
 * import { BalloonDevice } from "@vireo/emu/balloon";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { BALLOON_CONFIG } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const balloon = new BalloonDevice();
 * await using machine = EmulatedMachine.create({ devices: [balloon] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * // The host asks for 256 pages of the guest.
 * balloon.target = 256;
 * assertEquals([...driver.config(BALLOON_CONFIG.num_pages.offset, 4)], [0, 1, 0, 0]);
 * ```
 *
 * @module
 */
export * from "./device.ts";
