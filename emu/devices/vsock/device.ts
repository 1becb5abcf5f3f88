import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  hi32,
  lo32,
  VireoError,
  VSOCK_CONFIG,
  VSOCK_EVENT_SIZE,
  VSOCK_HDR as H,
  VSOCK_HOST_CID,
  VSOCK_TRANSPORT_RESET,
  VsockFeature,
  VsockOp,
  VsockQueue,
  VsockType,
} from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import type { Chain, ConfigWidth, DeviceContext, DeviceModel, QueueSpec } from "../../device.ts";
import { type Header, HostConnection, ROOM } from "./connection.ts";

/** Packets that may wait for the guest's buffers before its own stay in the ring. */
const BACKLOG = 1024;
/** Connections at a time. */
const MAX_CONNECTIONS = 4096;
/** Most bytes of a packet's data. */
const MAX_DATA = 64 * 1024;

/** Who is at the host's ports. */
export interface VsockHost {
  /**
   * Takes a connection of the guest.
   *
   * @returns The host's end; undefined if nobody listens.
   */
  connect(port: number, type: VsockType): StreamPort | undefined | Promise<StreamPort | undefined>;
}

/** What a {@linkcode VsockDevice} is made of. */
export interface VsockDeviceOptions {
  /** The guest's context id, 3 or more; 3 by default. */
  readonly cid?: number;
  /** Who is at the host's ports. */
  readonly host: VsockHost;
  /** Feature bits not to offer. */
  readonly withhold?: readonly number[];
}

