/**
 * A small IPv4 host above a network device: ARP, ping, UDP, DHCP, a TCP client, HTTP; captures of frames.
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
