/**
 * The traditional memory balloon (virtio 1.4 §5.5).
 *
 * @module
 */
export * from "./driver.ts";