/** A socket device (virtio 1.4 §5.10) whose host side is streams. */
export class VsockDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "vsock";
  /** Virtio device id 19. */
  readonly deviceId: number = DeviceId.VSOCK;
  /** What the options leave. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = VsockFeature;
  /** To the guest, from it, and events. */
  readonly queues: readonly QueueSpec[] = ["rx", "tx", "event"].map((name) => ({
    name,
    maxSize: 128,
  }));
  /** Size of `struct virtio_vsock_config` in bytes. */
  readonly configSize: number = VSOCK_CONFIG.SIZE;
  readonly #host: VsockHost;
  readonly #connections = new Map<string, HostConnection>();
  readonly #opening = new Map<
    string,
    { readonly resolve: (connection: HostConnection) => void; readonly reject: (e: Error) => void }
  >();
  #cid: number;
  #nextPort = 0x40000000;
  #out: Uint8Array[] = [];
  #eventWaits = false;
  #context: DeviceContext | undefined;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If the context id is reserved.
   */
  constructor(options: VsockDeviceOptions) {
    this.#host = options.host;
    this.#cid = checkCid(options.cid ?? 3);
    this.features = FeatureSet.of(...Object.values(VsockFeature))
      .without(...options.withhold ?? []);
  }

  /** The guest's context id. */
  get cid(): number {
    return this.#cid;
  }

  /** Connections that are not over. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Packets that wait for the guest's buffers. */
  get waiting(): number {
    return this.#out.length;
  }

  /**
   * Connects to a port of the guest.
   *
   * @param port The host's end: its streams carry the connection's bytes.
   * @throws {VireoError} `PORT_CLOSED` If nobody listens there.
   */
  connect(
    guestPort: number,
    port: StreamPort,
    type: VsockType = VsockType.STREAM,
  ): Promise<void> {
    const hostPort = this.#nextPort++;
    const connection = this.#make(guestPort, hostPort, type);
    const { promise, resolve, reject } = Promise.withResolvers<HostConnection>();
    this.#opening.set(keyOf(guestPort, hostPort), { resolve, reject });
    this.#send(connection, VsockOp.REQUEST, 0, NONE);
    return promise.then(() => connection.start(port));
  }

  /** Ends all connections, as a host that was moved does, and gives the guest another context id. */
  resetTransport(cid: number = this.#cid): void {
    this.#cid = checkCid(cid);
    for (const connection of [...this.#connections.values()]) connection.end();
    this.#out = [];
    this.#eventWaits = true;
    this.#deliverEvent();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    const word = offset < 4 ? lo32(this.#cid) : hi32(this.#cid);
    const value = word >>> 8 * (offset & 3);
    return width === 4 ? value >>> 0 : value & 2 ** (8 * width) - 1;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Takes packets, or gives those that wait. */
  notify(index: number): void {
    if (index === VsockQueue.EVENT) return this.#deliverEvent();
    this.#deliver();
    this.#serve();
  }

  /** Forgets the guest: its connections are over. */
  reset(): void {
    this.#context = undefined;
    for (const connection of [...this.#connections.values()]) connection.end();
    this.#out = [];
    this.#eventWaits = false;
  }

  /** Ends all connections. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #serve(): void {
    const queue = this.#context?.queue(VsockQueue.TRANSMIT);
    if (queue === undefined) return;
    // Answers need room: a guest that takes none is not read any more.
    while (this.#out.length < BACKLOG) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (!this.#take(chain)) return;
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #take(chain: Chain): boolean {
    if (chain.readableLength < H.SIZE) {
      this.#context?.fault(`Socket packet of ${chain.readableLength} bytes, expected 44 at least`);
      return false;
    }
    const bytes = new Uint8Array(H.SIZE);
    chain.read(bytes);
    const view = new DataView(bytes.buffer);
    const u32 = ({ offset }: { offset: number }): number => view.getUint32(offset, true);
    const length = u32(H.len);
    if (length > chain.readableLeft || length > MAX_DATA) {
      this.#context?.fault(`Socket packet with ${length} bytes of data, has ${chain.readableLeft}`);
      return false;
    }
    const data = new Uint8Array(length);
    chain.read(data);
    const header: Header = {
      srcCid: u32(H.src_cid),
      srcPort: u32(H.src_port),
      dstPort: u32(H.dst_port),
      type: view.getUint16(H.type.offset, true),
      op: view.getUint16(H.op.offset, true),
      flags: u32(H.flags),
      bufAlloc: u32(H.buf_alloc),
      fwdCnt: u32(H.fwd_cnt),
    };
    // Only the host is reached, and only by its guest.
    if (u32(H.dst_cid) === VSOCK_HOST_CID && header.srcCid === this.#cid) {
      this.#handle(header, data);
    }
    return true;
  }

  #handle(header: Header, data: Uint8Array): void {
    const key = keyOf(header.srcPort, header.dstPort);
    const connection = this.#connections.get(key);
    if (connection === undefined) {
      if (header.op === VsockOp.REQUEST) return this.#request(header);
      if (header.op !== VsockOp.RST) this.#refuse(header);
      return;
    }
    const opening = this.#opening.get(key);
    if (opening !== undefined && (header.op === VsockOp.RESPONSE || header.op === VsockOp.RST)) {
      this.#opening.delete(key);
      if (header.op === VsockOp.RESPONSE) {
        connection.credit(header);
        opening.resolve(connection);
      } else {
        opening.reject(new VireoError("PORT_CLOSED", "Guest does not listen there"));
        connection.end();
      }
      return;
    }
    if (connection.type !== header.type) return this.#refuse(header);
    connection.handle(header, data);
  }

  #request(header: Header): void {
    const { SEQPACKET, STREAM } = VsockType;
    const { features } = this.#context!;
    const known = header.type === STREAM ||
      (header.type === SEQPACKET && features.has(VsockFeature.SEQPACKET));
    if (!known || this.#connections.size >= MAX_CONNECTIONS) return this.#refuse(header);
    const connection = this.#make(header.srcPort, header.dstPort, header.type);
    connection.credit(header);
    const answer = (port: StreamPort | undefined): void => {
      if (this.#connections.get(keyOf(header.srcPort, header.dstPort)) !== connection) return;
      if (port === undefined) return connection.reset();
      this.#send(connection, VsockOp.RESPONSE, 0, NONE);
      connection.start(port);
    };
    try {
      const port = this.#host.connect(header.dstPort, header.type as VsockType);
      if (port instanceof Promise) port.then(answer, () => connection.reset());
      else answer(port);
    } catch {
      connection.reset();
    }
  }

  #make(guestPort: number, hostPort: number, type: number): HostConnection {
    const key = keyOf(guestPort, hostPort);
    const connection = new HostConnection(
      {
        send: (...packet) => this.#send(...packet),
        ended: () => {
          this.#connections.delete(key);
          this.#opening.get(key)?.reject(new VireoError("PORT_CLOSED", "Connection ended"));
          this.#opening.delete(key);
        },
      },
      guestPort,
      hostPort,
      type,
    );
    this.#connections.set(key, connection);
    return connection;
  }

  #send(connection: HostConnection, op: VsockOp, flags: number, data: Uint8Array): void {
    const { hostPort, guestPort, type, fwdCnt } = connection;
    this.#queue({ hostPort, guestPort, type, op, flags, bufAlloc: ROOM, fwdCnt }, data);
  }

  #refuse({ srcPort, dstPort, type }: Header): void {
    const rst = { hostPort: dstPort, guestPort: srcPort, type, op: VsockOp.RST };
    this.#queue({ ...rst, flags: 0, bufAlloc: 0, fwdCnt: 0 }, NONE);
  }

  #queue(
    header: {
      readonly hostPort: number;
      readonly guestPort: number;
      readonly type: number;
      readonly op: number;
      readonly flags: number;
      readonly bufAlloc: number;
      readonly fwdCnt: number;
    },
    data: Uint8Array,
  ): void {
    if (this.#context === undefined) return;
    const bytes = new Uint8Array(H.SIZE + data.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(H.src_cid.offset, VSOCK_HOST_CID, true);
    view.setUint32(H.dst_cid.offset, lo32(this.#cid), true);
    view.setUint32(H.dst_cid.offset + 4, hi32(this.#cid), true);
    view.setUint32(H.src_port.offset, header.hostPort, true);
    view.setUint32(H.dst_port.offset, header.guestPort, true);
    view.setUint32(H.len.offset, data.length, true);
    view.setUint16(H.type.offset, header.type, true);
    view.setUint16(H.op.offset, header.op, true);
    view.setUint32(H.flags.offset, header.flags, true);
    view.setUint32(H.buf_alloc.offset, header.bufAlloc, true);
    view.setUint32(H.fwd_cnt.offset, header.fwdCnt, true);
    bytes.set(data, H.SIZE);
    this.#out.push(bytes);
    this.#deliver();
  }

  #deliver(): void {
    const queue = this.#context?.queue(VsockQueue.RECEIVE);
    if (queue === undefined) return;
    const full = this.#out.length >= BACKLOG;
    let pushed = false;
    for (let packet = this.#out[0]; packet !== undefined; packet = this.#out[0]) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableLength < packet.length) {
        this.#context?.fault(`Socket buffer of ${chain.writableLength} bytes for ${packet.length}`);
        return;
      }
      this.#out.shift();
      chain.write(packet);
      queue.push(chain);
      pushed = true;
    }
    if (!pushed) return;
    queue.signal();
    if (full && this.#out.length < BACKLOG) this.#serve();
  }

  #deliverEvent(): void {
    const queue = this.#context?.queue(VsockQueue.EVENT);
    if (queue === undefined || !this.#eventWaits) return;
    const chain = queue.pop();
    if (chain === undefined) return;
    if (chain.writableLength < VSOCK_EVENT_SIZE) {
      this.#context?.fault(`Socket event buffer of ${chain.writableLength} bytes, expected 4`);
      return;
    }
    this.#eventWaits = false;
    chain.writeU32(VSOCK_TRANSPORT_RESET);
    queue.push(chain);
    queue.signal();
  }
}

const NONE = new Uint8Array(0);

const keyOf = (guestPort: number, hostPort: number): string => `${guestPort}:${hostPort}`;

function checkCid(cid: number): number {
  if (Number.isSafeInteger(cid) && cid > VSOCK_HOST_CID && cid < 0xffffffff) return cid;
  throw new RangeError(`Cannot give a guest the context id ${cid}: 3 to 4294967294`);
}
