import { formatMac, parseMac } from "@vireo/drivers/net";

/** Values of an Ethernet frame's type field. */
export const EtherType = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const;
/** A value of an Ethernet frame's type field. */
export type EtherType = typeof EtherType[keyof typeof EtherType];

/** The Ethernet broadcast address. */
export const BROADCAST: string = "ff:ff:ff:ff:ff:ff";

const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ICMP = 1;
const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
const TTL = 64;

/**
 * Reads an IPv4 address.
 *
 * @param text Four decimal numbers, as `10.0.2.2`.
 * @throws {TypeError} If the text is not one.
 *
 * @example
 * ```ts
 * import { formatIpv4, parseIpv4 } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const address = parseIpv4("10.0.2.2");
 * assertEquals([address.length, formatIpv4(address)], [4, "10.0.2.2"]);
 * ```
 */
export function parseIpv4(text: string): Uint8Array {
  const parts = text.split(".");
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) {
    throw new TypeError(`Cannot parse "${text}": expected an IPv4 address such as 10.0.2.15`);
  }
  return Uint8Array.from(parts, Number);
}

/**
 * Writes an IPv4 address as `10.0.2.2`.
 *
 * @example
 * ```ts
 * import { formatIpv4 } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(formatIpv4(Uint8Array.of(10, 0, 2, 2)), "10.0.2.2");
 * ```
 */
export function formatIpv4(ip: Uint8Array): string {
  return ip.join(".");
}

/**
 * The Internet checksum (RFC 1071): the complement of the ones'-complement sum of 16-bit words.
 *
 * @returns 0 if the bytes hold their own, correct checksum.
 *
 * @example
 * ```ts
 * import { internetChecksum } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = internetChecksum(Uint8Array.of(0x12, 0x34));
 * assertEquals(sum, 0xedcb);
 * // With their checksum the bytes sum up to nothing.
 * assertEquals(internetChecksum(Uint8Array.of(0x12, 0x34, sum >> 8, sum & 0xff)), 0);
 * ```
 */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** An Ethernet frame; the payload is a view. */
export interface EthernetFrame {
  /** Destination address. */
  readonly destination: string;
  /** Source address. */
  readonly source: string;
  /** The type field, behind the tag if there is one. */
  readonly type: number;
  /** VLAN id of the tag, if there is one. */
  readonly vlan: number | undefined;
  /** Bytes after the header. */
  readonly payload: Uint8Array;
}

/**
 * Takes an Ethernet frame apart; undefined if it is too short.
 *
 * @example
 * ```ts
 * import { buildEthernet, parseEthernet } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const source = "52:54:00:12:34:56";
 * const destination = "ff:ff:ff:ff:ff:ff";
 * const frame = buildEthernet({ destination, source, type: 0x88b5 }, Uint8Array.of(1, 2));
 * assertEquals(parseEthernet(frame)?.source, source);
 * assertEquals(parseEthernet(frame.subarray(0, 13)), undefined);
 * ```
 */
export function parseEthernet(frame: Uint8Array): EthernetFrame | undefined {
  if (frame.length < 14) return undefined;
  const tagged = get16(frame, 12) === EtherType.VLAN;
  if (tagged && frame.length < 18) return undefined;
  return {
    destination: formatMac(frame.subarray(0, 6)),
    source: formatMac(frame.subarray(6, 12)),
    type: get16(frame, tagged ? 16 : 12),
    vlan: tagged ? get16(frame, 14) & 0xfff : undefined,
    payload: frame.subarray(tagged ? 18 : 14),
  };
}

/**
 * Builds an Ethernet frame.
 *
 * @throws {TypeError} If an address makes no sense.
 *
 * @example
 * ```ts
 * import { buildEthernet, EtherType, parseEthernet } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const [destination, source] = ["ff:ff:ff:ff:ff:ff", "52:54:00:12:34:56"];
 * const frame = buildEthernet({ destination, source, type: EtherType.ARP }, Uint8Array.of(7));
 * const { source: from, type, payload } = parseEthernet(frame)!;
 * assertEquals([from, type, payload[0]], [source, EtherType.ARP, 7]);
 * ```
 */
