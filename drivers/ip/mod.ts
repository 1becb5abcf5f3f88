/**
 * A small IPv4 host above a network device: ARP, UDP, DHCP, a TCP client, HTTP.
 *
 * @module
 */
export { type DhcpLease } from "./dhcp.ts";
export { type IpResponse } from "./http.ts";
export * from "./packets.ts";
export * from "./stack.ts";
export { TcpConnection, type TcpHost } from "./tcp.ts";
