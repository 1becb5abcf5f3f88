/**
 * The emulated socket device (virtio 1.4 §5.10).
 *
 * @module
 */
export * from "./device.ts";
