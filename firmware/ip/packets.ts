import { formatIpv4, internetChecksum, parseIpv4 } from "./ethernet.ts";

/** Protocols of IPv4 packets. */
export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17 } as const;
/** A protocol of IPv4 packets. */
export type IpProtocol = typeof IpProtocol[keyof typeof IpProtocol];

const TTL = 64;
const HEADER = 20;
const UDP_HEADER = 8;

/** An IPv4 packet; the payload is a view. */
export interface Ipv4Packet {
  /** Address of the sender. */
  readonly source: string;
  /** Address of the receiver. */
  readonly target: string;
  /** A value of `IpProtocol`. */
  readonly protocol: number;
  /** Bytes after the header. */
  readonly payload: Uint8Array;
}

/** Bits of a TCP header's flags. */
export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
/** A bit of a TCP header's flags. */
export type TcpFlag = typeof TcpFlag[keyof typeof TcpFlag];

/** A TCP segment (RFC 9293 §3.1); the data is a view. */
export interface TcpSegment {
  /** The sender's port. */
  readonly sourcePort: number;
  /** The receiver's port. */
  readonly targetPort: number;
  /** Sequence number of the first byte. */
  readonly sequence: number;
  /** The next sequence number that the sender expects. */
  readonly acknowledgement: number;
  /** Bits of `TcpFlag`. */
  readonly flags: number;
  /** Bytes that the sender has room for. */
  readonly window: number;
  /** The largest segment that the sender takes; in SYN only. */
  readonly mss?: number | undefined;
  /** The data. */
  readonly data: Uint8Array;
}

/** A UDP datagram (RFC 768); the data is a view. */
export interface UdpDatagram {
  /** The sender's port. */
  readonly sourcePort: number;
  /** The receiver's port. */
  readonly targetPort: number;
  /** The data. */
  readonly data: Uint8Array;
}

/**
 * Builds an IPv4 packet that must not be cut (RFC 791).
 *
 * @example
 * ```ts
 * import { buildIpv4, IpProtocol, parseIpv4Packet } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const packet = {
 *   source: "10.0.2.15",
 *   target: "10.0.2.2",
 *   protocol: IpProtocol.UDP,
 *   payload: Uint8Array.of(1, 2),
 * };
 * assertEquals(parseIpv4Packet(buildIpv4(packet, 1)), packet);
 * ```
 */
