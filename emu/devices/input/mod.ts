/**
 * The emulated input device (virtio 1.4 §5.8).
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { INPUT_PRESETS, InputDevice } from "@vireo/emu/input";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { INPUT_EVENT, InputType } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const keyboard = new InputDevice(INPUT_PRESETS.keyboard);
 * await using machine = EmulatedMachine.create({ devices: [keyboard] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * // The driver posts two buffers of an event each; a key press and its end fill them.
 * const ring = driver.queues[0]!;
 * const events = [ring.add([{ write: INPUT_EVENT.SIZE }]), ring.add([{ write: INPUT_EVENT.SIZE }])];
 * ring.kick();
 * keyboard.send(InputType.KEY, 30, 1).sync();
 * const [press] = await driver.until(Promise.all(events));
 * assertEquals([...press!.bytes[0]!], [1, 0, 30, 0, 1, 0, 0, 0]);
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./presets.ts";
