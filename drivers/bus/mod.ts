/**
 * The bus: it binds drivers to devices.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { systemRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: systemRandom() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rngDriver);
 * await bus.addPlatform(machine);
 *
 * const [found] = bus.devices;
 * assertEquals([found!.name, found!.driver?.name], ["virtio0", "virtio_rng"]);
 * assertEquals(bus.attributes(found!).device, "0x0004\n");
 * ```
 *
 * @module
 */
export * from "./bus.ts";
export * from "./uevent.ts";
export type { Ring } from "../virtqueue/create_ring.ts";
export type { RingObserver, RingPlace } from "../virtqueue/observer.ts";
