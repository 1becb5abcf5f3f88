/**
 * The network driver, and helpers for the packets of `ping`.
 *
 * @module
 */
export * from "./driver.ts";
export * from "./frame.ts";
export * from "./mac.ts";
export * from "./net.ts";
export * from "./options.ts";
export * from "./packet.ts";
export * from "./pcap.ts";
export * from "./ping.ts";
export * from "./tx_queue.ts";