export function buildIpv4(packet: Ipv4Packet, identification: number): Uint8Array {
  const bytes = new Uint8Array(HEADER + packet.payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x45;
  view.setUint16(2, bytes.length);
  view.setUint16(4, identification & 0xffff);
  view.setUint16(6, 0x4000);
  bytes[8] = TTL;
  bytes[9] = packet.protocol;
  bytes.set(parseIpv4(packet.source), 12);
  bytes.set(parseIpv4(packet.target), 16);
  view.setUint16(10, internetChecksum(bytes.subarray(0, HEADER)));
  bytes.set(packet.payload, HEADER);
  return bytes;
}

/**
 * Reads an IPv4 packet; undefined if it is none, is cut, or its header's checksum is wrong.
 *
 * @example
 * ```ts
 * import { buildIpv4, IpProtocol, parseIpv4Packet } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const between = { source: "10.0.2.15", target: "10.0.2.2" };
 * const packet = { ...between, protocol: IpProtocol.UDP, payload: Uint8Array.of(7) };
 * const bytes = buildIpv4(packet, 1);
 * assertEquals(parseIpv4Packet(bytes), packet);
 * assertEquals(parseIpv4Packet(bytes.subarray(1)), undefined);
 * ```
 */
export function parseIpv4Packet(bytes: Uint8Array): Ipv4Packet | undefined {
  const header = ((bytes[0] ?? 0) & 15) * 4;
  if (bytes.length < HEADER || bytes[0]! >>> 4 !== 4 || header < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const total = view.getUint16(2);
  // A fragment: nobody here sends packets that are cut.
  if (total < header || total > bytes.length || (view.getUint16(6) & 0x3fff) !== 0) {
    return undefined;
  }
  if (internetChecksum(bytes.subarray(0, header)) !== 0) return undefined;
  return {
    source: formatIpv4(bytes.subarray(12, 16)),
    target: formatIpv4(bytes.subarray(16, 20)),
    protocol: bytes[9]!,
    payload: bytes.subarray(header, total),
  };
}

/** The checksum of UDP and TCP, over a pseudo-header too (RFC 9293 §3.1). */
function transportChecksum(
  { source, target, protocol }: Omit<Ipv4Packet, "payload">,
  payload: Uint8Array,
): number {
  const bytes = new Uint8Array(12 + payload.length);
  bytes.set(parseIpv4(source));
  bytes.set(parseIpv4(target), 4);
  bytes[9] = protocol;
  new DataView(bytes.buffer).setUint16(10, payload.length);
  bytes.set(payload, 12);
  return internetChecksum(bytes);
}

/**
 * Builds a UDP datagram for a packet between these addresses.
 *
 * @example
 * ```ts
 * import { buildUdp, IpProtocol, parseUdp } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const between = { source: "10.0.2.15", target: "10.0.2.2" };
 * const datagram = { sourcePort: 5000, targetPort: 53, data: Uint8Array.of(7) };
 * const payload = buildUdp(between, datagram);
 * assertEquals(parseUdp({ ...between, protocol: IpProtocol.UDP, payload }, false), datagram);
 * // A bit that changed on the way is seen.
 * payload[8]! ^= 1;
 * assertEquals(parseUdp({ ...between, protocol: IpProtocol.UDP, payload }, false), undefined);
 * ```
 */
export function buildUdp(
  between: { readonly source: string; readonly target: string },
  { sourcePort, targetPort, data }: UdpDatagram,
): Uint8Array {
  const bytes = new Uint8Array(UDP_HEADER + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, targetPort);
  view.setUint16(4, bytes.length);
  bytes.set(data, UDP_HEADER);
  // 0 means "none"; a sum that is 0 is sent as its other form.
  view.setUint16(6, transportChecksum({ ...between, protocol: IpProtocol.UDP }, bytes) || 0xffff);
  return bytes;
}

/**
 * Reads the UDP datagram of a packet; undefined if it is cut off or its checksum is wrong.
 *
 * @example
 * ```ts
 * import { buildUdp, IpProtocol, parseUdp } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const between = { source: "10.0.2.15", target: "10.0.2.2" };
 * const datagram = { sourcePort: 5000, targetPort: 53, data: Uint8Array.of(7) };
 * const packet = { ...between, protocol: IpProtocol.UDP, payload: buildUdp(between, datagram) };
 * packet.payload[8] = 8;
 * // The checksum does not fit any more; a device that has checked it is believed.
 * assertEquals(parseUdp(packet, false), undefined);
 * assertEquals(parseUdp(packet, true)?.data[0], 8);
 * ```
 */
export function parseUdp(packet: Ipv4Packet, verified: boolean): UdpDatagram | undefined {
  const { payload } = packet;
  if (payload.length < UDP_HEADER) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const length = view.getUint16(4);
  if (length < UDP_HEADER || length > payload.length) return undefined;
  const whole = payload.subarray(0, length);
  if (!verified && view.getUint16(6) !== 0 && transportChecksum(packet, whole) !== 0) {
    return undefined;
  }
  return {
    sourcePort: view.getUint16(0),
    targetPort: view.getUint16(2),
    data: whole.subarray(UDP_HEADER),
  };
}

/**
 * Builds a TCP segment for a packet between these addresses.
 *
 * @example
 * ```ts
 * import { buildTcp, IpProtocol, parseTcp, TcpFlag } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const between = { source: "10.0.2.15", target: "10.0.2.2" };
 * const payload = buildTcp(between, {
 *   sourcePort: 5000,
 *   targetPort: 80,
 *   sequence: 1,
 *   acknowledgement: 0,
 *   flags: TcpFlag.SYN,
 *   window: 65535,
 *   mss: 1460,
 *   data: new Uint8Array(0),
 * });
 * const packet = { ...between, protocol: IpProtocol.TCP, payload };
 * assertEquals(parseTcp(packet, false)?.mss, 1460);
 * ```
 */
export function buildTcp(
  between: { readonly source: string; readonly target: string },
  segment: TcpSegment,
): Uint8Array {
  const options = segment.mss === undefined ? 0 : 4;
  const bytes = new Uint8Array(HEADER + options + segment.data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, segment.sourcePort);
  view.setUint16(2, segment.targetPort);
  view.setUint32(4, segment.sequence);
  view.setUint32(8, segment.acknowledgement);
  bytes[12] = (HEADER + options) / 4 << 4;
  bytes[13] = segment.flags;
  view.setUint16(14, segment.window);
  if (segment.mss !== undefined) {
    view.setUint16(HEADER, 0x0204);
    view.setUint16(HEADER + 2, segment.mss);
  }
  bytes.set(segment.data, HEADER + options);
  view.setUint16(16, transportChecksum({ ...between, protocol: IpProtocol.TCP }, bytes));
  return bytes;
}

/**
 * Reads the TCP segment of a packet; undefined if it is cut off or its checksum is wrong.
 *
 * @example
 * ```ts
 * import { IpProtocol, parseTcp } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const between = { source: "10.0.2.2", target: "10.0.2.15" };
 * // A segment has a header of 20 bytes at least.
 * const packet = { ...between, protocol: IpProtocol.TCP, payload: new Uint8Array(19) };
 * assertEquals(parseTcp(packet, true), undefined);
 * ```
 */
export function parseTcp(packet: Ipv4Packet, verified: boolean): TcpSegment | undefined {
  const { payload } = packet;
  const header = ((payload[12] ?? 0) >>> 4) * 4;
  if (payload.length < HEADER || header < HEADER || header > payload.length) return undefined;
  if (!verified && transportChecksum(packet, payload) !== 0) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return {
    sourcePort: view.getUint16(0),
    targetPort: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledgement: view.getUint32(8),
    flags: payload[13]! & 0x3f,
    window: view.getUint16(14),
    mss: readMss(payload.subarray(HEADER, header)),
    data: payload.subarray(header),
  };
}

function readMss(options: Uint8Array): number | undefined {
  for (let at = 0; at < options.length;) {
    const kind = options[at]!;
    if (kind === 0) return undefined;
    if (kind === 1) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) return undefined;
    if (kind === 2 && length === 4) return options[at + 2]! << 8 | options[at + 3]!;
    at += length;
  }
  return undefined;
}
