/**
 * The emulated 9P transport, and the trees that it serves.
 *
 * @module
 */
export * from "./device.ts";
export * from "./export.ts";
export * from "./host_tree.ts";
export * from "./memory_tree.ts";
