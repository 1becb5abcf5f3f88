import type { FeatureSet } from "../bits.ts";
import { type Layout, layout } from "../layout.ts";
import { Feature } from "./features.ts";

/** Feature bits of the network device (virtio 1.4 §5.1.3). */
export const NetFeature = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  /** Legacy: the device takes packets of any GSO type. */
  GSO: 6,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  HASH_TUNNEL: 51,
  VQ_NOTF_COAL: 52,
  NOTF_COAL: 53,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
  HASH_REPORT: 57,
  GUEST_HDRLEN: 59,
  RSS: 60,
  RSC_EXT: 61,
  STANDBY: 62,
  SPEED_DUPLEX: 63,
} as const;
/** A feature bit of the network device. */
export type NetFeature = typeof NetFeature[keyof typeof NetFeature];

/**
 * Features that each feature of the network device needs (virtio 1.4 §5.1.3.1); a feature with several
 * alternatives needs one of them.
 */
export const NET_FEATURE_REQUIRES: ReadonlyMap<number, readonly number[]> = new Map([
  [NetFeature.GUEST_TSO4, [NetFeature.GUEST_CSUM]],
  [NetFeature.GUEST_TSO6, [NetFeature.GUEST_CSUM]],
  [NetFeature.GUEST_ECN, [NetFeature.GUEST_TSO4, NetFeature.GUEST_TSO6]],
  [NetFeature.GUEST_UFO, [NetFeature.GUEST_CSUM]],
  [NetFeature.HOST_TSO4, [NetFeature.CSUM]],
  [NetFeature.HOST_TSO6, [NetFeature.CSUM]],
  [NetFeature.HOST_ECN, [NetFeature.HOST_TSO4, NetFeature.HOST_TSO6]],
  [NetFeature.HOST_UFO, [NetFeature.CSUM]],
  [NetFeature.CTRL_RX, [NetFeature.CTRL_VQ]],
  [NetFeature.CTRL_VLAN, [NetFeature.CTRL_VQ]],
  [NetFeature.CTRL_RX_EXTRA, [NetFeature.CTRL_VQ]],
  [NetFeature.GUEST_ANNOUNCE, [NetFeature.CTRL_VQ]],
  [NetFeature.MQ, [NetFeature.CTRL_VQ]],
  [NetFeature.CTRL_MAC_ADDR, [NetFeature.CTRL_VQ]],
  [NetFeature.CTRL_GUEST_OFFLOADS, [NetFeature.CTRL_VQ]],
  [NetFeature.GUEST_USO4, [NetFeature.GUEST_CSUM]],
  [NetFeature.GUEST_USO6, [NetFeature.GUEST_CSUM]],
  [NetFeature.HOST_USO, [NetFeature.CSUM]],
  [NetFeature.NOTF_COAL, [NetFeature.CTRL_VQ]],
  [NetFeature.VQ_NOTF_COAL, [NetFeature.CTRL_VQ]],
  [NetFeature.RSS, [NetFeature.CTRL_VQ]],
  [NetFeature.HASH_REPORT, [NetFeature.CTRL_VQ]],
]);

/** `struct virtio_net_config` (virtio 1.4 §5.1.4). */
export const NET_CONFIG: Layout<
  | "mac"
  | "status"
  | "max_virtqueue_pairs"
  | "mtu"
  | "speed"
  | "duplex"
  | "rss_max_key_size"
  | "rss_max_indirection_table_length"
  | "supported_hash_types"
> = layout({
  mac: { bytes: 6 },
  status: "u16",
  max_virtqueue_pairs: "u16",
  mtu: "u16",
  speed: "u32",
  duplex: "u8",
  rss_max_key_size: "u8",
  rss_max_indirection_table_length: "u16",
  supported_hash_types: "u32",
}, 24);

/** `struct virtio_net_hdr` with num_buffers (virtio 1.4 §5.1.6). */
export const NET_HDR: Layout<
  "flags" | "gso_type" | "hdr_len" | "gso_size" | "csum_start" | "csum_offset" | "num_buffers"
