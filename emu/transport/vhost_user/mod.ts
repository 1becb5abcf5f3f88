/**
 * Device models behind vhost-user sockets, for QEMU's and other front ends.
 *
 * @module
 */
export * from "./device.ts";
export * from "./memory_map.ts";
export * from "./server.ts";
