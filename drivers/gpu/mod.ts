/**
 * GPUs: displays and pictures in two dimensions (virtio 1.4 §5.7).
 *
 * @module
 */
export * from "./canvas.ts";
export * from "./driver.ts";
export * from "./edid.ts";
export * from "./resource.ts";
