/**
 * An emulated remote processor that speaks rpmsg (device id 7).
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RpmsgDevice, type RpmsgService } from "@vireo/emu/rpmsg";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const echo: RpmsgService = {
 *   name: "echo",
 *   address: 0x400,
 *   handle: (_, bytes, reply) => reply(bytes),
 * };
 * await using machine = EmulatedMachine.create({ devices: [new RpmsgDevice({ services: [echo] })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * // The device announces its services in the driver's buffers.
 * const { bytes } = await driver.request(0, [{ write: 512 }]);
 * const name = bytes[0]!.subarray(16, 20);
 * assertEquals(new TextDecoder().decode(name), "echo");
 * ```
 *
 * @module
 */
export * from "./device.ts";
