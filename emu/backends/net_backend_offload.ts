import { ETH_HDR_SIZE, NetGso, VLAN_TAG_SIZE } from "@vireo/hal";
import { Accept, NO_OFFLOAD, type Offload } from "./net_backend.ts";

/** Types of frames that the emulator tells apart. */
export const EtherType = { IPV4: 0x0800, VLAN: 0x8100, IPV6: 0x86dd } as const;

/** Protocols of IP that it tells apart. */
export const IpProtocol = { TCP: 6, UDP: 17 } as const;

/** A 16-bit field of a frame's headers. */
export function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Takes one finished frame. */
export type FrameEmit = (
  bytes: Uint8Array,
  offset: number,
  length: number,
  offload: Offload,
) => void;

const { IPV4, IPV6, VLAN } = EtherType;
const { TCP, UDP } = IpProtocol;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;
const FRAGMENT_HEADER = 44;
/** The most pieces of one frame; a sender that asks for more only keeps the host busy. */
const MAX_PIECES = 2048;

/** Adds bytes to a ones'-complement sum as big-endian 16-bit words (RFC 1071). */
export function sumWords(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  let i = from;
  for (; i + 1 < to; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < to) sum += bytes[i]! << 8;
  return sum;
}

/** Folds a sum to 16 bits and complements it. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8 & 0xff;
  bytes[at + 1] = value & 0xff;
}

/** The bits of {@linkcode Accept} that a frame's gso_type needs, or -1 for an unknown type. */
export function acceptBits(gsoType: number, bytes: Uint8Array, offset: number): number {
  const ecn = (gsoType & NetGso.ECN) !== 0 ? Accept.ECN : 0;
  switch (gsoType & ~NetGso.ECN) {
    case NetGso.NONE:
      return 0;
    case NetGso.TCPV4:
      return Accept.CSUM | Accept.TSO4 | ecn;
    case NetGso.TCPV6:
      return Accept.CSUM | Accept.TSO6 | ecn;
    case NetGso.UDP:
      return Accept.CSUM | Accept.UFO;
    case NetGso.UDP_L4:
      return Accept.CSUM | (etherType(bytes, offset) === IPV6 ? Accept.USO6 : Accept.USO4);
    default:
      return -1;
  }
}

/**
 * Finishes frames for receivers that do not accept offloaded work: completes checksums and cuts large
 * frames (virtio 1.4 §5.1.6.2). It changes a copy and leaves the caller's frame as it is.
 */
export class Offloader {
  readonly #copy = new Uint8Array(0x11000);
  readonly #out = new Uint8Array(0x11000);

  /**
   * Passes a frame on in a form that the receiver accepts.
   *
   * @param accepts Bits of {@linkcode Accept}.
   * @param emit Called for each frame; the bytes are valid during the call.
   * @returns False if the headers are not valid; the frame is then dropped.
   */
  conform(
    bytes: Uint8Array,
    offset: number,
    length: number,
    offload: Offload,
    accepts: number,
    emit: FrameEmit,
  ): boolean {
    const needed = acceptBits(offload.gsoType, bytes, offset) |
      (offload.needsCsum ? Accept.CSUM : 0);
    if (needed < 0) return false;
    if ((needed & ~accepts) === 0) {
      emit(bytes, offset, length, offload);
      return true;
    }
    if (length > this.#copy.length) return false;
    const copy = this.#copy;
    copy.set(bytes.subarray(offset, offset + length));
    if ((offload.gsoType & ~NetGso.ECN) !== NetGso.NONE) {
      return this.#segment(copy, length, offload, emit);
    }
    const at = offload.csumStart + offload.csumOffset;
    if (offload.csumStart >= length || at + 2 > length) return false;
    put16(copy, at, foldSum(sumWords(copy, offload.csumStart, length)) || 0xffff);
    emit(copy, 0, length, NO_OFFLOAD);
    return true;
  }

  #segment(frame: Uint8Array, length: number, offload: Offload, emit: FrameEmit): boolean {
    const type = etherType(frame, 0);
    const ip = ETH_HDR_SIZE + (get16(frame, 12) === VLAN ? VLAN_TAG_SIZE : 0);
    const version = type === IPV4 ? 4 : type === IPV6 ? 6 : 0;
    if (version === 0 || offload.gsoSize * MAX_PIECES < length) return false;
    if (length < ip + (version === 4 ? 20 : 40)) return false;
    // Only headers without IPv6 extensions are cut; Linux sends no others with these gso types.
    const transport = ip + (version === 4 ? (frame[ip]! & 15) * 4 : 40);
    if (version === 4 && transport < ip + 20) return false;
    const protocol = frame[version === 4 ? ip + 9 : ip + 6]!;
    const kind = offload.gsoType & ~NetGso.ECN;
    if (kind === NetGso.UDP) {
      if (protocol !== UDP || length < transport + 8) return false;
      return this.#fragment(frame, length, ip, version, transport, offload.gsoSize, emit);
    }
    if (kind === NetGso.UDP_L4) {
      if (protocol !== UDP || length < transport + 8) return false;
      this.#cutUdp(frame, length, ip, version, transport, offload.gsoSize, emit);
      return true;
    }
    if (protocol !== TCP || length < transport + 20) return false;
    if ((kind === NetGso.TCPV4) !== (version === 4)) return false;
    const payload = transport + (frame[transport + 12]! >>> 4) * 4;
    if (payload < transport + 20 || payload > length) return false;
    this.#cutTcp(frame, length, ip, version, transport, payload, offload.gsoSize, emit);
    return true;
  }

