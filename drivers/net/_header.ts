import {
  ETH_HDR_SIZE,
  Feature,
  featureName,
  type FeatureSet,
  NET_HDR,
  NetFeature,
  NetGso,
  NetHdrFlag,
  netHeaderSize,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import type { RxLayout } from "./_rx_queue.ts";
import type { TxOffload } from "./frame.ts";
import type { TxLayout } from "./tx_queue.ts";

/** Mtu of a device that does not say, in bytes. */
export const DEFAULT_MTU = 1500;
/** Largest packet with segmentation offload, in bytes. */
export const MAX_GSO_PACKET = 65535;

const UDP_HDR_SIZE = 8;
const GSO = {
  tcpv4: { type: NetGso.TCPV4, feature: NetFeature.HOST_TSO4 },
  tcpv6: { type: NetGso.TCPV6, feature: NetFeature.HOST_TSO6 },
  udp: { type: NetGso.UDP, feature: NetFeature.HOST_UFO },
  udp_l4: { type: NetGso.UDP_L4, feature: NetFeature.HOST_USO },
} as const;

/**
 * Writes the header of a frame whose checksum or cutting is left to the device, if that was
 * negotiated (virtio 1.4 §5.1.6.2.1).
 */
export function writeTxHeader(
  header: Uint8Array,
  frame: Uint8Array,
  offload: TxOffload,
  features: FeatureSet,
): void {
  const { csum, gso } = offload;
  const { length } = frame;
  header.fill(0);
  if (csum === undefined) {
    throw new TypeError("Cannot have the device cut the packet: csum must be given");
  }
  need(features, NetFeature.CSUM);
  const end = csum.start + csum.offset + 2;
  const whole = Number.isInteger(csum.start) && Number.isInteger(csum.offset);
  if (!whole || csum.start < ETH_HDR_SIZE || csum.offset < 0 || end > length) {
    throw new RangeError(
      `Cannot complete a checksum at start ${csum.start} and offset ${csum.offset}: it must ` +
        `lie in the frame of ${length} bytes, behind the Ethernet header`,
    );
  }
  const view = new DataView(header.buffer, header.byteOffset);
  header[NET_HDR.flags.offset] = NetHdrFlag.NEEDS_CSUM;
  view.setUint16(NET_HDR.csum_start.offset, csum.start, true);
  view.setUint16(NET_HDR.csum_offset.offset, csum.offset, true);
  if (gso === undefined) return;
  const { type, feature } = GSO[gso.type];
  const isUdp = type === NetGso.UDP || type === NetGso.UDP_L4;
  // Legacy devices with GSO take what was there when it was specified.
  const legacy = features.has(NetFeature.GSO) && !features.has(Feature.VERSION_1);
  if (!legacy || type === NetGso.UDP_L4) need(features, feature);
  if (gso.ecn) {
    if (isUdp) {
      throw new TypeError("Cannot mark a UDP packet with ECN: only TCP has it");
    }
    need(features, NetFeature.HOST_ECN);
  }
  if (!(Number.isInteger(gso.size) && gso.size >= 1 && gso.size <= 0xffff)) {
    throw new RangeError(
      `Cannot cut a packet into pieces of ${gso.size} bytes: expected 1 to 65535`,
    );
  }
  const { headerLength } = gso;
  if (!(Number.isInteger(headerLength) && headerLength > csum.start && headerLength <= length)) {
    throw new RangeError(
      `Cannot cut a packet of ${length} bytes with headers of ${headerLength} bytes: the headers ` +
        `must end behind byte ${csum.start} and inside the packet`,
    );
  }
  if (features.has(NetFeature.GUEST_HDRLEN)) {
    const exact = csum.start + (isUdp ? UDP_HDR_SIZE : 4 * (frame[csum.start + 12]! >>> 4));
    if (headerLength !== exact) {
      throw new RangeError(
        `Cannot cut a packet with headers of ${headerLength} bytes: its headers have ${exact}, and the ` +
          `device relies on it (GUEST_HDRLEN)`,
      );
    }
  }
  header[NET_HDR.gso_type.offset] = type | (gso.ecn ? NetGso.ECN : 0);
  view.setUint16(NET_HDR.hdr_len.offset, headerLength, true);
  view.setUint16(NET_HDR.gso_size.offset, gso.size, true);
}

function need(features: FeatureSet, bit: number): void {
  if (features.has(bit)) return;
  throw new TypeError(
    `Cannot leave this to the device: ${featureName(bit, NetFeature)} must be negotiated`,
  );
}

/** The bits of gso_type that the device may use, as `RxLayout.gsoTypes`. */
function rxGsoTypes(features: FeatureSet): number {
  return (features.has(NetFeature.GUEST_TSO4) ? 1 << NetGso.TCPV4 : 0) |
    (features.has(NetFeature.GUEST_TSO6) ? 1 << NetGso.TCPV6 : 0) |
    (features.has(NetFeature.GUEST_UFO) ? 1 << NetGso.UDP : 0) |
    (features.has(NetFeature.GUEST_USO4) || features.has(NetFeature.GUEST_USO6)
      ? 1 << NetGso.UDP_L4
      : 0);
}

/** How the queues of a device with these features are laid out (virtio 1.4 §5.1.6). */
export function chooseLayouts(
  features: FeatureSet,
  mtu: number,
): { readonly rx: RxLayout; readonly tx: TxLayout; readonly splitHeader: boolean } {
  const has = (bit: number): boolean => features.has(bit);
  const splitHeader = !has(Feature.VERSION_1) && !has(Feature.ANY_LAYOUT);
  const mergeable = has(NetFeature.MRG_RXBUF);
  const headerSize = netHeaderSize(features);
  const gsoTypes = rxGsoTypes(features);
  const big = gsoTypes !== 0 || mtu > DEFAULT_MTU;
  const mode = mergeable ? "mergeable" : big ? "big" : "small";
  const shared = { headerSize, mtu, splitHeader };
  const ecn = has(NetFeature.GUEST_ECN);
  const csum = has(NetFeature.GUEST_CSUM);
  const maxFrame = MAX_GSO_PACKET + ETH_HDR_SIZE + VLAN_TAG_SIZE;
  return {
    rx: { ...shared, mode, gsoTypes, ecn, csum },
    tx: { ...shared, maxFrame },
    splitHeader,
  };
}