> = layout({
  flags: "u8",
  gso_type: "u8",
  hdr_len: "u16",
  gso_size: "u16",
  csum_start: "u16",
  csum_offset: "u16",
  num_buffers: "u16",
}, 12);
/** `struct virtio_net_hdr` with what HASH_REPORT adds to it (virtio 1.4 §5.1.9). */
export const NET_HDR_HASH: Layout<
  "basic" | "hash_value" | "hash_report" | "padding_reserved"
> = layout({
  basic: { bytes: NET_HDR.SIZE },
  hash_value: "u32",
  hash_report: "u16",
  padding_reserved: "u16",
}, 20);
/** Size of the header without num_buffers: legacy without MRG_RXBUF (virtio 1.4 §5.1.6.1). */
export const NET_HDR_LEGACY_SIZE = 10;

/**
 * Bytes of the header before a frame, by the negotiated features (virtio 1.4 §5.1.6, §5.1.9).
 *
 * @example
 * ```ts
 * import { Feature, FeatureSet, netHeaderSize } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const sizes = [FeatureSet.NONE, FeatureSet.of(Feature.VERSION_1)].map(netHeaderSize);
 * assertEquals(sizes, [10, 12]);
 * ```
 */
export function netHeaderSize(features: FeatureSet): number {
  if (!features.has(Feature.VERSION_1) && !features.has(NetFeature.MRG_RXBUF)) {
    return NET_HDR_LEGACY_SIZE;
  }
  return features.has(NetFeature.HASH_REPORT) ? NET_HDR_HASH.SIZE : NET_HDR.SIZE;
}

/** Bits of the header's flags (virtio 1.4 §5.1.6). */
export const NetHdrFlag = { NEEDS_CSUM: 1, DATA_VALID: 2, RSC_INFO: 4 } as const;
/** A bit of the header's flags. */
export type NetHdrFlag = typeof NetHdrFlag[keyof typeof NetHdrFlag];

/** Values of the header's gso_type; `ECN` is a bit on top of the TCP types (virtio 1.4 §5.1.6). */
export const NetGso = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 } as const;
/** A value or bit of the header's gso_type. */
export type NetGso = typeof NetGso[keyof typeof NetGso];

/** Bits of the configuration's status (virtio 1.4 §5.1.4). */
export const NetStatus = { LINK_UP: 1, ANNOUNCE: 2 } as const;
/** A bit of the configuration's status. */
export type NetStatus = typeof NetStatus[keyof typeof NetStatus];

/** Values of the configuration's duplex (virtio 1.4 §5.1.4). */
export const NetDuplex = { HALF: 0, FULL: 1, UNKNOWN: 0xff } as const;
/** A value of the configuration's duplex. */
export type NetDuplex = typeof NetDuplex[keyof typeof NetDuplex];
/** The configuration's speed when it is unknown. */
export const NET_SPEED_UNKNOWN = 0xffffffff;

/** Classes of control commands (virtio 1.4 §5.1.6.5). */
export const NetCtrl = {
  RX: 0,
  MAC: 1,
  VLAN: 2,
  ANNOUNCE: 3,
  MQ: 4,
  GUEST_OFFLOADS: 5,
  NOTF_COAL: 6,
} as const;
/** A class of control commands. */
export type NetCtrl = typeof NetCtrl[keyof typeof NetCtrl];

