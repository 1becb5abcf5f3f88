/**
 * The emulated serial line of a remote processor (device id 11).
 *
 * @module
 */
export * from "./device.ts";
