/**
 * An emulated remote processor that speaks rpmsg (device id 7).
 *
 * @module
 */
export * from "./device.ts";
