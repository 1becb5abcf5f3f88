/**
 * The emulated entropy device.
 *
 * @module
 */
export * from "./device.ts";
