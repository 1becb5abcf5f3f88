import {
  ANY_ID,
  DeviceId,
  FeatureSet,
  VSOCK_CONFIG,
  VSOCK_EVENT_SIZE,
  VSOCK_HDR,
  VSOCK_HOST_CID,
  VSOCK_TRANSPORT_RESET,
  VsockFeature,
  VsockOp,
  VsockType,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { ReceiveRing } from "../virtqueue/receive_ring.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { unattended } from "../virtqueue/unattended.ts";
import { MessageStream, type WaitOptions, within } from "../wait/mod.ts";
import { type ConnectionHost, VsockConnection } from "./connection.ts";
import { decodePacket, encodePacket, type VsockPacket } from "./packet.ts";

/** Receive buffers, and bytes of each. */
const BUFFERS = 64;
const BUFFER_SIZE = 4096;
/** Event buffers, as Linux has them. */
const EVENTS = 8;
/** Packets that may wait for the device before no more are taken from it (the deadlock guard). */
const MAX_WAITING = 256;
/** The first port that is given out; those below are for servers. */
const FIRST_PORT = 1024;
/** Milliseconds that a peer may take to answer a connection, as Linux has it. */
const CONNECT_DEADLINE = 2000;
/** Connections that may wait to be accepted. */
const BACKLOG = 128;

/** How to connect. */
export interface VsockConnectOptions extends WaitOptions {
  /** The other side's context id; the host's (2) by default. */
  readonly cid?: number;
  /** Stream by default. */
  readonly type?: VsockType;
}

/**
 * Takes connections at a port.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { vsockDriver } from "@vireo/drivers/vsock";
 * import { loopbackPort, streamPipe } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new VsockDevice({ host: { connect: () => loopbackPort() } });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(vsockDriver);
 * await bus.addPlatform(machine);
 * using listener = bus.get(vsockDriver)!.listen(5000);
 * // The host's end connects, and sends a byte.
 * const pipe = streamPipe();
 * const calling = device.connect(5000, pipe.device);
 * await using connection = await listener.accept({ deadline: 1000 });
 * await calling;
 * await pipe.host.writable.getWriter().write(Uint8Array.of(7));
 * const { value } = await connection.readable.getReader().read();
 * assertEquals([listener.port, ...value!], [5000, 7]);
 * ```
 */
export class VsockListener implements AsyncIterable<VsockConnection>, Disposable {
  /** The port. */
  readonly port: number;
  /** The type of its connections. */
  readonly type: VsockType;
  readonly #stream: MessageStream<VsockConnection>;

  /** Makes a listener; {@linkcode Vsock.listen} does it. */
  constructor(port: number, type: VsockType, stream: MessageStream<VsockConnection>) {
    this.port = port;
    this.type = type;
    this.#stream = stream;
  }

  /** Whether no more connections can wait. */
  get full(): boolean {
    return this.#stream.waiting >= BACKLOG;
  }

  /** Takes the next connection. @throws {VireoError} `TIMEOUT`, `PORT_CLOSED`; the signal's reason. */
  accept(options: WaitOptions = {}): Promise<VsockConnection> {
    return this.#stream.take(options);
  }

  /** Gives it a connection; the device does it. */
  offer(connection: VsockConnection): void {
    this.#stream.push(connection);
  }

  /** Ends it; the device does it. */
  fail(error: Error): void {
    this.#stream.fail(error);
  }

  /** All connections, until it is closed. */
  [Symbol.asyncIterator](): AsyncIterator<VsockConnection> {
    return this.#stream;
  }

  /** Takes no more connections. */
  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
  }
}

/**
 * A socket device: connections between this guest and its host (virtio 1.4 §5.10).
 *
 * @example
 * ```ts
 * import type { Vsock } from "@vireo/drivers/vsock";
 *
 * // Sends a line to a port of the host.
 * async function say(vsock: Vsock, port: number, line: string): Promise<void> {
 *   await using connection = await vsock.connect(port, { deadline: 1000 });
 *   const writer = connection.writable.getWriter();
 *   await writer.write(new TextEncoder().encode(`${line}\n`));
 *   writer.releaseLock();
 * }
 * ```
 */
export class Vsock extends QueueDriver {
  readonly #connections = new Map<string, VsockConnection>();
  readonly #listeners = new Map<number, VsockListener>();
  readonly #host: ConnectionHost;
  #cid = 0;
  #receive!: ReceiveRing;
  #events!: ReceiveRing;
  #transmit!: RequestQueue;
  #nextPort = FIRST_PORT;

