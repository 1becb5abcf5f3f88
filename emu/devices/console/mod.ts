/**
 * The emulated console device.
 *
 * @module
 */
export * from "./device.ts";
export * from "./port.ts";
