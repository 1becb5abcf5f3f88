/**
 * The guest image: Debian's kernel and an initramfs with the pinned Deno, the shims and PID 1.
 *
 * @example
 * ```ts
 * import { guestImage } from "@vireo/firmware/image";
 *
 * // Builds the guest's image, or takes it from the cache, and returns the path of its kernel.
 * export async function kernelPath(): Promise<string> {
 *   return (await guestImage("x86_64")).kernel;
 * }
 * ```
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