  /** Sets up a device whose features are negotiated. */
  constructor(device: VirtioDevice) {
    super(device, "Socket device");
    this.#host = {
      device: device.name,
      send: (connection, op, flags, data, options) =>
        this.#sendFor(connection, op, flags, data, options),
      ended: (connection) => void this.#connections.delete(keyOf(connection)),
    };
    this.setUp();
  }

  /** This guest's context id. */
  get cid(): number {
    return this.#cid;
  }

  /** Connections that are not over. */
  get connections(): number {
    return this.#connections.size;
  }

  /**
   * Connects to a port.
   *
   * @throws {RangeError} If it is no port.
   * @throws {VireoError} `COMMAND_REFUSED` or `IO_ERROR` If nobody listens there; `TIMEOUT` after 2 s or
   * the deadline; `UNSUPPORTED` If the device has no such type; the signal's reason.
   */
  async connect(port: number, options: VsockConnectOptions = {}): Promise<VsockConnection> {
    const { cid = VSOCK_HOST_CID, type = VsockType.STREAM } = options;
    checkPort("connect to", port);
    this.#checkType(type);
    if (this.failure !== undefined) throw this.failure;
    const call = within(options, CONNECT_DEADLINE);
    const place = { localPort: this.#freePort(cid, port), peerCid: cid, peerPort: port, type };
    const connection = new VsockConnection(this.#host, place);
    this.#connections.set(keyOf(connection), connection);
    await connection.connect(call);
    return connection;
  }

  /**
   * Takes connections at a port.
   *
   * @throws {RangeError} If it is no port, or someone listens there already; {VireoError} `UNSUPPORTED`.
   */
  listen(port: number, options: { readonly type?: VsockType } = {}): VsockListener {
    const { type = VsockType.STREAM } = options;
    checkPort("listen at", port);
    this.#checkType(type);
    if (this.#listeners.has(port)) {
      throw new RangeError(`Cannot listen at port ${port}: it is in use`);
    }
    const stream = new MessageStream<VsockConnection>({
      device: this.device.name,
      what: `connection at port ${port}`,
      limit: Infinity,
      onEnd: () => this.#listeners.delete(port),
    });
    const listener = new VsockListener(port, type, stream);
    if (this.failure !== undefined) listener.fail(this.failure);
    this.#listeners.set(port, listener);
    return listener;
  }

  /** Reads this guest's context id, and opens the queues. */
  protected override setUp(): void {
    this.#cid = this.device.config.read64(VSOCK_CONFIG.guest_cid.offset);
    [this.#receive, this.#transmit, this.#events] = this.openQueues(
      { name: "rx", bytes: BUFFER_SIZE, count: BUFFERS, received: () => this.#drain() },
      { name: "tx" },
      {
        name: "event",
        bytes: VSOCK_EVENT_SIZE,
        count: EVENTS,
        received: () => this.#drainEvents(),
      },
    );
  }

  /** Ends all connections and listeners, also for a suspend, as Linux does. */
  protected override ended(error: Error): void {
    for (const connection of [...this.#connections.values()]) connection.end(error);
    for (const listener of this.#listeners.values()) listener.fail(error);
    this.#listeners.clear();
  }

  #checkType(type: VsockType): void {
    const { features } = this.device;
    const { STREAM, SEQPACKET, NO_IMPLIED_STREAM } = VsockFeature;
    // Without a feature the device is as if it had STREAM (virtio 1.4 §5.10.3).
    const stream = features.has(STREAM) || !features.has(NO_IMPLIED_STREAM);
    if (type === VsockType.STREAM ? stream : features.has(SEQPACKET)) return;
    throw this.error("UNSUPPORTED", `Socket device has no sockets of type ${type}`);
  }

  #freePort(cid: number, peerPort: number): number {
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port >= 0xfffffffe ? FIRST_PORT : port + 1;
      if (!this.#connections.has(`${cid}:${peerPort}:${port}`)) return port;
    }
  }

  #sendFor(
    connection: VsockConnection,
    op: VsockOp,
    flags: number,
    data: Uint8Array,
    options: WaitOptions = {},
  ): Promise<void> {
    const { localPort, peerCid, peerPort, type, bufAlloc, fwdCnt } = connection;
    return this.#send(
      {
        srcCid: this.#cid,
        dstCid: peerCid,
        srcPort: localPort,
        dstPort: peerPort,
        len: data.length,
        type,
        op,
        flags,
        bufAlloc,
        fwdCnt,
      },
      data,
      options,
    );
  }

  async #send(packet: VsockPacket, data: Uint8Array, options: WaitOptions = {}): Promise<void> {
    const queue = this.#transmit;
    await this.ask(queue, [encodePacket(packet), data], 0, {
      ...options,
      onReturned: () => {
        if (packetsIn(queue) !== MAX_WAITING - 1) return;
        const { device } = this;
        const drain = () => this.#drain();
        queueMicrotask(() => unattended(device.name, drain, (error) => device.break(error)));
      },
    });
  }

  #drain(): void {
    if (this.failure !== undefined || packetsIn(this.#transmit) >= MAX_WAITING) return;
    this.#receive.drain((bytes) => {
      this.#take(bytes);
      return packetsIn(this.#transmit) < MAX_WAITING;
    });
  }

  #take(bytes: Uint8Array): void {
    const packet = decodePacket(bytes);
    // Lengths are the device's word; what is cut off is dropped, as on Linux.
    if (packet === undefined || packet.len > bytes.length - VSOCK_HDR.SIZE) return;
    if (packet.dstCid !== this.#cid) return;
    const data = bytes.slice(VSOCK_HDR.SIZE, VSOCK_HDR.SIZE + packet.len);
    if (data.length > 0) this.#receive.copied(data.length);
    const key = `${packet.srcCid}:${packet.srcPort}:${packet.dstPort}`;
    const connection = this.#connections.get(key);
    if (connection !== undefined && connection.type === packet.type) {
      return connection.handle(packet, data);
    }
    if (packet.op === VsockOp.REQUEST && connection === undefined && this.#accept(packet)) return;
    if (packet.op !== VsockOp.RST) this.#refuse(packet);
  }

  /** Takes a connection for a listener; false if nobody listens, or too many wait. */
  #accept(packet: VsockPacket): boolean {
    const listener = this.#listeners.get(packet.dstPort);
    if (listener === undefined || listener.type !== packet.type || listener.full) return false;
    const connection = new VsockConnection(this.#host, {
      localPort: packet.dstPort,
      peerCid: packet.srcCid,
      peerPort: packet.srcPort,
      type: listener.type,
    });
    this.#connections.set(keyOf(connection), connection);
    connection.handle({ ...packet, op: VsockOp.CREDIT_UPDATE }, NONE);
    void this.#sendFor(connection, VsockOp.RESPONSE, 0, NONE).catch(() => {});
    listener.offer(connection);
    return true;
  }

  #refuse(packet: VsockPacket): void {
    void this.#send({
      ...packet,
      srcCid: packet.dstCid,
      dstCid: packet.srcCid,
      srcPort: packet.dstPort,
      dstPort: packet.srcPort,
      len: 0,
      op: VsockOp.RST,
      flags: 0,
      bufAlloc: 0,
      fwdCnt: 0,
    }, NONE).catch(() => {});
  }

  #drainEvents(): void {
    this.#events.drain((bytes) => {
      if (bytes.length < VSOCK_EVENT_SIZE) return;
      if (
        new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) !== VSOCK_TRANSPORT_RESET
      ) {
        return;
      }
      // Connections are gone; listeners go on with the new id (virtio 1.4 §5.10.6.7).
      this.#cid = this.device.config.read64(VSOCK_CONFIG.guest_cid.offset);
      const error = this.error("PORT_CLOSED", "The host reset all connections");
      for (const connection of [...this.#connections.values()]) connection.end(error);
    });
  }
}

const NONE = new Uint8Array(0);

/** @throws {RangeError} If it is no port: 2^32 - 1 stands for any. */
function checkPort(verb: string, port: number): void {
  if (Number.isInteger(port) && port >= 0 && port < 0xffff_ffff) return;
  throw new RangeError(`Cannot ${verb} port ${port}: expected an integer from 0 to 4294967294`);
}

/** Packets that wait for the device, or that it has not returned. */
function packetsIn(queue: RequestQueue): number {
  return queue.inFlight + queue.waiting;
}

function keyOf({ peerCid, peerPort, localPort }: VsockConnection): string {
  return `${peerCid}:${peerPort}:${localPort}`;
}

/** Drives socket devices; what `probe` gives is a {@linkcode Vsock}. */
export const vsockDriver: VirtioDriver<Vsock> = {
  name: "vmw_vsock_virtio_transport",
  ids: [{ device: DeviceId.VSOCK, vendor: ANY_ID }],
  features: FeatureSet.of(...Object.values(VsockFeature)),
  featureNames: VsockFeature,
  probe: (device) => new Vsock(device),
};
