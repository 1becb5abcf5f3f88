/**
 * The QEMU that the tests run on: its version, and what it does otherwise than other versions.
 *
 * @module
 */
export * from "./differences.ts";
export * from "./part.ts";
export * from "./version.ts";
