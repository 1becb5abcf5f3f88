import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  hi32,
  lo32,
  setU64,
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
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import {
  dropPort,
  type Header,
  HostConnection,
  MAX_DATA,
  MAX_MESSAGES,
  ROOM,
} from "./connection.ts";

/** Packets that may wait for the guest's buffers before its own stay in the ring. */
const BACKLOG = 1024;
/** Packets and bytes of data that wait there before the host's streams are read no more. */
const DATA_BACKLOG = BACKLOG / 2;
const DATA_BYTES = 2 * 1024 * 1024;
/** Connections at a time, by default: each may take a descriptor of the host. */
const MAX_CONNECTIONS = 256;
/** Bytes of a packet that waits, on average at most: `DATA_BYTES` bounds those with data. */
const MAX_PACKET = 4096;

/** A packet that waits for the guest's buffers, each of which takes as much of its data as it has room for. */
interface Packet {
  readonly header: DataView<ArrayBuffer>;
  readonly flags: number;
  readonly data: Uint8Array;
  /** Bytes of the data that the guest has. */
  given: number;
}

/** The programs at the host's ports. */
export interface VsockHost {
  /**
   * Takes a connection of the guest.
   *
   * @returns The host's end; undefined if nobody listens.
   */
  connect(port: number, type: VsockType): StreamPort | undefined | Promise<StreamPort | undefined>;
}

/** Options of {@linkcode VsockDevice}. */
export interface VsockDeviceOptions {
  /** The guest's context id, 3 or more; 3 by default. */
  readonly cid?: number;
  /** The programs at the host's ports. */
  readonly host: VsockHost;
  /**
   * Connections of the guest at a time, those included whose streams the host did not let go of yet; 256 by default.
   * Each has room for 256 KiB on the way to the host.
   */
  readonly maxConnections?: number;
  /** Feature bits not to offer. */
  readonly withhold?: readonly number[];
}

/**
 * A socket device (virtio 1.4 §5.10) whose host side is streams.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { vsockDriver } from "@vireo/drivers/vsock";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new VsockDevice({ cid: 5, host: { connect: () => loopbackPort() } });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(vsockDriver);
 * await bus.addPlatform(machine);
 * const vsock = bus.get(vsockDriver)!;
 * await using _connection = await vsock.connect(7);
 * assertEquals([vsock.cid, device.connections], [5, 1]);
 * ```
 */
