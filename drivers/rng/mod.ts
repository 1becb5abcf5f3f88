/**
 * The entropy driver.
 *
 * @module
 */
export * from "./driver.ts";
