/**
 * The network driver.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { formatMac, netDriver } from "@vireo/drivers/net";
 * import { Hub } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { NetDevice } from "@vireo/emu/net";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * const device = new NetDevice({ backend: hub.port() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(netDriver);
 * await bus.addPlatform(machine);
 *
 * const net = bus.get(netDriver)!;
 * const arp = new Uint8Array(60).fill(0xff, 0, 6);
 * await net.send(arp);
 * assertEquals(formatMac(net.mac).length, 17);
 * ```
 *
 * @module
 */
export * from "./driver.ts";
export * from "./frame.ts";
export * from "./mac.ts";
export * from "./net.ts";
export * from "./options.ts";
export type { HashLimits, HashOptions, RssOptions } from "./receive_hash.ts";
export * from "./tx_queue.ts";
