/**
 * The host's side of devices: disks, networks, byte streams and randomness.
 *
 * @module
 */
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
