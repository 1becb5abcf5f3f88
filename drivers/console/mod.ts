/**
 * The console driver: ports as byte streams.
 *
 * @module
 */
export type { Receiver } from "./_receiver.ts";
export type { Sender } from "./_sender.ts";
export * from "./driver.ts";
export * from "./emergency.ts";
export * from "./port.ts";
