/**
 * Device models behind vhost-user sockets, for QEMU's and other front ends.
 *
 * @example
 * ```ts
 * import { systemRandom } from "@vireo/emu/backends";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { VhostUserServer } from "@vireo/emu/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/rng.sock`;
 * const model = new RngDevice({ random: systemRandom() });
 * await using server = new VhostUserServer({ model, path });
 * // QEMU's vhost-user-rng-pci, for example, can connect to the socket now.
 * assertEquals((await Deno.stat(path)).isSocket, true);
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./memory_map.ts";
export * from "./server.ts";
