import { ANY_ID, BlkFeature, BlkZonedModel, DeviceId, FeatureSet } from "@vireo/hal";
import type { VirtioDriver } from "../driver.ts";
import { Blk } from "./blk.ts";
import type { BlkDriverOptions } from "./types.ts";
import { readZonedModel } from "./zoned.ts";

export { Blk };

const FEATURES: readonly number[] = [
  ...[BlkFeature.SIZE_MAX, BlkFeature.SEG_MAX, BlkFeature.GEOMETRY, BlkFeature.RO],
  ...[BlkFeature.BLK_SIZE, BlkFeature.FLUSH, BlkFeature.TOPOLOGY, BlkFeature.CONFIG_WCE],
  ...[BlkFeature.MQ, BlkFeature.DISCARD, BlkFeature.WRITE_ZEROES, BlkFeature.LIFETIME],
  ...[BlkFeature.SECURE_ERASE, BlkFeature.ZONED],
];

/**
 * Makes a driver for block devices with options of its own.
 *
 * @example
 * ```ts
 * import { createBlkDriver } from "@vireo/drivers/blk";
 * import { Bus } from "@vireo/drivers/bus";
 *
 * const bus = new Bus();
 * bus.registerDriver(createBlkDriver({ queues: 2, depth: 128 }));
 * ```
 */
export function createBlkDriver(options: BlkDriverOptions = {}): VirtioDriver<Blk> {
  return {
    name: "virtio_blk",
    ids: [{ device: DeviceId.BLOCK, vendor: ANY_ID }],
    features: FeatureSet.of(...FEATURES),
    featureNames: BlkFeature,
    validate(device, features) {
      if (!features.has(BlkFeature.ZONED)) return features;
      // The legacy interface has no FEATURES_OK, which settles ZONED (virtio 1.4 §5.2.5.2).
      if (device.transport.legacy) return features.without(BlkFeature.ZONED);
      // drv.blk.init.5
      return readZonedModel(device) === BlkZonedModel.HM
        ? features.without(BlkFeature.DISCARD)
        : features;
    },
    probe: (device) => new Blk(device, options),
  };
}

/** The driver for block devices. */
export const blkDriver: VirtioDriver<Blk> = createBlkDriver();
