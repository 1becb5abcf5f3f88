/**
 * The bus: it binds drivers to devices.
 *
 * @module
 */
export * from "./bus.ts";
export * from "./uevent.ts";
