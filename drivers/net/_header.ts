import {
  ETH_HDR_SIZE,
  Feature,
  featureName,
  type FeatureSet,
  NET_HDR,
  NetFeature,
  NetGso,
  NetHdrFlag,
} from "@vireo/hal";
import type { TxOffload } from "./frame.ts";

const GSO = {
  tcpv4: { type: NetGso.TCPV4, feature: NetFeature.HOST_TSO4 },
  tcpv6: { type: NetGso.TCPV6, feature: NetFeature.HOST_TSO6 },
  udp: { type: NetGso.UDP, feature: NetFeature.HOST_UFO },
} as const;

/** Whether the header needs a descriptor of its own (virtio 1.4 §5.1.6.6). */
export function needsSplitHeader(features: FeatureSet): boolean {
  return !features.has(Feature.VERSION_1) && !features.has(Feature.ANY_LAYOUT);
}

/**
 * Writes the header of a frame whose checksum or cutting is left to the device, if that was
 * negotiated (virtio 1.4 §5.1.6.2.1).
 */
export function writeTxHeader(
  header: Uint8Array,
  length: number,
  offload: TxOffload,
  features: FeatureSet,
): void {
  const { csum, gso } = offload;
  header.fill(0);
  if (csum === undefined) {
    throw new TypeError("Cannot have a packet cut without a checksum to complete");
  }
  need(features, NetFeature.CSUM);
  const end = csum.start + csum.offset + 2;
  const whole = Number.isInteger(csum.start) && Number.isInteger(csum.offset);
  if (!whole || csum.start < ETH_HDR_SIZE || csum.offset < 0 || end > length) {
    throw new RangeError(
      `Cannot complete a checksum outside the frame of ${length} bytes: received start ` +
        `${csum.start} and offset ${csum.offset}`,
    );
  }
  const view = new DataView(header.buffer, header.byteOffset);
  header[NET_HDR.flags.offset] = NetHdrFlag.NEEDS_CSUM;
  view.setUint16(NET_HDR.csum_start.offset, csum.start, true);
  view.setUint16(NET_HDR.csum_offset.offset, csum.offset, true);
  if (gso === undefined) return;
  const { type, feature } = GSO[gso.type];
  if (!(features.has(NetFeature.GSO) && !features.has(Feature.VERSION_1))) need(features, feature);
  if (gso.ecn) {
    if (type === NetGso.UDP) throw new TypeError("Cannot mark a UDP packet with ECN");
    need(features, NetFeature.HOST_ECN);
  }
  if (!(Number.isInteger(gso.size) && gso.size >= 1 && gso.size <= 0xffff)) {
    throw new RangeError(`Cannot cut a packet into pieces of ${gso.size} bytes: 1 to 65535`);
  }
  const { headerLength } = gso;
  if (!(Number.isInteger(headerLength) && headerLength > csum.start && headerLength <= length)) {
    throw new RangeError(
      `Cannot cut a packet of ${length} bytes whose headers take ${headerLength} bytes`,
    );
  }
  header[NET_HDR.gso_type.offset] = type | (gso.ecn ? NetGso.ECN : 0);
  view.setUint16(NET_HDR.hdr_len.offset, headerLength, true);
  view.setUint16(NET_HDR.gso_size.offset, gso.size, true);
}

function need(features: FeatureSet, bit: number): void {
  if (features.has(bit)) return;
  throw new TypeError(
    `Cannot leave this to the device: ${featureName(bit, NetFeature)} was not negotiated`,
  );
}

/** The bits of gso_type that the device may use, as `RxLayout.gsoTypes`. */
export function rxGsoTypes(features: FeatureSet): number {
  return (features.has(NetFeature.GUEST_TSO4) ? 1 << NetGso.TCPV4 : 0) |
    (features.has(NetFeature.GUEST_TSO6) ? 1 << NetGso.TCPV6 : 0) |
    (features.has(NetFeature.GUEST_UFO) ? 1 << NetGso.UDP : 0);
}
