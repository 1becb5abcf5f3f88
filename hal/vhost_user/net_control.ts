import { FeatureSet } from "../bits.ts";
import { NetFeature } from "../virtio/net.ts";

/** Features of a network device that need a control queue. No vhost-user back end serves one. */
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

/** Those of them that a front end serves by itself: how many queue pairs are used. */
export const VHOST_USER_NET_PAIRS: FeatureSet = FeatureSet.of(NetFeature.CTRL_VQ, NetFeature.MQ);

/**
 * Features of a network device that need its configuration. A driver has none of them where the back end leaves
 * the configuration to the front end, as DPDK's do.
 */
export const VHOST_USER_NET_CONFIG: FeatureSet = FeatureSet.of(
  NetFeature.MTU,
  NetFeature.MAC,
  NetFeature.STATUS,
  NetFeature.SPEED_DUPLEX,
);