  #cutTcp(
    frame: Uint8Array,
    length: number,
    ip: number,
    version: 4 | 6,
    transport: number,
    payload: number,
    mss: number,
    emit: FrameEmit,
  ): void {
    const out = this.#out;
    const id = get16(frame, ip + 4);
    const seq = ((get16(frame, transport + 4) << 16) | get16(frame, transport + 6)) >>> 0;
    const flags = frame[transport + 13]!;
    out.set(frame.subarray(0, payload));
    for (let i = 0; i === 0 || payload + i * mss < length; i++) {
      const from = payload + i * mss;
      const size = Math.min(mss, length - from);
      const last = from + size >= length;
      out.set(frame.subarray(from, from + size), payload);
      const end = payload + size;
      this.#fixIp(out, ip, version, end - ip, id + i, undefined, transport);
      const next = (seq + (from - payload)) >>> 0;
      put16(out, transport + 4, next >>> 16);
      put16(out, transport + 6, next & 0xffff);
      out[transport + 13] = flags & ~(last ? 0 : TCP_FIN_PSH) & ~(i === 0 ? 0 : TCP_CWR);
      put16(out, transport + 16, 0);
      const pseudo = pseudoSum(out, ip, version, TCP, end - transport);
      put16(out, transport + 16, foldSum(sumWords(out, transport, end, pseudo)));
      emit(out, 0, end, NO_OFFLOAD);
    }
  }

  /** USO cuts the payload: each piece is a datagram of its own. */
  #cutUdp(
    frame: Uint8Array,
    length: number,
    ip: number,
    version: 4 | 6,
    transport: number,
    size: number,
    emit: FrameEmit,
  ): void {
    const out = this.#out;
    const id = get16(frame, ip + 4);
    const payload = transport + 8;
    out.set(frame.subarray(0, payload));
    for (let i = 0; i === 0 || payload + i * size < length; i++) {
      const from = payload + i * size;
      const to = Math.min(from + size, length);
      out.set(frame.subarray(from, to), payload);
      const end = payload + to - from;
      this.#fixIp(out, ip, version, end - ip, id + i, undefined, transport);
      put16(out, transport + 4, end - transport);
      put16(out, transport + 6, 0);
      const pseudo = pseudoSum(out, ip, version, UDP, end - transport);
      put16(out, transport + 6, foldSum(sumWords(out, transport, end, pseudo)) || 0xffff);
      emit(out, 0, end, NO_OFFLOAD);
    }
  }

  /** UFO is IP fragmentation: the datagram keeps one checksum, and the pieces are sent as fragments. */
  #fragment(
    frame: Uint8Array,
    length: number,
    ip: number,
    version: 4 | 6,
    transport: number,
    gsoSize: number,
    emit: FrameEmit,
  ): boolean {
    const step = gsoSize & ~7;
    if (step * MAX_PIECES < length) return false;
    put16(frame, transport + 6, 0);
    const pseudo = pseudoSum(frame, ip, version, UDP, length - transport);
    put16(
      frame,
      transport + 6,
      foldSum(sumWords(frame, transport, length, pseudo)) || 0xffff,
    );
    const out = this.#out;
    const id = get16(frame, ip + 4);
    const body = version === 4 ? transport : transport + 8;
    out.set(frame.subarray(0, transport));
    for (let from = transport; from < length; from += step) {
      const size = Math.min(step, length - from);
      const more = from + size < length;
      const at = from - transport;
      out.set(frame.subarray(from, from + size), body);
      if (version === 4) {
        const word = (at >>> 3) | (more ? 0x2000 : 0);
        this.#fixIp(out, ip, 4, body + size - ip, id, word, transport);
      } else {
        out[ip + 6] = FRAGMENT_HEADER;
        out[transport] = UDP;
        out[transport + 1] = 0;
        put16(out, transport + 2, at | (more ? 1 : 0));
        put16(out, transport + 4, 0);
        put16(out, transport + 6, get16(frame, transport));
        this.#fixIp(out, ip, 6, body + size - ip, 0, 0, transport);
      }
      emit(out, 0, body + size, NO_OFFLOAD);
    }
    return true;
  }

  #fixIp(
    out: Uint8Array,
    ip: number,
    version: 4 | 6,
    total: number,
    id: number,
    fragment: number | undefined,
    transport: number,
  ): void {
    if (version === 6) {
      put16(out, ip + 4, total - 40);
      return;
    }
    put16(out, ip + 2, total);
    put16(out, ip + 4, id & 0xffff);
    // A fragment's offset occupies the word; otherwise the sender's DF bit stays.
    if (fragment !== undefined) put16(out, ip + 6, fragment);
    put16(out, ip + 10, 0);
    put16(out, ip + 10, foldSum(sumWords(out, ip, transport)));
  }
}

/** The type of a frame, behind a VLAN's tag. */
function etherType(bytes: Uint8Array, offset: number): number {
  const type = get16(bytes, offset + 12);
  return type === VLAN ? get16(bytes, offset + 16) : type;
}

function pseudoSum(
  bytes: Uint8Array,
  ip: number,
  version: 4 | 6,
  protocol: number,
  length: number,
): number {
  const from = version === 4 ? ip + 12 : ip + 8;
  const to = version === 4 ? ip + 20 : ip + 40;
  return sumWords(bytes, from, to) + protocol + length;
}
