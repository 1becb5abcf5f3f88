/**
 * The bus, where devices and drivers meet.
 *
 * @module
 */
export * from "./bus.ts";
export * from "./uevent.ts";
