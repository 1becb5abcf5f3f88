/**
 * The emulated block device (virtio 1.4 §5.2).
 *
 * @module
 */
export type {
  BlkDeviceOptions,
  BlkGeometry,
  BlkLifetimeReport,
  BlkOrder,
  BlkRangeLimits,
  BlkSetup,
  BlkTopology,
} from "./config.ts";
export { BlkDevice, type BlkStats } from "./device.ts";
