/**
 * Messages to and from remote processors (device id 7, as Linux has them).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rpmsgDriver } from "@vireo/drivers/rpmsg";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RpmsgDevice, type RpmsgService } from "@vireo/emu/rpmsg";
 * import { assertEquals } from "@std/assert";
 *
 * const echo: RpmsgService = {
 *   name: "echo",
 *   address: 0x400,
 *   handle: (_, bytes, reply) => reply(bytes),
 * };
 * const device = new RpmsgDevice({ services: [echo] });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rpmsgDriver);
 * await bus.addPlatform(machine);
 *
 * const rpmsg = bus.get(rpmsgDriver)!;
 * const { address } = await rpmsg.channel("echo");
 * using endpoint = rpmsg.endpoint({ remote: address });
 * await endpoint.send(Uint8Array.of(1, 2, 3));
 * assertEquals([...(await endpoint.receive()).bytes], [1, 2, 3]);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
export { type EndpointHost, RpmsgEndpoint, type RpmsgMessage } from "./endpoint.ts";
