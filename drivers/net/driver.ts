import {
  ANY_ID,
  DeviceId,
  Feature,
  featureName,
  FeatureSet,
  NET_CONFIG,
  NET_FEATURE_REQUIRES,
  NET_HASH_KEY_SIZE,
  NET_MAX_QUEUE_PAIRS,
  NET_MIN_MTU,
  NET_RSS_MIN_TABLE,
  NetFeature,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { Net } from "./net.ts";
import type { NetOptions } from "./options.ts";

const FEATURES = FeatureSet.of(
  NetFeature.CSUM,
  NetFeature.GUEST_CSUM,
  NetFeature.CTRL_GUEST_OFFLOADS,
  NetFeature.MTU,
  NetFeature.MAC,
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_ECN,
  NetFeature.GUEST_UFO,
  NetFeature.HOST_TSO4,
  NetFeature.HOST_TSO6,
  NetFeature.HOST_ECN,
  NetFeature.HOST_UFO,
  NetFeature.MRG_RXBUF,
  NetFeature.STATUS,
  NetFeature.CTRL_VQ,
  NetFeature.CTRL_RX,
  NetFeature.CTRL_VLAN,
  NetFeature.CTRL_RX_EXTRA,
  NetFeature.GUEST_ANNOUNCE,
  NetFeature.MQ,
  NetFeature.CTRL_MAC_ADDR,
  NetFeature.SPEED_DUPLEX,
  NetFeature.RSS,
  NetFeature.HASH_REPORT,
);

/**
 * Makes a driver for network devices with options of its own.
 *
 * @throws {RangeError} If `pairs` is not a positive integer.
 *
 * @example
 * ```ts
 * import { createNetDriver } from "@vireo/drivers/net";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * // Uses up to four pairs of queues, as many as the device has.
 * const driver = createNetDriver({ pairs: 4 });
 * assertEquals(driver.name, "virtio_net");
 * assertThrows(() => createNetDriver({ pairs: 0 }), RangeError);
 * ```
 */
export function createNetDriver(options: NetOptions = {}): VirtioDriver<Net> {
  if (options.pairs !== undefined && !(Number.isInteger(options.pairs) && options.pairs >= 1)) {
    throw new RangeError(`Cannot use ${options.pairs} queue pairs: expected a positive integer`);
  }
  return {
    name: "virtio_net",
    ids: [{ device: DeviceId.NET, vendor: ANY_ID }],
    features: FEATURES,
    legacyFeatures: FEATURES.with(NetFeature.GSO, Feature.ANY_LAYOUT),
    featureNames: NetFeature,
    validate,
    async probe(device: VirtioDevice): Promise<Net> {
      const net = new Net(device, options);
      try {
        await net.start();
      } catch (error) {
        await net.remove();
        throw error;
      }
      return net;
    },
  };
}

/** Drives network devices; what `probe` gives is a {@linkcode Net}. */
export const netDriver: VirtioDriver<Net> = createNetDriver();

/** As Linux's `virtnet_validate` (virtio 1.4 §5.1.3.1). */
function validate(device: VirtioDevice, features: FeatureSet): FeatureSet {
  let set = features;
  for (let before = FeatureSet.NONE; !before.equals(set);) {
    before = set;
    for (const [bit, needs] of NET_FEATURE_REQUIRES) {
      if (!set.has(bit) || needs.some((need) => set.has(need))) continue;
      // QEMU offers offloads without the checksum they need when only that was turned off.
      const strict = needs.includes(NetFeature.CTRL_VQ);
      if (strict && !device.offered.has(NetFeature.CTRL_VQ)) {
        const [name, need] = [bit, needs[0]!].map((id) => featureName(id, NetFeature));
        throw new VireoError("FEATURE_DEPENDENCY", `Device offers ${name} without ${need}`, {
          device: device.name,
          seen: name,
          expected: need,
        });
      }
      set = set.without(bit);
    }
  }
  if (set.has(NetFeature.MTU) && device.config.read16(NET_CONFIG.mtu.offset) < NET_MIN_MTU) {
    set = set.without(NetFeature.MTU);
  }
  if (set.has(NetFeature.MQ) || set.has(NetFeature.RSS)) {
    const pairs = device.config.read16(NET_CONFIG.max_virtqueue_pairs.offset);
    const sane = pairs >= 1 && pairs <= NET_MAX_QUEUE_PAIRS;
    if (!sane) set = set.without(NetFeature.MQ, NetFeature.RSS);
  }
  const { RSS, HASH_REPORT } = NetFeature;
  if (set.has(RSS) || set.has(HASH_REPORT)) {
    const { rss_max_key_size: key, rss_max_indirection_table_length: table } = NET_CONFIG;
    if (device.config.read8(key.offset) < NET_HASH_KEY_SIZE) set = set.without(RSS, HASH_REPORT);
    if (set.has(RSS) && device.config.read16(table.offset) < NET_RSS_MIN_TABLE) {
      set = set.without(RSS);
    }
  }
  return set;
}
