/**
 * The driver of CAIF devices: frames to and from a modem.
 *
 * @module
 */
export * from "./driver.ts";
