/**
 * The console driver: ports as byte streams.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { consoleDriver } from "@vireo/drivers/console";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { ConsoleDevice } from "@vireo/emu/console";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ConsoleDevice({ ports: [{ name: "echo", backend: loopbackPort() }], multiport: true });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(consoleDriver);
 * await bus.addPlatform(machine);
 *
 * using port = (await bus.get(consoleDriver)!.port("echo")).open();
 * await port.writeText("hello");
 * assertEquals(new TextDecoder().decode((await port.read())!), "hello");
 * ```
 *
 * @module
 */
export type { Receiver } from "./_receiver.ts";
export type { Sender } from "./_sender.ts";
export * from "./driver.ts";
export * from "./emergency.ts";
export * from "./port.ts";
