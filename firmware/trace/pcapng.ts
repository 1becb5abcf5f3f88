import {
  DeviceId,
  hi32,
  joinBytes,
  lo32,
  TRACE_VERSION,
  type TraceEvent,
  VSOCK_HDR,
  VsockOp,
} from "@vireo/hal";
import { traceText } from "./text.ts";

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;
const MAGIC = 0x1a2b3c4d;
const ETHERNET = 1;
/** Packets of sockets behind the header of Linux's vsockmon. */
const VSOCK = 271;
const VSOCKMON_SIZE = 32;
/** Operations of Linux's vsockmon (`AF_VSOCK_OP_*`), and its name of virtio. */
const Monitor = {
  UNKNOWN: 0,
  CONNECT: 1,
  DISCONNECT: 2,
  CONTROL: 3,
  PAYLOAD: 4,
  VIRTIO: 2,
} as const;
/** For text of our own, which `vireo.lua` dissects. */
const USER0 = 147;
const COMMENT = 1;
const IF_NAME = 2;
/** Of a section: the program that wrote it. */
const USER_APPLICATION = 4;
const EPB_FLAGS = 2;
const INBOUND = 1;
const OUTBOUND = 2;
const utf8 = new TextEncoder();

/**
 * Writes a trace in the pcapng format (draft-ietf-opsawg-pcapng): frames of network devices as Ethernet, an
 * interface for each device, packets of sockets as VSOCKMON, and all other events as text of the link type USER0, in their order.
 *
 * @example
 * ```ts
 * import { PcapngTrace } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const trace = new PcapngTrace(Date.now());
 * // The first block says that it is a section of pcapng.
 * assertEquals([...trace.start.subarray(0, 4)], [0x0a, 0x0d, 0x0d, 0x0a]);
 * const copy = { kind: "copy", time: 0, device: "rng0", deviceId: 4, bytes: 8 } as const;
 * assertEquals(new TextDecoder().decode(trace.event(copy)).includes("copied 8 bytes"), true);
 * ```
 */
export class PcapngTrace {
  readonly #interfaces = new Map<string, number>();
  /** Milliseconds since 1970 at which the trace began. */
  readonly #began: number;
  readonly #data: number;
  /** End of the file: nothing. */
  readonly end: string = "";
  /** The blocks of the current event; used again for the next, and grown for one that is longer. */
  #bytes = new Uint8Array(4096);
  #view: DataView = new DataView(this.#bytes.buffer);
  #length = 0;
  /** Where the current block begins. */
  #block = 0;

  /**
   * Makes a writer.
   *
   * @param began Milliseconds since 1970 at which the trace began.
   * @param data Bytes of what is said on sockets that each packet has.
   */
  constructor(began: number, data = 0) {
    this.#began = began;
    this.#data = data;
  }

  /** The start of the file. */
  get start(): Uint8Array {
    this.#begin(SECTION);
    this.#words(MAGIC, 1, 0xffffffff, 0xffffffff);
    this.#option(USER_APPLICATION, `Vireo, trace ${TRACE_VERSION}`);
    this.#words(0);
    this.#end();
    return this.#bytes.slice(0, this.#length);
  }

  /** The blocks of an event, which the next event overwrites. */
  event(event: TraceEvent): Uint8Array {
    this.#length = 0;
    const text = `${event.device} ${traceText(event)}`;
    const frame = event.kind === "add" || event.kind === "used" ? event.frame : undefined;
    const way = event.kind === "add" ? OUTBOUND : INBOUND;
    if (frame === undefined) {
      const packet = this.#packet(event, "vireo", USER0);
      this.#text(text, 0xffffffff);
      this.#packetEnds(packet);
    } else if (event.deviceId === DeviceId.VSOCK) {
      // What is said on a socket is not in a trace that was not asked for data.
      const bytes = vsockPacket(frame);
      const most = VSOCKMON_SIZE + VSOCK_HDR.SIZE + this.#data;
      const packet = this.#packet(event, event.device, VSOCK);
      this.#copy(bytes.subarray(0, most));
      this.#packetEnds(packet, bytes.length);
      this.#options(way, text);
    } else {
      const packet = this.#packet(event, event.device, ETHERNET);
      this.#copy(frame);
      this.#packetEnds(packet);
      this.#options(way, text);
    }
    this.#end();
    return this.#bytes.subarray(0, this.#length);
  }

