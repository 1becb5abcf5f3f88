/**
 * The emulated CAIF device.
 *
 * @module
 */
export * from "./device.ts";
