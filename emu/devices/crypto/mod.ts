/**
 * The emulated crypto device (virtio 1.4 §5.9).
 *
 * @module
 */
export * from "./device.ts";
