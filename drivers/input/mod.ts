/**
 * Input devices: keyboards, mice, tablets (virtio 1.4 §5.8).
 *
 * @module
 */
export * from "./driver.ts";
