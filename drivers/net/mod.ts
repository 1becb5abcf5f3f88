/**
 * The network driver.
 *
 * @module
 */
export * from "./driver.ts";
export * from "./frame.ts";
export * from "./mac.ts";
export * from "./net.ts";
export * from "./options.ts";
export * from "./tx_queue.ts";