export function buildEthernet(
  header: { readonly destination: string; readonly source: string; readonly type: number },
  payload: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(14 + payload.length);
  frame.set(parseMac(header.destination), 0);
  frame.set(parseMac(header.source), 6);
  put16(frame, 12, header.type);
  frame.set(payload, 14);
  return frame;
}

/** Addresses of both sides of an ARP message. */
export interface ArpRequestOptions {
  /** The asker's Ethernet address. */
  readonly mac: Uint8Array;
  /** The asker's IPv4 address. */
  readonly source: string;
  /** The IPv4 address whose Ethernet address is wanted; the asker's own for an announcement. */
  readonly target: string;
}

/**
 * Builds the broadcast frame of an ARP request (RFC 826).
 *
 * @throws {TypeError} If an address makes no sense.
 *
 * @example
 * ```ts
 * import { arpRequest, parseArp } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const mac = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
 * const frame = arpRequest({ mac, source: "10.0.2.15", target: "10.0.2.2" });
 * assertEquals(parseArp(frame)?.operation, "request");
 * ```
 */
export function arpRequest(options: ArpRequestOptions): Uint8Array {
  const arp = new Uint8Array(28);
  arp.set([0, 1, 8, 0, 6, 4, 0, ARP_REQUEST]);
  arp.set(options.mac, 8);
  arp.set(parseIpv4(options.source), 14);
  arp.set(parseIpv4(options.target), 24);
  const source = formatMac(options.mac);
  return buildEthernet({ destination: BROADCAST, source, type: EtherType.ARP }, arp);
}

/** An ARP packet for Ethernet and IPv4. */
export interface ArpPacket {
  /** Which of the two it is. */
  readonly operation: "request" | "reply";
  /** Ethernet address of the sender. */
  readonly senderMac: string;
  /** IPv4 address of the sender. */
  readonly senderIp: string;
  /** Ethernet address of the receiver; all zeroes in a request. */
  readonly targetMac: string;
  /** IPv4 address of the receiver. */
  readonly targetIp: string;
}

/**
 * Reads the ARP packet in a frame; undefined if there is none.
 *
 * @example
 * ```ts
 * import { arpRequest, parseArp } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const mac = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
 * const packet = parseArp(arpRequest({ mac, source: "10.0.2.15", target: "10.0.2.2" }));
 * assertEquals([packet?.operation, packet?.targetIp], ["request", "10.0.2.2"]);
 * ```
 */
export function parseArp(frame: Uint8Array): ArpPacket | undefined {
  const ethernet = parseEthernet(frame);
  if (ethernet?.type !== EtherType.ARP || ethernet.payload.length < 28) return undefined;
  const arp = ethernet.payload;
  if ([0, 1, 8, 0, 6, 4].some((byte, i) => arp[i] !== byte)) return undefined;
  const operation = get16(arp, 6);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return undefined;
  return {
    operation: operation === ARP_REQUEST ? "request" : "reply",
    senderMac: formatMac(arp.subarray(8, 14)),
    senderIp: formatIpv4(arp.subarray(14, 18)),
    targetMac: formatMac(arp.subarray(18, 24)),
    targetIp: formatIpv4(arp.subarray(24, 28)),
  };
}

/** An ICMP echo packet and where it goes. */
export interface EchoPacket {
  /** Which of the two it is. */
  readonly operation: "request" | "reply";
  /** IPv4 address of the sender. */
  readonly source: string;
  /** IPv4 address of the receiver. */
  readonly target: string;
  /** Tells one pinging program from another; 16 bits. */
  readonly identifier: number;
  /** Counts the packets; 16 bits. */
  readonly sequence: number;
  /** Data that comes back unchanged. */
  readonly data: Uint8Array;
}

