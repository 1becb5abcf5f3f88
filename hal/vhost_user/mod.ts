/**
 * vhost-user: devices in other processes behind unix sockets, and what both sides of such a socket need.
 *
 * @module
 */
export * from "../unix/event.ts";
export * from "../unix/libc.ts";
export * from "../unix/message_socket.ts";
export * from "../unix/poller.ts";
export * from "./bits64.ts";
export * from "./front_end.ts";
export * from "./platform.ts";
export * from "./protocol.ts";
export * from "./socket.ts";
