import type { FeatureSet } from "../bits.ts";
import { BlkFeature } from "../virtio/blk.ts";
import { DeviceId } from "../virtio/ids.ts";

/**
 * Whether all requests of a device may be done twice, of which its driver sees one. A disk with zones
 * appends to them, so its requests may not.
 *
 * @param deviceId Virtio device id.
 * @param features The features that the driver accepted.
 */
export function isRepeatable(deviceId: number, features: FeatureSet): boolean {
  return deviceId === DeviceId.RNG ||
    deviceId === DeviceId.BLOCK && !features.has(BlkFeature.ZONED);
}
