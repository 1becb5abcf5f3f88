/**
 * The emulated serial line of a remote processor (device id 11).
 *
 * @example
 * ```ts
 * import { streamPipe } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RprocSerialDevice } from "@vireo/emu/rproc-serial";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const { device, host } = streamPipe();
 * await using machine = EmulatedMachine.create({ devices: [new RprocSerialDevice(device)] });
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
