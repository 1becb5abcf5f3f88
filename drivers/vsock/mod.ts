/**
 * Sockets between a guest and its host (virtio 1.4 §5.10).
 *
 * @module
 */
export { type ConnectionHost, VsockConnection } from "./connection.ts";
export * from "./driver.ts";
export { type VsockPacket } from "./packet.ts";
