import { DeviceId, joinBytes, type TraceEvent, VSOCK_HDR, VsockOp } from "@vireo/hal";
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
const EPB_FLAGS = 2;
const INBOUND = 1;
const OUTBOUND = 2;
const utf8 = new TextEncoder();

/**
 * Writes a trace in the pcapng format (draft-ietf-opsawg-pcapng): frames of network devices as Ethernet, an
 * interface for each device, packets of sockets as VSOCKMON, and all other events as text of the link type USER0, in their order.
 */
export class PcapngTrace {
  readonly #interfaces = new Map<string, number>();
  /** Milliseconds since 1970 at which the trace began. */
  readonly #began: number;
  readonly #data: number;

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
  header(): Uint8Array {
    const body = new Uint8Array(16);
    const view = new DataView(body.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    return block(SECTION, body);
  }

  /** The blocks of an event. */
  event(event: TraceEvent): Uint8Array[] {
    const frame = event.kind === "add" || event.kind === "used" ? event.frame : undefined;
    if (frame !== undefined) {
      const way = event.kind === "add" ? OUTBOUND : INBOUND;
      const text = `${event.device} ${traceText(event)}`;
      const options: readonly Option[] = [[EPB_FLAGS, words(way)], [COMMENT, utf8.encode(text)]];
      const socket = event.deviceId === DeviceId.VSOCK;
      const link = { name: event.device, link: socket ? VSOCK : ETHERNET };
      if (!socket) return this.#packet(event, link, frame, options);
      // What is said on a socket is not in a trace that was not asked for data.
      const packet = vsockPacket(frame);
      const most = VSOCKMON_SIZE + VSOCK_HDR.SIZE + this.#data;
      return this.#packet(event, link, packet.subarray(0, most), options, packet.length);
    }
    const text = utf8.encode(`${event.device} ${traceText(event)}`);
    return this.#packet(event, { name: "vireo", link: USER0 }, text, []);
  }

  #packet(
    event: TraceEvent,
    { name, link }: { readonly name: string; readonly link: number },
    bytes: Uint8Array,
    options: readonly Option[],
    whole: number = bytes.length,
  ): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    let index = this.#interfaces.get(name);
    if (index === undefined) {
      this.#interfaces.set(name, index = this.#interfaces.size);
      const body = joinBytes(words(link, 0), optionBytes([[IF_NAME, utf8.encode(name)]]));
      blocks.push(block(INTERFACE, body));
    }
    const micros = BigInt(Math.round((this.#began + event.time) * 1000));
    const head = words(
      index,
      Number(micros >> 32n),
      Number(micros & 0xffffffffn),
      bytes.length,
      whole,
    );
    blocks.push(block(PACKET, joinBytes(head, padded(bytes), optionBytes(options))));
    return blocks;
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

type Option = readonly [code: number, value: Uint8Array];

function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array((bytes.length + 3) & ~3);
  out.set(bytes);
  return out;
}

function optionBytes(options: readonly Option[]): Uint8Array {
  if (options.length === 0) return new Uint8Array(0);
  const parts = options.flatMap(([code, value]) => [
    words(code | value.length << 16),
    padded(value),
  ]);
  return joinBytes(...parts, words(0));
}

function block(type: number, body: Uint8Array): Uint8Array {
  const length = 12 + body.length;
  return joinBytes(words(type, length), body, words(length));
}
