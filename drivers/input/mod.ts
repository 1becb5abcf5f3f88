/**
 * Input devices: keyboards, mice, tablets (virtio 1.4 §5.8).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { inputDriver } from "@vireo/drivers/input";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { INPUT_PRESETS, InputDevice } from "@vireo/emu/input";
 * import { assertEquals } from "@std/assert";
 *
 * const keyboard = new InputDevice(INPUT_PRESETS.keyboard);
 * await using machine = EmulatedMachine.create({ devices: [keyboard] });
 * await using bus = new Bus();
 * await bus.registerDriver(inputDriver);
 * await bus.addPlatform(machine);
 *
 * using events = bus.get(inputDriver)!.events();
 * keyboard.tap(30);
 * const { value } = await events.next();
 * assertEquals([value.code, value.value], [30, 1]);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
