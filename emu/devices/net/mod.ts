/**
 * The emulated network device.
 *
 * @example
 * ```ts
 * import { HostPeer, Hub } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { NetDevice } from "@vireo/emu/net";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * using peer = new HostPeer(hub.port());
 * await using machine = EmulatedMachine.create({ devices: [new NetDevice({ backend: hub.port() })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * // Queue 1 transmits: a header and a frame.
 * await driver.request(1, [{ read: new Uint8Array(12) }, { read: new Uint8Array(60) }]);
 * assertEquals(peer.stats.received, 1);
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./filter.ts";
export * from "./options.ts";
export type { ReceiveHashState } from "./rss.ts";
