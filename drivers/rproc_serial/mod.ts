/**
 * Serial lines of remote processors (device id 11, as Linux has them).
 *
 * @module
 */
export * from "./driver.ts";