/** Commands of class RX; each takes one byte, 0 or 1 (virtio 1.4 §5.1.6.5.1). */
export const NetCtrlRx = {
  PROMISC: 0,
  ALLMULTI: 1,
  ALLUNI: 2,
  NOMULTI: 3,
  NOUNI: 4,
  NOBCAST: 5,
} as const;
/** A command of class RX. */
export type NetCtrlRx = typeof NetCtrlRx[keyof typeof NetCtrlRx];
/** Commands of class MAC (virtio 1.4 §5.1.6.5.2). */
export const NetCtrlMac = { TABLE_SET: 0, ADDR_SET: 1 } as const;
/** A command of class MAC. */
export type NetCtrlMac = typeof NetCtrlMac[keyof typeof NetCtrlMac];
/** Commands of class VLAN; each takes a 16-bit id (virtio 1.4 §5.1.6.5.3). */
export const NetCtrlVlan = { ADD: 0, DEL: 1 } as const;
/** A command of class VLAN. */
export type NetCtrlVlan = typeof NetCtrlVlan[keyof typeof NetCtrlVlan];
/** The command of class ANNOUNCE (virtio 1.4 §5.1.6.5.4). */
export const NET_CTRL_ANNOUNCE_ACK = 0;
/** Commands of class MQ; the last one decides how frames are steered (virtio 1.4 §5.1.9.5.5). */
export const NetCtrlMq = { VQ_PAIRS_SET: 0, RSS_CONFIG: 1, HASH_CONFIG: 2 } as const;
/** A command of class MQ. */
export type NetCtrlMq = typeof NetCtrlMq[keyof typeof NetCtrlMq];
/** Commands of class NOTF_COAL (virtio 1.4 §5.1.9.5.10). */
export const NetCtrlCoal = { TX_SET: 0, RX_SET: 1, VQ_SET: 2, VQ_GET: 3 } as const;
/** A command of class NOTF_COAL. */
export type NetCtrlCoal = typeof NetCtrlCoal[keyof typeof NetCtrlCoal];
/** The command of class GUEST_OFFLOADS; it takes a 64-bit mask (virtio 1.4 §5.1.6.5.6). */
export const NET_CTRL_GUEST_OFFLOADS_SET = 0;
/** The ack of a control command (virtio 1.4 §5.1.6.5). */
export const NetAck = { OK: 0, ERR: 1 } as const;
/** The ack of a control command. */
export type NetAck = typeof NetAck[keyof typeof NetAck];

/** The features that CTRL_GUEST_OFFLOADS can turn off and on (virtio 1.4 §5.1.6.5.6). */
export const NET_GUEST_OFFLOADS: readonly number[] = [
  NetFeature.GUEST_CSUM,
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_ECN,
  NetFeature.GUEST_UFO,
  NetFeature.GUEST_USO4,
  NetFeature.GUEST_USO6,
];

/** Bits of the hash types that a device supports or a driver enables (virtio 1.4 §5.1.9.4.3.1). */
export const NetHashType = {
  IPV4: 1,
  TCPV4: 2,
  UDPV4: 4,
  IPV6: 8,
  TCPV6: 16,
  UDPV6: 32,
  IP_EX: 64,
  TCP_EX: 128,
  UDP_EX: 256,
} as const;
/** A bit of the hash types. */
export type NetHashType = typeof NetHashType[keyof typeof NetHashType];
/** All bits of {@linkcode NetHashType}. */
export const NET_HASH_TYPES: number = Object.values(NetHashType).reduce((all, bit) => all | bit, 0);

/** Values of the header's hash_report: which of the hash types hash_value is (virtio 1.4 §5.1.9.4.5). */
export const NetHashReport = {
  NONE: 0,
  IPV4: 1,
  TCPV4: 2,
  UDPV4: 3,
  IPV6: 4,
  TCPV6: 5,
  UDPV6: 6,
  IPV6_EX: 7,
  TCPV6_EX: 8,
  UDPV6_EX: 9,
} as const;
/** A value of the header's hash_report. */
export type NetHashReport = typeof NetHashReport[keyof typeof NetHashReport];

/** Bytes of a hash key that cover the longest input, of two IPv6 addresses and two ports. */
export const NET_HASH_KEY_SIZE = 40;
/** The least rss_max_indirection_table_length that a device may have (virtio 1.4 §5.1.4.1). */
export const NET_RSS_MIN_TABLE = 128;

/** Most queue pairs that a device may have (virtio 1.4 §5.1.4.1). */
export const NET_MAX_QUEUE_PAIRS = 0x8000;
/** Smallest mtu that a device may offer (virtio 1.4 §5.1.4.1). */
export const NET_MIN_MTU = 68;
/** Bytes of an Ethernet header. */
export const ETH_HDR_SIZE = 14;
/** Bytes of an 802.1Q tag. */
export const VLAN_TAG_SIZE = 4;
/** Most bytes of a frame with segmentation offload; with the header 65601 (virtio 1.4 §5.1.6.3.1). */
export const NET_MAX_GSO_FRAME = 65589;
