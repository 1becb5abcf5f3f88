/**
 * The driver of CAIF devices: frames to and from a modem.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { caifDriver } from "@vireo/drivers/caif";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CaifDevice } from "@vireo/emu/caif";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new CaifDevice({ onFrame: (frame, modem) => modem.send(frame) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(caifDriver);
 * await bus.addPlatform(machine);
 *
 * const caif = bus.get(caifDriver)!;
 * await caif.send(Uint8Array.of(1, 2, 3));
 * assertEquals([...await caif.receive()], [1, 2, 3]);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
