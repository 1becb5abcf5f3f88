/**
 * SCSI hosts and their units (virtio 1.4 §5.6).
 *
 * @module
 */
export * from "./host.ts";
export * from "./sense.ts";
export {
  type ScsiCapacity,
  type ScsiForm,
  type ScsiInquiry,
  type ScsiTransfer,
  ScsiUnit,
} from "./unit.ts";
