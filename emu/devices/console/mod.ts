/**
 * The emulated console device.
 *
 * @example
 * ```ts
 * import { streamPipe } from "@vireo/emu/backends";
 * import { ConsoleDevice } from "@vireo/emu/console";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const { device, host } = streamPipe();
 * await using machine = EmulatedMachine.create({ devices: [new ConsoleDevice({ ports: [{ backend: device }] })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const reading = host.readable.getReader().read();
 * await driver.request(1, [{ read: new TextEncoder().encode("hello") }]);
 * assertEquals(new TextDecoder().decode((await reading).value), "hello");
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./port.ts";
