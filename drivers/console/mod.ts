/**
 * The console driver: ports as byte streams.
 *
 * @module
 */
export type { ConsoleWait } from "./_gate.ts";
export * from "./driver.ts";
export * from "./emergency.ts";
export * from "./port.ts";
