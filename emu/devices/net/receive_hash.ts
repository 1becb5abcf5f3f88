import { NET_HASH_KEY_SIZE, NetHashReport, NetHashType } from "@vireo/hal";
import { EtherType, get16, IpProtocol } from "../../backends/net_backend_offload.ts";

const { IPV4, IPV6, VLAN } = EtherType;
const { TCP, UDP } = IpProtocol;
/** Two IPv6 addresses and two ports. */
const MAX_INPUT = 36;
/** The most IPv6 extension headers that are looked at. */
const MAX_EXTENSIONS = 16;
const EXTENSION = { HOP_BY_HOP: 0, ROUTING: 43, FRAGMENT: 44, DESTINATION: 60 } as const;
const HOME_ADDRESS = 0xc9;
const ADDRESS = 16;

/**
 * The hash of incoming frames (virtio 1.4 §5.1.9.4.3): Toeplitz over the addresses, and over the ports of TCP
 * and UDP packets that are whole. A fragment has no ports: the first one would have, the others not.
 */
export class ReceiveHash {
  /** The hash of the frame of the last {@linkcode ReceiveHash.calculate}; 0 if there is none. */
  value = 0;
  /** Which hash it is, a value of `NetHashReport`. */
  report: number = NetHashReport.NONE;
  #types = 0;
  /** The 32 bits of the key that begin at each bit of the input. */
  readonly #windows = new Uint32Array(8 * MAX_INPUT);
  readonly #input = new Uint8Array(MAX_INPUT);
  /** Where in the frame the addresses and the transport's header are, and what that is. */
  #source = 0;
  #destination = 0;
  #transport = -1;
  #protocol = 0;
  #extended = false;

  /** Sets the enabled types and the key, of up to 40 bytes; what a shorter one lacks is zero. */
  configure(types: number, key: Uint8Array): void {
    this.#types = types;
    const bytes = new Uint8Array(NET_HASH_KEY_SIZE);
    bytes.set(key.subarray(0, NET_HASH_KEY_SIZE));
    const view = new DataView(bytes.buffer);
    for (let bit = 0; bit < this.#windows.length; bit++) {
      const at = bit >>> 3;
      const shift = bit & 7;
      const low = shift === 0 ? 0 : bytes[at + 4]! >>> (8 - shift);
      this.#windows[bit] = view.getUint32(at) << shift | low;
    }
  }

  /** Sets {@linkcode ReceiveHash.value} and {@linkcode ReceiveHash.report} to those of a frame. */
  calculate(bytes: Uint8Array, offset: number, length: number): void {
    this.value = 0;
    this.report = NetHashReport.NONE;
    if (this.#types === 0 || length < 14) return;
    let ip = offset + 14;
    let type = get16(bytes, offset + 12);
    if (type === VLAN && length >= 18) {
      type = get16(bytes, offset + 16);
      ip += 4;
    }
    const end = offset + length;
    if (type === IPV4) this.#ipv4(bytes, ip, end);
    else if (type === IPV6) this.#ipv6(bytes, ip, end);
  }

  #ipv4(bytes: Uint8Array, ip: number, end: number): void {
    if (end < ip + 20) return;
    const header = (bytes[ip]! & 15) * 4;
    if (bytes[ip]! >>> 4 !== 4 || header < 20 || end < ip + header) return;
    // MORE_FRAGMENTS or an offset.
    const whole = (get16(bytes, ip + 6) & 0x3fff) === 0;
    const protocol = whole && end >= ip + header + 4 ? bytes[ip + 9]! : 0;
    this.#source = ip + 12;
    this.#destination = ip + 16;
    this.#transport = ip + header;
    this.#choose(bytes, protocol, 4, NetHashType.TCPV4, NetHashReport.TCPV4);
  }

  #ipv6(bytes: Uint8Array, ip: number, end: number): void {
    if (end < ip + 40 || bytes[ip]! >>> 4 !== 6) return;
    this.#source = ip + 8;
    this.#destination = ip + 24;
    this.#walk(bytes, ip, end);
    const protocol = this.#protocol;
    if (this.#extended) {
      const { TCP_EX } = NetHashType;
      if (this.#choose(bytes, protocol, ADDRESS, TCP_EX, NetHashReport.TCPV6_EX)) return;
      this.#source = ip + 8;
      this.#destination = ip + 24;
    }
    this.#choose(bytes, protocol, ADDRESS, NetHashType.TCPV6, NetHashReport.TCPV6);
  }

  /** Finds the transport's header, and the addresses that extension headers have in their place. */
  #walk(bytes: Uint8Array, ip: number, end: number): void {
    let next = bytes[ip + 6]!;
    let at = ip + 40;
    let whole = true;
    this.#extended = false;
    for (let i = 0; i < MAX_EXTENSIONS; i++) {
      const { HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION } = EXTENSION;
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== FRAGMENT && next !== DESTINATION) {
        break;
      }
      if (at + 8 > end) break;
      this.#extended = true;
      const size = next === FRAGMENT ? 8 : 8 * (bytes[at + 1]! + 1);
      if (at + size > end) break;
      if (next === FRAGMENT) whole = (get16(bytes, at + 2) & 0xfff9) === 0;
      // A routing header of type 2 has one address, the home address, behind 8 bytes.
      if (next === ROUTING && bytes[at + 2] === 2 && size === 24) this.#destination = at + 8;
      if (next === DESTINATION) this.#source = homeAddress(bytes, at, size) ?? this.#source;
      next = bytes[at]!;
      at += size;
    }
    this.#transport = at;
    this.#protocol = whole && at + 4 <= end ? next : 0;
  }

  /** Takes the first of the types TCP, UDP and IP that is enabled and fits. @returns Whether one does. */
  #choose(
    bytes: Uint8Array,
    protocol: number,
    address: number,
    tcp: number,
    report: number,
  ): boolean {
    // The bits of IP are before those of TCP, and those of UDP behind; so are the values of hash_report.
    const types = this.#types;
    const step = protocol === TCP && (types & tcp) !== 0
      ? 0
      : protocol === UDP && (types & tcp << 1) !== 0
      ? 1
      : (types & tcp >>> 1) !== 0
      ? -1
      : undefined;
    if (step === undefined) return false;
    const input = this.#input;
    for (let i = 0; i < address; i++) {
      input[i] = bytes[this.#source + i]!;
      input[address + i] = bytes[this.#destination + i]!;
    }
    let length = 2 * address;
    if (step >= 0) {
      for (let i = 0; i < 4; i++) input[length + i] = bytes[this.#transport + i]!;
      length += 4;
    }
    this.value = this.#toeplitz(length);
    this.report = report + step;
    return true;
  }

  #toeplitz(length: number): number {
    let hash = 0;
    for (let at = 0; at < length; at++) {
      const byte = this.#input[at]!;
      for (let bit = 0; bit < 8; bit++) {
        if ((byte & 0x80 >>> bit) !== 0) hash ^= this.#windows[8 * at + bit]!;
      }
    }
    return hash >>> 0;
  }
}

/** Where the home address of a destination options header is, if it has one. */
function homeAddress(bytes: Uint8Array, header: number, size: number): number | undefined {
  for (let at = header + 2; at < header + size;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1]!;
    const fits = at + 2 + length <= header + size;
    if (fits && bytes[at] === HOME_ADDRESS && length === ADDRESS) return at + 2;
    at += 2 + length;
  }
  return undefined;
}