export class VsockDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "vsock";
  /** Virtio device id 19. */
  readonly deviceId: number = DeviceId.VSOCK;
  /** Features that the options offer. */
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
  /** Connections, their messages, and packets that wait. */
  readonly bounds: ModelUsage;
  readonly #host: VsockHost;
  readonly #connections = new Map<string, HostConnection>();
  readonly #opening = new Map<
    string,
    { readonly resolve: (connection: HostConnection) => void; readonly reject: (e: Error) => void }
  >();
  readonly #maxConnections: number;
  #cid: number;
  #nextPort = 0x40000000;
  /** Streams of the host that are in use, or asked for: they may outlive their connection. */
  #ports = 0;
  #out: Packet[] = [];
  /** Bytes of data in them. */
  #outBytes = 0;
  /** Streams of the host that wait for room among what goes out. */
  #roomWaiters: (() => void)[] = [];
  #attached: DeviceContext | undefined;
  #eventWaits = false;
  #context: DeviceContext | undefined;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If the context id is reserved, or `maxConnections` is not a positive integer.
   */
  constructor(options: VsockDeviceOptions) {
    this.#host = options.host;
    this.#cid = checkCid(options.cid ?? 3);
    const most = this.#maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    if (!Number.isInteger(most) || most < 1) {
      throw new RangeError(`Cannot have ${most} connections: expected 1 or more`);
    }
    // Answers come on top of the backlog: one for each packet that is taken, and one for each connection.
    const packets = BACKLOG + 2 * most;
    this.bounds = {
      items: most * (1 + MAX_MESSAGES) + packets,
      bytes: most * ROOM + packets * MAX_PACKET,
    };
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

  /** Streams of the host that are in use or asked for, by connections and by those that are over. */
  get ports(): number {
    return this.#ports;
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
    const changed = checkCid(cid) !== this.#cid;
    this.#cid = cid;
    for (const connection of [...this.#connections.values()]) connection.end();
    this.#clearOut();
    // The id is configuration: its generation moves on.
    if (changed) this.#attached?.configChanged();
    this.#eventWaits = true;
    this.#deliverEvent();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    const word = offset < 4 ? lo32(this.#cid) : hi32(this.#cid);
    const value = word >>> 8 * (offset & 3);
    return width === 4 ? value >>> 0 : value & 2 ** (8 * width) - 1;
  }

  /** Keeps the way to report another context id. */
  attach(context: DeviceContext): void {
    this.#attached = context;
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
    this.#clearOut();
    this.#eventWaits = false;
  }

  /** Connections, packets that wait, and what the host did not take yet. */
  usage(): ModelUsage {
    let items = this.#connections.size + this.#out.length;
    let bytes = this.#outBytes + this.#out.length * H.SIZE;
    for (const { waiting } of this.#connections.values()) {
      items += waiting.items;
      bytes += waiting.bytes;
    }
    return { items, bytes };
  }

  /** The context id. Streams of the host are in no snapshot: the guest is told that its connections are over. */
  snapshot(): unknown {
    return { cid: this.#cid };
  }

  /** Takes the context id back, and tells the guest that its transport was reset (virtio 1.4 §5.10.6.7). */
  restore(state: unknown): void {
    this.#cid = checkCid((state as { cid: number }).cid);
    this.#eventWaits = true;
  }

  /** Ends all connections. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #serve(): void {
    const queue = this.#context?.queue(VsockQueue.TRANSMIT);
    if (queue === undefined) return;
    // Answers need room: a guest that takes none is not read any more.
    const { work } = this.#context!;
    while (this.#out.length < BACKLOG) {
      const chain = work.take(queue);
      if (chain === undefined) break;
      if (!this.#take(chain)) return;
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #take(chain: Chain): boolean {
    if (chain.readableLength < H.SIZE) {
      this.#context?.fault(`socket packet of ${chain.readableLength} bytes, expected at least 44`);
      return false;
    }
    const bytes = new Uint8Array(H.SIZE);
    chain.read(bytes);
    const view = new DataView(bytes.buffer);
    const u32 = ({ offset }: { offset: number }): number => view.getUint32(offset, true);
    const length = u32(H.len);
    if (length > chain.readableLeft || length > MAX_DATA) {
      this.#context?.fault(`socket packet with ${length} bytes of data, has ${chain.readableLeft}`);
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
    // Only the host is reached, and only by its guest; ids have 64 bits.
    const id = ({ offset }: { offset: number }): bigint => view.getBigUint64(offset, true);
    if (id(H.dst_cid) === BigInt(VSOCK_HOST_CID) && id(H.src_cid) === BigInt(this.#cid)) {
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
    const full = Math.max(this.#ports, this.#connections.size) >= this.#maxConnections;
    if (!known || full) return this.#refuse(header);
    const connection = this.#make(header.srcPort, header.dstPort, header.type);
    connection.credit(header);
    this.#ports++;
    const freed = (): void => void this.#ports--;
    const answer = (port: StreamPort | undefined): void => {
      const over = this.#connections.get(keyOf(header.srcPort, header.dstPort)) !== connection;
      // The guest may have gone while the host was asked: what it got for it is let go of.
      if (over && port !== undefined) return void dropPort(port).then(freed);
      if (over || port === undefined) {
        freed();
        return connection.reset();
      }
      this.#send(connection, VsockOp.RESPONSE, 0, NONE);
      connection.start(port);
      void connection.closed.then(freed);
    };
    try {
      const port = this.#host.connect(header.dstPort, header.type as VsockType);
      if (port instanceof Promise) port.then(answer, () => answer(undefined));
      else answer(port);
    } catch {
      answer(undefined);
    }
  }

  #clearOut(): void {
    this.#out = [];
    this.#outBytes = 0;
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  /** Resolves when there is room for a packet of data of the host; undefined if there is now. */
  #room(): Promise<void> | undefined {
    const work = this.#context?.work;
    if (work?.exhausted) return work.turn();
    if (this.#hasRoom()) return undefined;
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  #hasRoom(): boolean {
    return this.#out.length < DATA_BACKLOG && this.#outBytes < DATA_BYTES;
  }

  #make(guestPort: number, hostPort: number, type: number): HostConnection {
    const key = keyOf(guestPort, hostPort);
    const connection = new HostConnection(
      {
        send: (...packet) => this.#send(...packet),
        room: () => this.#room(),
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
    this.#context.work.spend(1, data.length);
    const view = new DataView(new ArrayBuffer(H.SIZE));
    view.setUint32(H.src_cid.offset, VSOCK_HOST_CID, true);
    setU64(view, H.dst_cid.offset, this.#cid);
    view.setUint32(H.src_port.offset, header.hostPort, true);
    view.setUint32(H.dst_port.offset, header.guestPort, true);
    view.setUint16(H.type.offset, header.type, true);
    view.setUint16(H.op.offset, header.op, true);
    view.setUint32(H.buf_alloc.offset, header.bufAlloc, true);
    view.setUint32(H.fwd_cnt.offset, header.fwdCnt, true);
    this.#out.push({ header: view, flags: header.flags, data, given: 0 });
    this.#outBytes += data.length;
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
      const room = chain.writableLength - H.SIZE;
      const left = packet.data.length - packet.given;
      // Any packet of data has a part that fits: what has none is no buffer for packets.
      if (room < Math.min(left, 1)) {
        this.#context?.fault(
          `socket buffer of ${chain.writableLength} bytes, expected at least 45`,
        );
        return;
      }
      const length = Math.min(left, room);
      const { header, data } = packet;
      header.setUint32(H.len.offset, length, true);
      // Only the last part ends a message.
      header.setUint32(H.flags.offset, length === left ? packet.flags : 0, true);
      chain.write(new Uint8Array(header.buffer));
      chain.write(data, packet.given, length);
      packet.given += length;
      this.#outBytes -= length;
      if (length === left) this.#out.shift();
      if (this.#hasRoom()) this.#wake();
      queue.push(chain);
      pushed = true;
    }
    if (!pushed) return;
    queue.signal();
    if (full && this.#out.length < BACKLOG) this.#serve();
  }

  /** Lets a stream of the host go on; all of them when nothing is left that would wake the next one. */
  #wake(): void {
    const count = this.#out.length === 0 ? this.#roomWaiters.length : 1;
    for (const wake of this.#roomWaiters.splice(0, count)) wake();
  }

  #deliverEvent(): void {
    const queue = this.#context?.queue(VsockQueue.EVENT);
    if (queue === undefined || !this.#eventWaits) return;
    const chain = queue.pop();
    if (chain === undefined) return;
    if (chain.writableLength < VSOCK_EVENT_SIZE) {
      this.#context?.fault(`socket event buffer of ${chain.writableLength} bytes, expected 4`);
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
  throw new RangeError(`Cannot give a guest the context id ${cid}: expected 3 to 4294967294`);
}
