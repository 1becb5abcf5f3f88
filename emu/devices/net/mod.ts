/**
 * The emulated network device.
 *
 * @module
 */
export * from "./device.ts";
export * from "./filter.ts";
export * from "./options.ts";
