import {
  Accept,
  type FrameSink,
  type NetBackend,
  NO_OFFLOAD,
  type Offload,
} from "./net_backend.ts";
import { foldSum, sumWords } from "./net_backend_offload.ts";

/** The addresses of a {@linkcode HostPeer}. */
export interface HostPeerOptions {
  /** Its Ethernet address as `02:76:69:72:65:6f`, which is also the default. */
  readonly mac?: string;
  /** Its IPv4 address; `10.0.2.2` by default. */
  readonly ip?: string;
}

/** Counters of a {@linkcode HostPeer}. */
export interface HostPeerStats {
  /** Frames that came in. */
  received: number;
  /** ARP requests that it answered. */
  arpReplies: number;
  /** ICMP echo requests that it answered. */
  echoReplies: number;
}

/**
 * A small peer on the emulated wire: it answers ARP (RFC 826) and ICMP echo (RFC 792) for one
 * address, and nothing else.
 *
 * @example
 * ```ts
 * import { HostPeer, Hub, NO_OFFLOAD } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * using peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
 * peer.onFrame = (frame) => assertEquals(frame.length, 60);
 * const port = hub.port();
 * port.send(new Uint8Array(60).fill(0xff, 0, 6), 0, 60, NO_OFFLOAD);
 * assertEquals(peer.stats.received, 1);
 * ```
 */
export class HostPeer implements FrameSink, Disposable {
  /** None: it gets finished frames. */
  readonly accepts: number = Accept.NONE;
  /** Its Ethernet address. */
  readonly mac: Uint8Array;
  /** Its IPv4 address. */
  readonly ip: Uint8Array;
  /** The counters. */
  readonly stats: HostPeerStats = { received: 0, arpReplies: 0, echoReplies: 0 };
  /** Receives every incoming frame; the bytes are valid during the call only. */
  onFrame: ((frame: Uint8Array) => void) | undefined;
  readonly #backend: NetBackend;
  readonly #reply = new Uint8Array(65536);

  /**
   * Makes a peer and plugs it in, for example into a `Hub`'s port.
   *
   * @param backend The wire for its frames; the caller disposes of it.
   * @throws {TypeError} If an address is not valid.
   */
  constructor(backend: NetBackend, options: HostPeerOptions = {}) {
    this.#backend = backend;
    this.mac = parseParts(options.mac ?? "02:76:69:72:65:6f", ":", 6, 16);
    this.ip = parseParts(options.ip ?? "10.0.2.2", ".", 4, 10);
    backend.connect(this);
  }

  /** Unplugs it. */
  [Symbol.dispose](): void {
    this.#backend.connect(undefined);
  }

  /** Takes a frame and answers it. */
  receive(bytes: Uint8Array, offset: number, length: number, _offload: Offload): void {
    this.stats.received++;
    const frame = bytes.subarray(offset, offset + length);
    this.onFrame?.(frame);
    if (length < 14 || length > this.#reply.length || !this.#isForMe(frame)) return;
    const type = (frame[12]! << 8) | frame[13]!;
    if (type === 0x0806) this.#arp(frame);
    else if (type === 0x0800) this.#echo(frame);
  }

  /** Ends a batch of frames; the answers are already sent. */
  flush(): void {
    this.#backend.flush();
  }

  /** Sends a frame of the caller. */
  send(frame: Uint8Array): void {
    this.#backend.send(frame, 0, frame.length, NO_OFFLOAD);
    this.#backend.flush();
  }

  #isForMe(frame: Uint8Array): boolean {
    if ((frame[0]! & 1) === 1) return true;
    return this.mac.every((byte, i) => byte === frame[i]);
  }

  #arp(frame: Uint8Array): void {
    // Ethernet, IPv4, request, for our address.
    const head = [0, 1, 8, 0, 6, 4, 0, 1];
    if (frame.length < 42 || head.some((byte, i) => frame[14 + i] !== byte)) return;
    if (this.ip.some((byte, i) => frame[38 + i] !== byte)) return;
    const reply = this.#answer(frame, 42);
    reply[21] = 2;
    reply.set(this.mac, 22);
    reply.set(this.ip, 28);
    reply.set(frame.subarray(22, 32), 32);
    this.stats.arpReplies++;
    this.#backend.send(reply, 0, reply.length, NO_OFFLOAD);
  }

  #echo(frame: Uint8Array): void {
    if (frame.length < 42 || frame[14]! >>> 4 !== 4) return;
    const header = (frame[14]! & 15) * 4;
    const total = (frame[16]! << 8) | frame[17]!;
    const icmp = 14 + header;
    const end = 14 + total;
    if (header < 20 || end > frame.length || end < icmp + 8) return;
    // A whole datagram (no fragment) of ICMP for our address, with correct checksums.
    if ((frame[20]! & 0x3f) !== 0 || frame[21] !== 0 || frame[23] !== 1) return;
    if (this.ip.some((byte, i) => frame[30 + i] !== byte)) return;
    if (foldSum(sumWords(frame, 14, icmp)) !== 0 || foldSum(sumWords(frame, icmp, end)) !== 0) {
      return;
    }
    if (frame[icmp] !== 8 || frame[icmp + 1] !== 0) return;
    const reply = this.#answer(frame, end);
    reply[22] = 64;
    reply.set(frame.subarray(30, 34), 26);
    reply.set(frame.subarray(26, 30), 30);
    reply.fill(0, 24, 26);
    put16(reply, 24, foldSum(sumWords(reply, 14, icmp)));
    reply[icmp] = 0;
    reply.fill(0, icmp + 2, icmp + 4);
    put16(reply, icmp + 2, foldSum(sumWords(reply, icmp, end)));
    this.stats.echoReplies++;
    this.#backend.send(reply, 0, reply.length, NO_OFFLOAD);
  }

  #answer(frame: Uint8Array, length: number): Uint8Array {
    const reply = this.#reply.subarray(0, length);
    reply.set(frame.subarray(0, length));
    reply.set(frame.subarray(6, 12), 0);
    reply.set(this.mac, 6);
    return reply;
  }
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

function parseParts(text: string, separator: string, count: number, radix: 10 | 16): Uint8Array {
  const digits = radix === 16 ? /^[0-9a-fA-F]{1,2}$/ : /^[0-9]{1,3}$/;
  const parts = text.split(separator);
  const values = parts.map((part) => digits.test(part) ? parseInt(part, radix) : NaN);
  if (parts.length !== count || values.some((value) => !(value <= 255))) {
    throw new TypeError(
      `Cannot parse the address "${text}": expected ${count} parts separated by "${separator}"`,
    );
  }
  return Uint8Array.from(values);
}
