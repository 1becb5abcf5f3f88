/**
 * The guest image: Debian's kernel and an initramfs with the pinned Deno, the shims and PID 1.
 *
 * @module
 */
export * from "./arch.ts";
export * from "./bundle.ts";
export * from "./cpio.ts";
export * from "./debian.ts";
export * from "./image.ts";
export * from "./module_cache.ts";
export * from "./shim.ts";