/**
 * Builds the frame of an ICMP echo packet over IPv4 (RFC 791, RFC 792).
 *
 * @param addresses The Ethernet addresses.
 * @throws {TypeError} If an address makes no sense.
 *
 * @example
 * ```ts
 * import { buildEcho, parseEcho } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const [destination, source] = ["52:55:0a:00:02:02", "52:54:00:12:34:56"];
 * const frame = buildEcho({ destination, source }, {
 *   operation: "request",
 *   source: "10.0.2.15",
 *   target: "10.0.2.2",
 *   identifier: 1,
 *   sequence: 2,
 *   data: new Uint8Array(56),
 * });
 * assertEquals(parseEcho(frame)?.sequence, 2);
 * ```
 */
export function buildEcho(
  addresses: { readonly destination: string; readonly source: string },
  echo: EchoPacket,
): Uint8Array {
  const packet = new Uint8Array(28 + echo.data.length);
  packet[0] = 0x45;
  put16(packet, 2, packet.length);
  put16(packet, 4, echo.sequence);
  put16(packet, 6, 0x4000);
  packet[8] = TTL;
  packet[9] = ICMP;
  packet.set(parseIpv4(echo.source), 12);
  packet.set(parseIpv4(echo.target), 16);
  put16(packet, 10, internetChecksum(packet.subarray(0, 20)));
  packet[20] = echo.operation === "request" ? ECHO_REQUEST : ECHO_REPLY;
  put16(packet, 24, echo.identifier);
  put16(packet, 26, echo.sequence);
  packet.set(echo.data, 28);
  put16(packet, 22, internetChecksum(packet.subarray(20)));
  return buildEthernet({ ...addresses, type: EtherType.IPV4 }, packet);
}

/**
 * Reads the ICMP echo packet in a frame; undefined if there is none or a checksum is wrong.
 *
 * @example
 * ```ts
 * import { buildEcho, parseEcho } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const [destination, source] = ["52:55:0a:00:02:02", "52:54:00:12:34:56"];
 * const between = { source: "10.0.2.15", target: "10.0.2.2" };
 * const numbers = { identifier: 1, sequence: 2, data: new Uint8Array(4) };
 * const frame = buildEcho({ destination, source }, { operation: "reply", ...between, ...numbers });
 * assertEquals(parseEcho(frame)?.operation, "reply");
 * // A bit that changed on the way is seen.
 * frame[frame.length - 1]! ^= 1;
 * assertEquals(parseEcho(frame), undefined);
 * ```
 */
export function parseEcho(frame: Uint8Array): EchoPacket | undefined {
  const ethernet = parseEthernet(frame);
  if (ethernet?.type !== EtherType.IPV4) return undefined;
  const ip = ethernet.payload;
  const header = ((ip[0] ?? 0) & 15) * 4;
  if (ip.length < 28 || ip[0]! >>> 4 !== 4 || header < 20 || ip[9] !== ICMP) return undefined;
  const total = get16(ip, 2);
  // A fragment has no whole ICMP packet.
  if (total > ip.length || total < header + 8 || (get16(ip, 6) & 0x3fff) !== 0) return undefined;
  const icmp = ip.subarray(header, total);
  if (internetChecksum(ip.subarray(0, header)) !== 0 || internetChecksum(icmp) !== 0) {
    return undefined;
  }
  const type = icmp[0];
  if ((type !== ECHO_REQUEST && type !== ECHO_REPLY) || icmp[1] !== 0) return undefined;
  return {
    operation: type === ECHO_REQUEST ? "request" : "reply",
    source: formatIpv4(ip.subarray(12, 16)),
    target: formatIpv4(ip.subarray(16, 20)),
    identifier: get16(icmp, 4),
    sequence: get16(icmp, 6),
    data: icmp.subarray(8),
  };
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8 & 0xff;
  bytes[at + 1] = value & 0xff;
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
