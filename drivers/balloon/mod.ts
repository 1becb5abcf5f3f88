/**
 * The traditional memory balloon (virtio 1.4 §5.5).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { balloonDriver } from "@vireo/drivers/balloon";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { BalloonDevice } from "@vireo/emu/balloon";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new BalloonDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(balloonDriver);
 * await bus.addPlatform(machine);
 *
 * const balloon = bus.get(balloonDriver)!;
 * await balloon.resize(256);
 * assertEquals(balloon.size, 256);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
