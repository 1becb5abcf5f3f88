import { FeatureSet } from "../bits.ts";
import { NetFeature } from "../virtio/net.ts";

/**
 * What a network device does by its control queue, which no vhost-user back end serves: the front end
 * would have to, as QEMU does.
 */
export const VHOST_USER_NET_CONTROL: FeatureSet = FeatureSet.of(
  NetFeature.CTRL_VQ,
  NetFeature.CTRL_RX,
  NetFeature.CTRL_VLAN,
  NetFeature.CTRL_RX_EXTRA,
  NetFeature.CTRL_MAC_ADDR,
  NetFeature.CTRL_GUEST_OFFLOADS,
  NetFeature.GUEST_ANNOUNCE,
  NetFeature.MQ,
  NetFeature.RSS,
  NetFeature.HASH_REPORT,
  NetFeature.NOTF_COAL,
  NetFeature.VQ_NOTF_COAL,
);

/**
 * What a network device tells by its configuration: nothing of it can be had where the back end leaves the
 * configuration to the front end, as DPDK's do.
 */
export const VHOST_USER_NET_CONFIG: FeatureSet = FeatureSet.of(
  NetFeature.MTU,
  NetFeature.MAC,
  NetFeature.STATUS,
  NetFeature.SPEED_DUPLEX,
);
