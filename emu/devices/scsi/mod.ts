/**
 * The emulated SCSI host (virtio 1.4 §5.6).
 *
 * @module
 */
export * from "./device.ts";
export { type ScsiUnitOptions } from "./unit.ts";
