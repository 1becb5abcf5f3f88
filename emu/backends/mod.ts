/**
 * The host's side of devices: disks, networks, byte streams and randomness.
 *
 * @example
 * ```ts
 * import { HostPeer, Hub, MemoryDisk, seededRandom } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * using disk = new MemoryDisk(1 << 20);
 * const bytes = new Uint8Array(4);
 * seededRandom(1)(bytes);
 * disk.write(512, bytes, 0, 4);
 *
 * using hub = new Hub();
 * using peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
 * assertEquals([disk.memory[512], [...peer.ip]], [bytes[0], [10, 0, 2, 2]]);
 * ```
 *
 * @module
 */
export * from "./byte_port.ts";
export * from "./disk.ts";
export * from "./file_disk.ts";
export * from "./hub.ts";
export * from "./memory_disk.ts";
export * from "./net_backend.ts";
export * from "./random.ts";
export * from "./stream_port.ts";
export * from "./tap.ts";
export * from "./vsock_unix.ts";
export * from "./wire.ts";
