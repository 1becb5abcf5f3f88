/**
 * The emulated GPU (virtio 1.4 §5.7).
 *
 * @module
 */
export * from "./device.ts";
export * from "./png.ts";
