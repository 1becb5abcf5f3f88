/**
 * Sockets between a guest and its host (virtio 1.4 §5.10).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { vsockDriver } from "@vireo/drivers/vsock";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new VsockDevice({ host: { connect: () => Promise.resolve(loopbackPort()) } });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(vsockDriver);
 * await bus.addPlatform(machine);
 *
 * await using connection = await bus.get(vsockDriver)!.connect(7);
 * const writer = connection.writable.getWriter();
 * await writer.write(Uint8Array.of(1, 2, 3));
 * const { value } = await connection.readable.getReader().read();
 * assertEquals([...value!], [1, 2, 3]);
 * ```
 *
 * @module
 */
export { type ConnectionHost, VsockConnection } from "./connection.ts";
export * from "./driver.ts";
export { type VsockPacket } from "./packet.ts";
