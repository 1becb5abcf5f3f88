/**
 * Serial lines of remote processors (device id 11, as Linux has them).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rprocSerialDriver } from "@vireo/drivers/rproc-serial";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RprocSerialDevice } from "@vireo/emu/rproc-serial";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RprocSerialDevice(loopbackPort());
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rprocSerialDriver);
 * await bus.addPlatform(machine);
 *
 * using port = (await bus.get(rprocSerialDriver)!.port(0)).open();
 * await port.writeText("hello");
 * assertEquals(new TextDecoder().decode((await port.read())!), "hello");
 * ```
 *
 * @module
 */
export * from "./driver.ts";
