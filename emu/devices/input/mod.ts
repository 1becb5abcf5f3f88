/**
 * The emulated input device (virtio 1.4 §5.8).
 *
 * @module
 */
export * from "./device.ts";
export * from "./presets.ts";
