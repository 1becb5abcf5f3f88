/**
 * A small IPv4 host above a network device: ARP, ping, UDP, DHCP, a TCP client, HTTP; captures of frames.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { ping } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo({ target: "emu" });
 * const options = { source: "10.0.2.15", target: "10.0.2.2", count: 1 };
 * const { replies } = await ping(vireo.net, options);
 * assertEquals(replies.length, 1);
 * ```
 *
 * @module
 */
export { type DhcpLease } from "./dhcp.ts";
export * from "./ethernet.ts";
export * from "./host.ts";
export { type FetchOptions, type IpResponse } from "./http.ts";
export * from "./packets.ts";
export * from "./pcap.ts";
export * from "./ping.ts";
export * from "./stack.ts";
export { TcpConnection, type TcpHost } from "./tcp.ts";