  /** Begins a packet, after its interface if that is new; returns where its length goes. */
  #packet(event: TraceEvent, name: string, link: number): number {
    let index = this.#interfaces.get(name);
    if (index === undefined) {
      this.#interfaces.set(name, index = this.#interfaces.size);
      this.#begin(INTERFACE);
      this.#words(link, 0);
      this.#option(IF_NAME, name);
      this.#words(0);
      this.#end();
    }
    const micros = Math.round((this.#began + event.time) * 1000);
    this.#begin(PACKET);
    this.#words(index, hi32(micros), lo32(micros), 0, 0);
    return this.#length;
  }

  /** Writes the lengths of a packet whose bytes are there, and pads it. */
  #packetEnds(start: number, whole: number = this.#length - start): void {
    this.#view.setUint32(start - 8, this.#length - start, true);
    this.#view.setUint32(start - 4, whole, true);
    this.#pad();
  }

  /** Writes the way of a frame, and what it is as a comment. */
  #options(way: number, text: string): void {
    this.#words(EPB_FLAGS | 4 << 16, way);
    this.#option(COMMENT, text);
    this.#words(0);
  }

  #option(code: number, text: string): void {
    this.#words(code);
    const start = this.#length;
    // A length has 16 bits.
    this.#text(text, 0xffff);
    this.#view.setUint16(start - 2, this.#length - start, true);
    this.#pad();
  }

  #begin(type: number): void {
    this.#block = this.#length;
    this.#words(type, 0);
  }

  /** Writes the length of a block, at its start and at its end. */
  #end(): void {
    const length = this.#length + 4 - this.#block;
    this.#words(length);
    this.#view.setUint32(this.#block + 4, length, true);
  }

  #words(...values: readonly number[]): void {
    this.#room(4 * values.length);
    for (const value of values) {
      this.#view.setUint32(this.#length, value, true);
      this.#length += 4;
    }
  }

  #text(text: string, most: number): void {
    const room = Math.min(3 * text.length, most);
    this.#room(room);
    const into = this.#bytes.subarray(this.#length, this.#length + room);
    this.#length += utf8.encodeInto(text, into).written;
  }

  #copy(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Writes zeroes up to a multiple of 4 bytes. */
  #pad(): void {
    this.#room(3);
    while ((this.#length & 3) !== 0) this.#bytes[this.#length++] = 0;
  }

  #room(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const bytes = new Uint8Array(2 * (this.#length + length));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Puts the header of Linux's vsockmon (`af_vsockmon_hdr`) before a packet, as its driver does. */
function vsockPacket(packet: Uint8Array): Uint8Array {
  const header = new Uint8Array(VSOCKMON_SIZE);
  // Both begin with the addresses and the ports, in the same order.
  header.set(packet.subarray(0, VSOCK_HDR.len.offset));
  const view = new DataView(header.buffer);
  const { buffer, byteOffset } = packet;
  const op = new DataView(buffer, byteOffset).getUint16(VSOCK_HDR.op.offset, true);
  view.setUint16(24, MONITORED[op] ?? Monitor.UNKNOWN, true);
  view.setUint16(26, Monitor.VIRTIO, true);
  view.setUint16(28, VSOCK_HDR.SIZE, true);
  return joinBytes(header, packet);
}

const MONITORED: Readonly<Record<number, number>> = {
  [VsockOp.REQUEST]: Monitor.CONNECT,
  [VsockOp.RESPONSE]: Monitor.CONNECT,
  [VsockOp.RST]: Monitor.DISCONNECT,
  [VsockOp.SHUTDOWN]: Monitor.DISCONNECT,
  [VsockOp.RW]: Monitor.PAYLOAD,
  [VsockOp.CREDIT_UPDATE]: Monitor.CONTROL,
  [VsockOp.CREDIT_REQUEST]: Monitor.CONTROL,
};
